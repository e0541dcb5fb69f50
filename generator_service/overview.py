"""The service at a glance: who works on what, what waits, and what is wrong, in plain words."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from generator_service.jobs.heartbeat import WorkerInfo
from generator_service.jobs.load import QueueLoad
from generator_service.jobs.outbox import Overdue
from generator_service.jobs.record import JobRecord
from generator_service.jobs.states import JobStatus, Stage
from shared.errors import Violation
from shared.wire import WireModel

LONG_WAIT_SECONDS: Final = 600.0
"""A job that waits longer is worth a word."""


class WorkerState(WireModel):
    """A worker process that was heard lately."""

    name: str
    kind: Literal["plan", "render", "webhook"]
    backbone: str | None
    device: str | None
    host: str | None
    job: str | None
    """What it works on; null: it waits for a job."""
    since: datetime
    """When it took that job, or let go of the last one, or started."""
    silent_seconds: float
    """Since its last heartbeat."""


class Lease(WireModel):
    """A job in a worker's hands, as its record says."""

    job: str
    worker: str
    stage: Stage | None
    step: int
    steps: int
    attempt: int
    since: datetime | None
    canceling: bool
    held: bool
    """Whether that worker was heard lately, and is at no other job; if not, the job is taken back within seconds."""


class Overview(WireModel):
    at: datetime
    problems: tuple[str, ...]
    """In plain words; empty where all is well."""
    workers: tuple[WorkerState, ...]
    leases: tuple[Lease, ...]
    queues: dict[str, QueueLoad]
    jobs: dict[JobStatus, int]
    """How many are in each status."""
    webhooks: Overdue


def worker_states(workers: Sequence[WorkerInfo], silence: Mapping[str, float]) -> tuple[WorkerState, ...]:
    return tuple(
        WorkerState(
            name=info.name,
            kind=info.kind,
            backbone=info.backbone,
            device=info.device,
            host=info.host,
            job=info.job,
            since=info.since or info.started_at,
            silent_seconds=round(silence[info.name], 1),
        )
        for info in workers
        if info.name in silence
    )


def leases(held: Sequence[JobRecord], workers: Sequence[WorkerInfo]) -> tuple[Lease, ...]:
    at_work = {info.name: info.job for info in workers}
    return tuple(
        Lease(
            job=record.id,
            worker=record.worker,
            stage=record.stage,
            step=record.step,
            steps=record.settings.steps,
            attempt=record.attempt,
            since=record.running_since,
            canceling=record.status is JobStatus.CANCELING,
            held=record.worker in at_work and at_work[record.worker] in (record.id, None),  # None: it just took it
        )
        for record in held
        if record.worker is not None
    )


def problems(
    missing: Sequence[Violation],
    workers: Sequence[WorkerState],
    leases: Sequence[Lease],
    queues: Mapping[str, QueueLoad],
    webhooks: Overdue,
) -> Iterator[str]:
    for part in missing:
        yield f"{part.field}: {part.message}"
    able = {worker.kind if worker.backbone is None else f"{worker.kind}.{worker.backbone}" for worker in workers}
    for name, queue in queues.items():
        number = queue.waiting + queue.put_aside
        jobs = "1 job waits" if number == 1 else f"{number} jobs wait"
        if queue.put_aside:
            jobs += f" ({queue.put_aside} put aside)"
        if number and name not in able:
            yield f"queue {name}: {jobs}, and no worker is there for it"
        elif queue.oldest_seconds is not None and queue.oldest_seconds >= LONG_WAIT_SECONDS:
            yield f"queue {name}: {jobs}, one of them for {queue.oldest_seconds / 60:.0f} minutes"
    events = "1 event is due" if webhooks.events == 1 else f"{webhooks.events} events are due"
    if webhooks.events and "webhook" not in able:
        yield f"webhooks: {events}, and no webhook worker is alive"
    elif webhooks.oldest_seconds is not None and webhooks.oldest_seconds >= LONG_WAIT_SECONDS:
        yield f"webhooks: {events}, one of them for {webhooks.oldest_seconds / 60:.0f} minutes"
    for lease in leases:
        if not lease.held:
            yield f"job {lease.job}: its worker {lease.worker} is silent; another will take the job within seconds"
        elif lease.attempt > 1:
            yield f"job {lease.job}: in attempt {lease.attempt}, for {lease.attempt - 1} of its workers fell silent"
