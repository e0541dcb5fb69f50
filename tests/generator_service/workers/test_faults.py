"""Workers and servers that die in the middle of a job, for real: no job is lost, none has two results."""

import json
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.request import RenderSettings
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from generator_service.jobs.workers import WorkerRegistry
from generator_service.storage import JobKeys, ObjectStore

Submit = Callable[..., JobRecord]
WaitUntil = Callable[..., None]
Process = subprocess.Popen[bytes]
RunWorker = Callable[..., AbstractContextManager[Process]]

START_SECONDS = 90.0
NOTICE_SECONDS = 15.0
"""The promise; a heartbeat of one second keeps it with ease."""


def holder(store: JobStore, job: str, processes: list[Process]) -> Process:
    """Whose hands the job is in: a worker's name has its process id."""
    worker = store.get(job).worker
    assert worker is not None
    return next(process for process in processes if f"-{process.pid}-" in worker)


def stored(objects: ObjectStore, job: str) -> set[str]:
    return set(objects.keys(JobKeys(job).prefix))


@pytest.fixture
def small(settings: RenderSettings) -> RenderSettings:
    return settings.model_copy(update={"backbone": "cogvideox-2b", "width": 48, "height": 32, "steps": 300})


@pytest.mark.timeout(300)
def test_render_workers_that_die_or_seem_to_or_are_stopped(
    tmp_path: Path,
    redis_url: str,
    run_worker: RunWorker,
    render_environment: dict[str, str],
    objects_of_processes: ObjectStore,
    store: JobStore,
    registry: WorkerRegistry,
    submit: Submit,
    small: RenderSettings,
    wait_until: WaitUntil,
) -> None:
    """Whatever happens to the workers, it is the same video bit for bit."""
    objects = objects_of_processes
    environment = render_environment | {"GENERATOR_RENDER_CHECKPOINT_SECONDS": "0"}

    def video(job: str) -> bytes:
        wait_until(lambda: store.get(job).status.is_terminal, 60)
        record = store.get(job)
        assert record.results is not None, record
        return objects.get(record.results.video)

    def begun() -> tuple[str, Process]:
        """A job of which some steps are saved, and who does it."""
        job = submit(Stage.SAMPLING, settings=small).id
        wait_until(lambda: JobKeys(job).checkpoint in stored(objects, job))
        return job, holder(store, job, workers)

    def steps(event: str, job: str, logs: str = "log*") -> list[int]:
        """At which it happened to the job, as the workers have logged."""
        lines = [json.loads(line) for log in tmp_path.glob(logs) for line in log.read_text().splitlines()]
        return [line["step"] for line in lines if (line["event"], line.get("job_id")) == (event, job)]

    with ExitStack() as stack:
        workers = [
            stack.enter_context(run_worker("render", tmp_path / f"log{number}", redis_url, **environment))
            for number in range(3)
        ]
        wait_until(lambda: len(registry.alive()) == 3, START_SECONDS)
        undisturbed = video(submit(Stage.SAMPLING, settings=small).id)

        # One is held for so long that it is taken for dead, and goes on later.
        job, late = begun()
        late.send_signal(signal.SIGSTOP)
        wait_until(lambda: store.get(job).attempt == 2, NOTICE_SECONDS)
        assert video(job) == undisturbed
        won = store.get(job)
        late.send_signal(signal.SIGCONT)
        wait_until(lambda: [worker.job for worker in registry.alive()] == [None] * 3)
        assert store.get(job) == won
        assert won.results is not None
        results = set(won.results.model_dump().values())
        wait_until(lambda: stored(objects, job) == results)  # and the checkpoint is removed

        # One dies.
        job, dead = begun()
        dead.send_signal(signal.SIGKILL)
        wait_until(lambda: store.get(job).attempt == 2, NOTICE_SECONDS)
        assert video(job) == undisturbed
        (step,) = steps("resuming", job)
        assert step > 0

        # One is stopped.
        job, stopped = begun()
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(10) == 0
        assert video(job) == undisturbed
        assert store.get(job).attempt == 1
        assert steps("resuming", job) == steps("checkpoint_saved", job, f"log{workers.index(stopped)}")[-1:]


def test_a_plan_worker_dies(
    tmp_path: Path,
    redis_url: str,
    run_worker: RunWorker,
    planner: Any,
    store: JobStore,
    registry: WorkerRegistry,
    submit: Submit,
    wait_until: WaitUntil,
) -> None:
    thinking = threading.Event()
    planner.before_answer = lambda: thinking.wait(60) if len(planner.orders) == 1 else None
    with ExitStack() as stack:
        environment = {"GENERATOR_PLANNER_URL": planner.url}
        workers = [
            stack.enter_context(run_worker("plan", tmp_path / f"log{number}", redis_url, **environment))
            for number in range(2)
        ]
        stack.callback(thinking.set)
        wait_until(lambda: len(registry.alive()) == 2, START_SECONDS)
        job = submit().id
        wait_until(lambda: bool(planner.orders))
        holder(store, job, workers).send_signal(signal.SIGKILL)
        wait_until(lambda: store.get(job).attempt == 2, NOTICE_SECONDS)
        wait_until(lambda: store.get(job).stage is Stage.SAMPLING)


def test_a_plan_worker_is_stopped_while_the_planner_thinks(
    tmp_path: Path,
    redis_url: str,
    run_worker: RunWorker,
    planner: Any,
    store: JobStore,
    submit: Submit,
    wait_until: WaitUntil,
) -> None:
    thinking = threading.Event()
    planner.before_answer = lambda: thinking.wait(60)
    try:
        with run_worker("plan", tmp_path / "log", redis_url, GENERATOR_PLANNER_URL=planner.url) as process:
            job = submit().id
            wait_until(lambda: bool(planner.orders), START_SECONDS)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    finally:
        thinking.set()
    record = store.get(job)
    assert (record.status, record.stage, record.attempt) == (JobStatus.QUEUED, Stage.PLANNING, 1)


def test_every_ticket_is_lost(
    tmp_path: Path,
    redis_url: str,
    run_worker: RunWorker,
    planner: Any,
    store: JobStore,
    tickets: Tickets,
    submit: Submit,
    wait_until: WaitUntil,
) -> None:
    """As where the API dies between making a job and its ticket, and a worker between taking one and its job."""
    jobs = [submit().id for _ in range(3)]
    tickets.queue("plan").empty()
    with run_worker("plan", tmp_path / "log", redis_url, GENERATOR_PLANNER_URL=planner.url):
        wait_until(lambda: all(store.get(job).stage is Stage.SAMPLING for job in jobs), START_SECONDS)
    assert [store.get(job).attempt for job in jobs] == [1] * 3
