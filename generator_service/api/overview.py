"""The service at a glance, for those who run it: who works on what, what waits, and what is wrong, in plain words."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter

from generator_service.api.auth import UseCaller
from generator_service.api.operations import UseLook
from generator_service.api.parts import UseParts
from generator_service.contract.answers import Lease, Overdue, Overview, QueueLoad, WorkerState
from generator_service.contract.job import JobStatus
from generator_service.jobs.queue_load import queue_loads
from generator_service.jobs.record import JobRecord
from generator_service.jobs.workers import WorkerInfo
from shared.errors import Forbidden, Unavailable, Violation

LONG_WAIT_SECONDS: Final = 600.0
"""A job that waits longer is worth a word."""

router = APIRouter(tags=["operations"])


@router.get("/overview", summary="Everything at a glance")
def overview(parts: UseParts, caller: UseCaller, look: UseLook) -> Overview:
    """Workers, the jobs they hold, queues, and what is wrong, in plain words.  For keys of scope `admin`.

    Where Redis does not answer, that is what is said, and the rest is empty; where keys are asked for it is 503, since
    none can be looked up.
    """
    if caller.sees_jobs_of is not None:
        raise Forbidden("the overview shows everybody's jobs: it takes a key of scope admin")
    now = datetime.now(UTC)
    try:
        infos = parts.workers.alive()
        workers = worker_states(infos, parts.workers.silence(info.name for info in infos))
        held = leases(parts.store.list_running(), infos)
        queues = dict(queue_loads(parts.store))
        counts = parts.store.counts()
        webhooks = parts.outbox.overdue(parts.store.now())
    except Unavailable:
        workers, held, queues, counts, webhooks = (), (), {}, {}, Overdue(events=0, oldest_seconds=None)
    told = tuple(problems(look.missing, workers, held, queues, webhooks))
    return Overview(at=now, problems=told, workers=workers, leases=held, queues=queues, jobs=counts, webhooks=webhooks)


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
            steps=record.settings.steps_in_all,
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
