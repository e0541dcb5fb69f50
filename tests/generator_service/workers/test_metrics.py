"""What a worker counts, and where it serves it."""

import urllib.request
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import httpx
import pytest

from deploy.servers import LOOPBACK, free_ports
from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from generator_service.sampling.state import Cancelled
from generator_service.settings import BadSettings
from generator_service.workers.attempt import Attempts, Outcome, Stopped
from generator_service.workers.gpu_memory import GpuMemory
from generator_service.workers.metrics import WorkerMetrics, exposing
from shared.errors import RenderingFailed
from shared.plan import Plan


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics(Stage.PLANNING)


@pytest.fixture
def counting(store: JobStore, tickets: Tickets, heartbeat: Any, metrics: WorkerMetrics) -> Attempts:
    return Attempts(store, tickets, heartbeat, "w1", "plan", maximum=3, patience_seconds=1.0, count=metrics.attempt)


def counted(metrics: WorkerMetrics) -> dict[str, float]:
    """By outcome, without the zeros."""
    values = {
        outcome: metrics.registry.get_sample_value(
            "generator_attempts_total", {"kind": "plan", "backbone": "", "outcome": outcome}
        )
        for outcome in get_args(Outcome)
    }
    assert None not in values.values()  # a rate needs a zero to begin with
    return {outcome: value for outcome, value in values.items() if value}


def test_each_attempt_is_counted_once_by_its_end(
    counting: Attempts, metrics: WorkerMetrics, store: JobStore, submit: Callable[..., JobRecord], plan: Plan
) -> None:
    def hand_over(record: JobRecord) -> None:
        store.hand_over(record.id, plan, worker="w1", progress=0.05, seconds=0.1)

    def fail(_: JobRecord) -> None:
        raise RenderingFailed("no")

    def stop(_: JobRecord) -> None:
        raise Stopped

    def cancel(record: JobRecord) -> None:
        store.cancel(record.id)
        raise Cancelled

    def lose(record: JobRecord) -> None:
        hand_over(record)
        raise RenderingFailed("too late")

    def stop_too_late(record: JobRecord) -> None:
        hand_over(record)
        raise Stopped

    for work in (hand_over, hand_over, hand_over, fail, stop, stop, cancel, lose, stop_too_late):
        job = submit().id
        counting.take_turn(work)
        if not store.get(job).status.is_terminal and store.get(job).stage is Stage.PLANNING:
            store.cancel(job)  # else it would be the next one again
    counting.take_turn(fail)  # nothing waits, so that was no attempt
    assert counted(metrics) == {"done": 3, "failed": 1, "released": 2, "canceled": 1, "lost": 2}


def test_reclaimed_by_what_became_of_them(metrics: WorkerMetrics) -> None:
    metrics.reclaimed(JobStatus.QUEUED)
    metrics.reclaimed(JobStatus.QUEUED)
    metrics.reclaimed(JobStatus.FAILED)
    counts = {
        status: metrics.registry.get_sample_value("generator_jobs_taken_back_total", {"status": status})
        for status in ("queued", "failed", "canceled")
    }
    assert counts == {"queued": 2, "failed": 1, "canceled": 0}


def test_they_are_served_while_the_worker_works() -> None:
    metrics = WorkerMetrics(Stage.SAMPLING, "emoji-world")
    metrics.stages({"sampling": 1.5, "decoding": 0.25})
    metrics.step(0.125)
    (port,) = free_ports(1)
    url = f"http://{LOOPBACK}:{port}/metrics"
    with exposing(metrics.registry, lambda: True, LOOPBACK, port), urllib.request.urlopen(url) as answer:
        lines = answer.read().decode().splitlines()
    assert 'generator_stage_seconds_sum{backbone="emoji-world",stage="sampling"} 1.5' in lines
    assert 'generator_step_seconds_bucket{backbone="emoji-world",le="0.2"} 1.0' in lines
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url)


def test_a_port_that_is_taken_is_told(metrics: WorkerMetrics) -> None:
    (port,) = free_ports(1)
    taken = pytest.raises(BadSettings, match=f"{LOOPBACK}:{port}: Address already in use")
    served = partial(exposing, metrics.registry, lambda: True, LOOPBACK, port)
    with served(), taken, served():
        pass


def test_a_worker_is_healthy_while_it_is_heard(metrics: WorkerMetrics) -> None:
    heard = iter([True, False])
    (port,) = free_ports(1)
    with exposing(metrics.registry, lambda: next(heard), LOOPBACK, port):
        answers = [httpx.get(f"http://{LOOPBACK}:{port}/health", trust_env=False) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 503]


def test_without_a_port_nothing_is_served(metrics: WorkerMetrics) -> None:
    with exposing(metrics.registry, lambda: True, "no such host", None):
        pass


def test_gpu_memory_is_that_of_the_workers_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    second = torch.device("cuda", 1)
    amounts = {"mem_get_info": (70, 80), "memory_allocated": 5, "memory_reserved": 7}
    for name, amount in amounts.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, amount=amount: amount if device == second else None)
    (family,) = GpuMemory(second).collect()
    samples = {sample.labels["state"]: sample.value for sample in family.samples}
    assert samples == {"allocated": 5, "reserved": 7, "free": 70, "total": 80}
