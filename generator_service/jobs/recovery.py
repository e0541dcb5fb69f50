"""Nobody's job is lost: what died with its worker goes on, what was delayed comes to its turn, and where jobs wait
there is a ticket.

Every API and every worker that plans or renders runs one.  All see the same; the store lets exactly one act on a job.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from generator_service.contract.job import JobStatus
from generator_service.jobs.periodic import PeriodicTask
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from generator_service.jobs.workers import BEATS_TO_EXPIRY, WorkerRegistry
from shared.errors import Conflict, NotFound

FIRST_PAUSE: Final = timedelta(seconds=1)
"""Before the second attempt; twice as long before each further one."""
LONGEST_PAUSE: Final = timedelta(minutes=1)
AT_ONCE: Final = 200
"""Delayed jobs promoted in one round, for each queue: what is left waits for the next round."""

log = structlog.get_logger(__name__)


def pause_after(attempt: int) -> timedelta:
    return min(FIRST_PAUSE * float(2 ** (attempt - 1)), LONGEST_PAUSE)


def reclaimed_counter(registry: CollectorRegistry) -> Callable[[JobStatus], None]:
    """Counts jobs that this process took from silent workers, by what became of them; add up all processes."""
    counter = Counter(
        "generator_jobs_taken_back",
        "Jobs that this process took from a silent worker, by what became of them.",
        ["status"],
        registry=registry,
    )
    for status in (JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELED):
        counter.labels(status.value)  # a rate needs a zero to begin with
    return lambda status: counter.labels(status.value).inc()


class Recovery(PeriodicTask):
    """Runs once a heartbeat.

    A look at the workers that follows an outage proves nothing: they could not beat either.  So nobody is judged before
    `BEATS_TO_EXPIRY` heartbeats of looks without a gap.
    """

    name = "recovery"

    def __init__(
        self,
        store: JobStore,
        tickets: Tickets,
        workers: WorkerRegistry,
        attempts: int,
        on_reclaimed: Callable[[JobStatus], None] = lambda _: None,
    ) -> None:
        """attempts: how many each job has.  on_reclaimed: called with the status of each job that this very process has
        taken from a silent worker."""
        super().__init__(workers.heartbeat_seconds)
        self._store = store
        self._tickets = tickets
        self._workers = workers
        self._attempts = attempts
        self._on_reclaimed = on_reclaimed
        self._patience = BEATS_TO_EXPIRY * workers.heartbeat_seconds
        self._looked_at = float("-inf")
        self._watching_since = float("-inf")
        self._suspected: dict[tuple[str, int, str | None], float] = {}
        """Since when: jobs that their worker may just be taking, or letting go of."""

    def run_once(self) -> None:
        """Raises Unavailable."""
        self._reclaim_abandoned()
        if self._store.claim_round(self.name, self._seconds):
            for record in self._store.promote_due(AT_ONCE):
                log.info("job_promoted", job_id=record.id, request_id=record.request_id, attempt=record.attempt)
            self._tickets.top_up(self._store.count_waiting())

    def _reclaim_abandoned(self) -> None:
        begin = time.monotonic()
        if begin - self._looked_at > 2 * self._workers.heartbeat_seconds:
            self._watching_since = begin
            self._suspected = {}
        self._looked_at = float("-inf")  # until this look has come to its end
        running = self._store.list_running()  # before the workers: who takes a job meanwhile is not missed among them
        at_work = {worker.name: worker.job for worker in self._workers.alive()}
        abandoned = [record for record in running if at_work.get(str(record.worker)) != record.id]
        now = time.monotonic()
        self._suspected = {key: self._suspected.get(key, now) for key in map(_key, abandoned)}
        for record in abandoned:
            is_silent = record.worker not in at_work and now - self._watching_since >= self._patience
            if is_silent or now - self._suspected[_key(record)] >= self._patience:
                self._reclaim(record)
        self._looked_at = now

    def _reclaim(self, record: JobRecord) -> None:
        pause = pause_after(record.attempt)
        try:
            moved = self._store.reclaim(record, "its worker fell silent", attempts=self._attempts, pause=pause)
        except (Conflict, NotFound):
            return  # another process was first, or the worker is not dead at all
        log.warning(
            "job_reclaimed",
            job_id=moved.id,
            request_id=moved.request_id,
            worker=record.worker,
            attempt=record.attempt,
            status=moved.status.value,
        )
        self._on_reclaimed(moved.status)


def _key(record: JobRecord) -> tuple[str, int, str | None]:
    return record.id, record.attempt, record.worker
