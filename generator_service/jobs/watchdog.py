"""Nobody's job is lost: what died with its worker, or never reached a queue, goes on.

Every API and every worker that plans or renders runs one.  All see the same; the store lets exactly one act on a job.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from generator_service.contract.job import JobStatus
from generator_service.jobs.delivery import QUEUES, Delivery, queue_of
from generator_service.jobs.heartbeat import BEATS_TO_EXPIRY, WorkerRegistry
from generator_service.jobs.record import JobRecord
from generator_service.jobs.routine import Routine
from generator_service.jobs.store import JobStore
from shared.errors import Conflict, NotFound

FIRST_PAUSE: Final = timedelta(seconds=1)
"""Before the second attempt; twice as long before each further one."""
LONGEST_PAUSE: Final = timedelta(minutes=1)
AT_ONCE: Final = 200
"""Jobs that were put aside, for each queue, in one look: what is left waits for another watchdog, or the next look."""
THOROUGH: Final = 20
"""One look of so many compares jobs, not only their numbers: one that has ended and still waits hides a lost one."""

log = structlog.get_logger(__name__)


class Watchdog(Routine):
    """Looks once a heartbeat.

    A look that follows an outage proves nothing: the workers could not beat either.  So nobody is judged before
    `BEATS_TO_EXPIRY` heartbeats of looks without a gap.
    """

    name = "watchdog"

    def __init__(
        self,
        store: JobStore,
        delivery: Delivery,
        workers: WorkerRegistry,
        attempts: int,
        on_taken_back: Callable[[JobStatus], None] = lambda _: None,
    ) -> None:
        """attempts: how many each job has.  on_taken_back: called with the status of each job that this very watchdog
        has taken from a silent worker."""
        super().__init__(workers.heartbeat_seconds)
        self._store = store
        self._delivery = delivery
        self._workers = workers
        self._attempts = attempts
        self._on_taken_back = on_taken_back
        self._patience = BEATS_TO_EXPIRY * workers.heartbeat_seconds
        self._looked_at = float("-inf")
        self._watching_since = float("-inf")
        self._looks = 0
        self._suspected: dict[_Suspect, float] = {}
        """Since when: jobs that may just be on their way from one hand to the next."""

    def look(self) -> None:
        """Raises Unavailable."""
        begin = time.monotonic()
        if begin - self._looked_at > 2 * self._workers.heartbeat_seconds:
            self._watching_since = begin
            self._suspected = {}
        self._looked_at = float("-inf")  # until this look has come to its end
        for record in sorted(self._store.take_due(AT_ONCE), key=_age):
            self._deliver(record)
        held = self._store.held()  # before the workers: who takes a job meanwhile is not missed among them
        at_work = {worker.name: worker.job for worker in self._workers.workers()}
        abandoned = [record for record in held if at_work.get(str(record.worker)) != record.id]
        orders = [order.key for order in self._delivery.orders()]
        is_thorough = bool(self._suspected) or self._looks % THOROUGH == 0 or not self._store.adds_up(outside=orders)
        missing = self._store.some(self._store.queued(outside=orders)) if is_thorough else ()
        unspoken_of = [record for record in missing if queue_of(record) in QUEUES]  # else it is a newer version's
        self._looks += 1
        now = time.monotonic()
        suspects = {_suspect(record) for record in (*abandoned, *unspoken_of)}
        self._suspected = {suspect: self._suspected.get(suspect, now) for suspect in suspects}
        for record in abandoned:
            is_silent = record.worker not in at_work and now - self._watching_since >= self._patience
            if is_silent or self._long_suspected(record, now):
                self._take_back(record)
        for record in sorted(unspoken_of, key=_age):
            if record.status is JobStatus.QUEUED and self._long_suspected(record, now):
                self._deliver(record)
        self._looked_at = now

    def _long_suspected(self, record: JobRecord, now: float) -> bool:
        return now - self._suspected[_suspect(record)] >= self._patience

    def _take_back(self, record: JobRecord) -> None:
        pause = min(FIRST_PAUSE * 2 ** (record.attempt - 1), LONGEST_PAUSE)
        try:
            moved = self._store.take_back(record, attempts=self._attempts, pause=pause)
        except (Conflict, NotFound):
            return  # another watchdog was first, or the worker is not dead at all
        log.warning(
            "job_taken_back",
            job_id=moved.id,
            request_id=moved.request_id,
            worker=record.worker,
            attempt=record.attempt,
            status=moved.status.value,
        )
        self._on_taken_back(moved.status)

    def _deliver(self, record: JobRecord) -> None:
        try:
            # Should this process die between the two, the job is in no queue still, and is found again.
            delivered = self._store.deliver(record)
            # Many jobs may wait for the same part, and each is tried again and again: out of turn, they would keep all
            # others from their workers.
            self._delivery.enqueue(delivered, first=delivered.waiting_for is None)
        except (Conflict, NotFound):
            return
        log.info("job_delivered_anew", job_id=record.id, request_id=record.request_id, attempt=record.attempt)


_Suspect = tuple[str, int, int, str | None]


def _suspect(record: JobRecord) -> _Suspect:
    return record.id, record.attempt, record.delivery, record.worker


def _age(record: JobRecord) -> datetime:
    return record.created_at
