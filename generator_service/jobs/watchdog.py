"""Nobody's job is lost: what died with its worker, or never reached a queue, goes on.  And nothing but its results
outlives it.

Every API and every worker runs one.  All see the same; the store lets exactly one act on a job.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import structlog

from generator_service.jobs.delivery import Delivery
from generator_service.jobs.heartbeat import BEATS_TO_EXPIRY, WorkerRegistry
from generator_service.jobs.record import JobRecord
from generator_service.jobs.states import JobStatus
from generator_service.jobs.store import JobStore
from shared.errors import Conflict, NotFound, StorageUnavailable, Unavailable

FIRST_PAUSE: Final = timedelta(seconds=1)
"""Before the second attempt; twice as long before each further one."""
LONGEST_PAUSE: Final = timedelta(minutes=1)
LEAVING_SECONDS: Final = 2.0
"""How long the end of the block waits for a look under way."""

log = structlog.get_logger(__name__)


class Watchdog:
    """Looks once a heartbeat, in a thread of its own, while the `with` block runs.

    A look that follows an outage proves nothing: the workers could not beat either.  So nobody is judged before
    `BEATS_TO_EXPIRY` heartbeats of looks without a gap.
    """

    def __init__(
        self,
        store: JobStore,
        delivery: Delivery,
        workers: WorkerRegistry,
        attempts: int,
        delete_leftovers: Callable[[str, int | None], None] | None = None,
    ) -> None:
        """attempts: how many each job has.  delete_leftovers: the object storage's, in processes that know it."""
        self._store = store
        self._delivery = delivery
        self._workers = workers
        self._attempts = attempts
        self._delete_leftovers = delete_leftovers
        self._patience = BEATS_TO_EXPIRY * workers.heartbeat_seconds
        self._looked_at = float("-inf")
        self._watching_since = float("-inf")
        self._suspected: dict[_Suspect, float] = {}
        """Since when: jobs that may just be on their way from one hand to the next."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(LEAVING_SECONDS)

    def look(self) -> None:
        """Raises Unavailable."""
        begin = time.monotonic()
        if begin - self._looked_at > 2 * self._workers.heartbeat_seconds:
            self._watching_since = begin
            self._suspected = {}
        held = self._store.held()  # before the workers: who takes a job meanwhile is not missed among them
        at_work = {worker.name: worker.job for worker in self._workers.workers()}
        abandoned = [record for record in held if at_work.get(str(record.worker)) != record.id]
        orders = [order.key for order in self._delivery.orders()]
        unspoken_of = self._store.some(self._store.queued(outside=orders))
        now = time.monotonic()
        suspects = {_suspect(record) for record in (*abandoned, *unspoken_of)}
        self._suspected = {suspect: self._suspected.get(suspect, now) for suspect in suspects}
        for record in abandoned:
            is_silent = record.worker not in at_work and now - self._watching_since >= self._patience
            if is_silent or self._long_suspected(record, now):
                self._take_back(record)
        for record in unspoken_of:
            if record.status is JobStatus.QUEUED and (_is_due(record) or self._long_suspected(record, now)):
                self._deliver(record)
        self._looked_at = now
        self._tidy_up()

    def _long_suspected(self, record: JobRecord, now: float) -> bool:
        return record.retry_at is None and now - self._suspected[_suspect(record)] >= self._patience

    def _take_back(self, record: JobRecord) -> None:
        pause = min(FIRST_PAUSE * 2 ** (record.attempt - 1), LONGEST_PAUSE)
        try:
            moved = self._store.take_back(record, attempts=self._attempts, pause=pause)
        except (Conflict, NotFound):
            return  # another watchdog was first, or the worker is not dead at all
        log.warning(
            "job_taken_back", job_id=moved.id, worker=record.worker, attempt=record.attempt, status=moved.status.value
        )

    def _deliver(self, record: JobRecord) -> None:
        try:
            # Should this process die between the two, the next delivery has another name.
            self._delivery.enqueue(self._store.deliver(record), first=True)
        except (Conflict, NotFound):
            return
        log.info("job_delivered_anew", job_id=record.id, attempt=record.attempt)

    def _tidy_up(self) -> None:
        if self._delete_leftovers is None:
            return
        try:
            for job_id, winner in self._store.leftovers().items():
                self._delete_leftovers(job_id, winner)
                self._store.forget_objects(job_id)
        except StorageUnavailable as outage:
            log.warning("leftovers_not_deleted", reason=outage.detail)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Unavailable as outage:
                log.warning("watchdog_blind", reason=outage.detail)
                self._looked_at = float("-inf")
            except Exception:  # whatever it is, nobody else looks after the jobs
                log.exception("watchdog_blind")
            self._stopping.wait(self._workers.heartbeat_seconds)


_Suspect = tuple[str, int, int, str | None]


def _suspect(record: JobRecord) -> _Suspect:
    return record.id, record.attempt, record.delivery, record.worker


def _is_due(record: JobRecord) -> bool:
    return record.retry_at is not None and record.retry_at <= datetime.now(UTC)
