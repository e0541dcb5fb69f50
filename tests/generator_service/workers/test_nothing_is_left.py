"""After lives of every kind, in real processes and servers: what is in Redis and in the storage?"""

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.request import RenderSettings
from generator_service.jobs.cleanup import Cleanup
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.workers import WorkerRegistry
from generator_service.storage import ObjectStore
from shared.errors import PlanningFailed
from shared.plan import Plan

Submit = Callable[..., JobRecord]
WaitUntil = Callable[..., None]
Process = subprocess.Popen[bytes]
RunWorker = Callable[..., AbstractContextManager[Process]]

START_SECONDS = 120.0


def of_jobs(client: redis.Redis) -> set[str]:
    """Every key but those of the workers, of who does what, and RQ's: tickets tell of no job."""
    keys = (str(key) for key in client.scan_iter())
    return {key for key in keys if not key.startswith(("jobs:round:", "worker:", "workers", "rq:"))}


class Life:
    """The workers, and what is done to jobs."""

    def __init__(self, store: JobStore, submit: Submit, planner: Any, small: RenderSettings, wait: WaitUntil) -> None:
        self.store = store
        self.submit = submit
        self.planner = planner
        self.small = small
        self.wait_until = wait
        self.workers: list[Process] = []

    def job(self, stage: Stage = Stage.PLANNING, **settings: Any) -> str:
        return self.submit(stage, settings=self.small.model_copy(update=settings)).id

    def begun(self) -> str:
        """A job of which some steps are done."""
        job = self.job(Stage.SAMPLING, steps=400)
        self.wait_until(lambda: self.store.get(job).step > 0, 60)
        return job

    def thought_about(self) -> tuple[str, threading.Event]:
        """A job that the planner thinks about, until the event."""
        orders = len(self.planner.orders)
        thinking = threading.Event()
        self.planner.before_answer = lambda: thinking.wait(60) if len(self.planner.orders) == orders + 1 else None
        job = self.job(steps=2)
        self.wait_until(lambda: len(self.planner.orders) > orders)
        return job, thinking

    def kill_worker_of(self, job: str) -> None:
        worker = self.store.get(job).worker
        assert worker is not None
        (process,) = (process for process in self.workers if f"-{process.pid}-" in worker)
        process.kill()

    def end(self, job: str) -> JobStatus:
        self.wait_until(lambda: self.store.get(job).status.is_terminal, 60)
        return self.store.get(job).status


@pytest.fixture
def life(
    store: JobStore, submit: Submit, planner: Any, settings: RenderSettings, wait_until: WaitUntil, redis_url: str,
    tmp_path: Path, run_worker: RunWorker, render_environment: dict[str, str], registry: WorkerRegistry,
) -> Iterator[Life]:  # fmt: skip
    small = settings.model_copy(update={"backbone": "cogvideox-2b", "width": 48, "height": 32})
    life = Life(store, submit, planner, small, wait_until)
    environments = {
        "plan": {"GENERATOR_PLANNER_URL": planner.url},
        "render": render_environment | {"GENERATOR_RENDER_CHECKPOINT_SECONDS": "0"},
    }
    with ExitStack() as stack:
        for number, kind in enumerate(("plan", "plan", "render", "render", "render")):
            log = tmp_path / f"{kind}-{number}"
            life.workers.append(stack.enter_context(run_worker(kind, log, redis_url, **environments[kind])))
        wait_until(lambda: len(registry.alive()) == len(life.workers), START_SECONDS)
        yield life


@pytest.mark.timeout(400)
def test_nothing_is_left_but_what_belongs_to_a_job(
    life: Life, answer: Any, plan: Plan, store: JobStore, text_client: redis.Redis,
    objects_of_processes: ObjectStore, make_job: Callable[..., JobRecord], wait_until: WaitUntil,
) -> None:  # fmt: skip
    objects = objects_of_processes
    ends: dict[str, JobStatus] = {}

    # One after the other, each in another way.
    plain = life.job(steps=2)
    ends[plain] = life.end(plain)
    life.planner.answers = [answer.problem(PlanningFailed("nothing to draw"))]
    unplannable = life.job()
    ends[unplannable] = life.end(unplannable)
    life.planner.answers = [answer.plan(plan)]
    unrenderable = life.job(Stage.SAMPLING, steps=2, frames=13)  # the plan has nine
    ends[unrenderable] = life.end(unrenderable)
    without_ticket = make_job(settings=life.small)
    store.create(without_ticket, None)
    ends[without_ticket.id] = life.end(without_ticket.id)

    # Canceled: as it waits for a backbone that nobody has, is planned, is sampled, is decoded or stored.
    waiting = life.job(Stage.SAMPLING, backbone="emoji-world")
    store.cancel(waiting)
    thought_about, thinking = life.thought_about()
    store.cancel(thought_about)
    ends[thought_about] = life.end(thought_about)
    thinking.set()
    begun = life.begun()
    store.cancel(begun)
    late = life.job(Stage.SAMPLING, steps=2)
    wait_until(lambda: store.get(late).stage in (Stage.DECODING, Stage.STORING, None))
    store.cancel(late)
    for job in (waiting, begun, late):
        ends[job] = life.end(job)

    # Killed: as it plans, as it samples, as it is about to let go.
    planned_twice, thinking = life.thought_about()
    life.kill_worker_of(planned_twice)
    rendered_twice, canceled_first = life.begun(), life.begun()
    life.kill_worker_of(rendered_twice)
    store.cancel(canceled_first)
    if store.get(canceled_first).status is JobStatus.CANCELING:  # it was not faster
        life.kill_worker_of(canceled_first)
    for job in (planned_twice, rendered_twice, canceled_first):
        ends[job] = life.end(job)
    thinking.set()

    # Deleted, while a checkpoint of the last attempt may be on its way.
    deleted = life.job(steps=2)
    life.end(deleted)
    store.delete(deleted)

    succeeded = {plain, without_ticket.id, planned_twice, rendered_twice}
    assert ends.pop(late) in (JobStatus.SUCCEEDED, JobStatus.CANCELED)
    assert {job for job, end in ends.items() if end is JobStatus.SUCCEEDED} == succeeded
    assert {job for job, end in ends.items() if end is JobStatus.FAILED} == {unplannable, unrenderable}
    assert store.get(planned_twice).attempt == store.get(rendered_twice).attempt == 2

    records = store.list(limit=100).jobs
    assert {record.id for record in records} == {*ends, late}
    kept = {key for record in records if record.results for key in record.results.model_dump().values()}
    with suppress(AssertionError):  # told below, key by key
        wait_until(lambda: set(objects.keys("jobs/")) == kept)
    assert set(objects.keys("jobs/")) == kept
    plans = {f"job:{record.id}:plan" for record in records if store.plan(record.id)}
    statuses = {f":{record.status}" for record in records} | {""}
    indices = {"jobs:ended", "jobs:owners", "jobs:bytes"} | {
        index + status for index in ("jobs", "jobs:of:anyone") for status in statuses
    }
    left = {f"job:{record.id}" for record in records} | plans | indices
    assert of_jobs(text_client) == left

    # Broken, and in every list still: one is gone, one says no more whose it is, one has not ended.
    waiting = life.job(Stage.SAMPLING, backbone="emoji-world")
    text_client.delete(f"job:{plain}")
    text_client.hset(f"job:{rendered_twice}", "owner", "{")
    text_client.hset(f"job:{waiting}", "settings", "{}")

    # Expired.
    for worker in life.workers:
        worker.send_signal(signal.SIGTERM)
    for worker in life.workers:
        worker.wait(20)
    Cleanup(store, objects, timedelta(0), seconds=60).clean_up()
    assert of_jobs(text_client) == set()
    assert objects.keys("jobs/") == ()
