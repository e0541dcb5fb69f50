"""What operators do, and what happens to machines, in the middle of a job, which has to succeed all the same."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from deploy.compose_check.shell import expect, run, say, until
from deploy.compose_check.stack import LANGUAGE_MODEL, LONG, SERVICES, Container, Stack

Strike = Callable[[], object]

PARSER: Final = {"planner": "parser"}
ENDED: Final = (0, 128 + signal.SIGTERM)
"""By itself, with its work brought to an end or broken off."""


def each_service_crashes(stack: Stack) -> str:
    """SIGKILL to its program, as the kernel does where memory is short."""

    def crash(service: str) -> None:
        before = stack.one(service)
        for victim in _programs(before):
            os.kill(victim, signal.SIGKILL)
        until(f"{service} is restarted", lambda: stack.one(service).restarts > before.restarts)

    said = [_drill(stack, service, partial(crash, service)) for service in SERVICES]
    return f"back by themselves, healthy after {', '.join(said)}; every job succeeded"


def each_service_is_killed(stack: Stack) -> str:
    """Whom `docker kill` ends the engine does not start again: that is for the operator."""

    def kill(service: str) -> None:
        stack.engine.docker("kill", stack.one(service).id)
        stack.compose("up --detach")

    said = [_drill(stack, service, partial(kill, service)) for service in SERVICES]
    return f"`docker kill`, `up --detach`, healthy after {', '.join(said)}; every job succeeded"


def workers_that_are_stopped_hand_back_their_jobs(stack: Stack) -> str:
    said = []
    for service in ("plan-worker", "render-worker"):
        job = _begun(stack, service)
        begin = time.monotonic()
        stack.compose(f"stop {service}")
        seconds = time.monotonic() - begin
        code = stack.one(service).facts["State"]["ExitCode"]
        left = stack.job(job)
        expect(code in ENDED, f"{service} ended with {code} after {seconds:.0f} s")
        expect(left["status"] == "queued", f"the job of a stopped {service} is {left['status']}")
        stack.compose(f"start {service}")
        ended = stack.wait_for(job)
        expect(ended["attempt"] == 1, f"handing back cost an attempt: {ended['attempt']}")
        said.append(f"{service} gone after {seconds:.0f} s, its job queued at step {left['step']}")
    stack.wait_until_healthy()
    return f"SIGTERM: {'; '.join(said)}; both went on in their first attempt"


def two_render_workers_share_the_work(stack: Stack) -> str:
    stack.compose("up --detach --no-recreate --scale render-worker=2")
    stack.wait_until_healthy(count=len(SERVICES) + 1)
    jobs = [stack.submit(**LONG, **PARSER) for _ in range(2)]
    for job in jobs:
        stack.wait_until_in_hand(job, "sampling")
    at_once = [stack.job(job)["status"] for job in jobs]
    expect(at_once == ["running", "running"], f"not at once: {at_once}")
    gpus = sorted(_variable(its, "CUDA_VISIBLE_DEVICES") for its in stack.containers("render-worker"))
    expect(gpus == ["0", "1"], f"the workers' GPUs are {gpus}")
    videos = {stack.video_hash(stack.wait_for(job)["id"]) for job in jobs}
    expect(len(videos) == 1, "two workers make two videos of one request")
    stack.compose("up --detach --no-recreate --scale render-worker=1")
    stack.wait_until_healthy()
    return "two jobs at once, a GPU for each worker, and the same video from both"


def everything_restarts(stack: Stack) -> str:
    return f"`restart`: {_drill(stack, 'render-worker', lambda: stack.compose('restart'))}; the job succeeded"


def everything_is_recreated(stack: Stack) -> str:
    """As an upgrade does it: other containers, the same data."""
    before = {its.id for its in stack.containers()}
    said = _drill(stack, "render-worker", lambda: stack.compose("up --detach --force-recreate"))
    expect(not before & {its.id for its in stack.containers()}, "not every container is another one")
    return f"`up --force-recreate`: {said}; the job succeeded"


def down_and_up_keep_what_there_is(stack: Stack) -> str:
    done = stack.submit(**PARSER)
    stack.wait_for(done)
    video = stack.video_hash(done)
    job = _begun(stack, "render-worker")
    begin = time.monotonic()
    stack.compose("down")
    seconds = time.monotonic() - begin
    expect(not stack.containers(stopped=True), "containers are left after `down`")
    stack.compose("up --detach")
    stack.wait_until_healthy()
    expect(stack.video_hash(done) == video, "another video than before")
    ended = stack.wait_for(job)
    attempt = ended["attempt"]
    return f"down in {seconds:.0f} s; key, jobs and videos are there; what was in hand succeeded in attempt {attempt}"


def _begun(stack: Stack, service: str) -> str:
    """A job in the middle of what this service does for it."""
    planning = service in ("vllm", "planner", "plan-worker")
    job = stack.submit(**LONG, **(LANGUAGE_MODEL if planning else PARSER))
    stack.wait_until_in_hand(job, "planning" if planning else "sampling")
    return job


def _drill(stack: Stack, service: str, strike: Strike) -> str:
    job = _begun(stack, service)
    begin = time.monotonic()
    strike()
    stack.wait_until_healthy()
    seconds = time.monotonic() - begin
    ended = stack.wait_for(job)
    stack.video_hash(job)
    seen = f"{service} {seconds:.0f} s" + (f" (attempt {ended['attempt']})" if ended["attempt"] > 1 else "")
    say(f"    {seen}")
    return seen


def _programs(container: Container) -> list[int]:
    """Processes outside of which nothing is but the engine's own init."""
    if not container.facts["HostConfig"].get("Init"):
        return [container.pid]
    return [int(pid) for pid in run(["pgrep", "--parent", str(container.pid)]).split()]


def _variable(container: Container, name: str) -> str:
    (program,) = _programs(container)
    pairs = Path(f"/proc/{program}/environ").read_bytes().decode().split("\0")
    return next((pair.partition("=")[2] for pair in pairs if pair.startswith(f"{name}=")), "")
