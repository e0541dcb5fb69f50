"""What the service costs a job: the same video rendered in this process, and by the whole service.

    python benchmarks/overhead.py

A job is sent with its plan to the local stack, which has one warm render worker, and rendered here by
`rendering.render`, by turns; both videos must be the same, byte for byte.  Seconds, medians of all rounds:

    here        `render` alone, from plan to MP4
    service     from the request to the end in the job's record
    taken up    from the record to the moment when a worker has it
    drawing     sampling, decoding and encoding, more than here: progress reports, checkpoints, a busy machine
    storing     of video, preview, manifest, report and plan
    rest        of service beyond here: the request itself, the plan out of Redis, the copy on disk, the last record
    told        after the end, until the client's event stream says so; no part of `service`
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from deploy.signals import stop_requests
from deploy.stack import bypass_proxies, local_stack
from generator_service.backbones.base import AnyBackbone
from generator_service.backbones.load import load_backbone
from generator_service.client import Client
from generator_service.contract.backbones import BACKBONES
from generator_service.contract.job import JobStatus, JobView
from generator_service.contract.request import JobRequest
from generator_service.rendering import render
from generator_service.settings import WorkerSettings
from shared.plan import Plan

PROMPT: Final = "a red car drives to the right while a tree stands still"
SEED: Final = 7
DRAWING: Final = ("sampling", "decoding", "encoding")


@dataclass(frozen=True)
class Round:
    """In seconds."""

    here: float
    service: float
    taken_up: float
    drawing: float
    storing: float
    rest: float
    told: float


def planned(client: Client) -> Plan:
    """By the service, which is warm then."""
    job = done(client, client.submit(prompt=PROMPT, planner="parser", seed=SEED))
    return client.plan(job.id)


def done(client: Client, job: JobView) -> JobView:
    job = client.wait(job.id)
    if job.status is not JobStatus.SUCCEEDED:
        raise RuntimeError(f"the job ended {job.status}: {job.error}")
    return job


def one_round(client: Client, backbone: AnyBackbone, plan: Plan, steps: int, video: Path) -> Round:
    request = JobRequest(plan=plan, seed=SEED, steps=steps)
    begin = time.perf_counter()
    rendered = render(backbone, request.text, plan, request.settings(), on_step=lambda _: None, on_stage=lambda _: None)
    here = time.perf_counter() - begin

    sent = datetime.now(UTC)
    job = done(client, client.submit(request))
    told = datetime.now(UTC)
    if job.started_at is None or job.finished_at is None:
        raise RuntimeError("the job has ended and has no times")
    client.download(job.id, video)
    if video.read_bytes() != rendered.video:
        raise RuntimeError("the two videos differ")

    service = (job.finished_at - sent).total_seconds()
    taken_up = (job.started_at - job.created_at).total_seconds()
    drawing = sum(job.diagnostics.seconds[stage] - rendered.diagnostics.seconds[stage] for stage in DRAWING)
    storing = job.diagnostics.seconds["storing"]
    return Round(
        here=here,
        service=service,
        taken_up=taken_up,
        drawing=drawing,
        storing=storing,
        rest=service - here - taken_up - drawing - storing,
        told=(told - job.finished_at).total_seconds(),
    )


def row(steps: int, rounds: list[Round]) -> str:
    cells = [f"{median(getattr(one, each.name) for one in rounds):.3f}" for each in fields(Round)]
    overhead = median(one.service / one.here - 1 for one in rounds)
    return table_row(str(steps), *cells[:2], f"{overhead:+.1%}", *cells[2:])


def table_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, nargs="+", default=[25, 200], help="a job of each length")
    given = parser.parse_args()
    bypass_proxies()
    spec = BACKBONES["emoji-world"]
    backbone = load_backbone(spec, WorkerSettings(backbone=spec.name))
    with (
        tempfile.TemporaryDirectory() as name,
        stop_requests() as request,
        local_stack(Path(name), request=request, disposable=True) as stack,
        Client(stack.addresses.api) as client,
    ):
        plan = planned(client)
        video = Path(name) / "video.mp4"
        one_round(client, backbone, plan, given.steps[0], video)  # warms up
        say(f"{given.rounds} rounds on {os.cpu_count()} cores; load average {os.getloadavg()[0]:.1f}\n")
        say(table_row("steps", "here", "service", "overhead", "taken up", "drawing", "storing", "rest", "told"))
        say(table_row(*["---"] * 9))
        for steps in given.steps:
            say(row(steps, [one_round(client, backbone, plan, steps, video) for _ in range(given.rounds)]))


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
