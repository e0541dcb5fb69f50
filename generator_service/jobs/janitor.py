"""What jobs leave behind goes: in Redis, in the queues, in RQ's registries and in the object storage.

Every process that knows the object storage runs one; of all of them, one acts in each round, and a second one that acts
at the same time does no harm.  Whatever an outage or a death interrupts is found again in a later round.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from generator_service.contract.job import JobStatus
from generator_service.jobs.delivery import Delivery
from generator_service.jobs.record import JobRecord
from generator_service.jobs.routine import Routine
from generator_service.jobs.store import JobStore
from shared.errors import Conflict, NotFound

AT_ONCE: Final = 1000
"""Jobs deleted in one round: what is left waits for the next one."""
SETTLING: Final = timedelta(seconds=5)
"""So long a worker may take to tell RQ what its record has said: that its part of the job is done."""

log = structlog.get_logger(__name__)


class Janitor(Routine):
    name = "janitor"

    def __init__(
        self,
        store: JobStore,
        delivery: Delivery,
        delete_leftovers: Callable[[str, int | None], None],
        retention: timedelta,
        seconds: float,
    ) -> None:
        """delete_leftovers: the object storage's.  retention: so long is a job kept after its end."""
        super().__init__(seconds)
        self._store = store
        self._delivery = delivery
        self._delete_leftovers = delete_leftovers
        self._retention = retention

    def look(self) -> None:
        """A round, if it is this janitor's.  Raises Unavailable."""
        if self._store.may_tidy_up(self._seconds):
            self.tidy_up()

    def tidy_up(self) -> None:
        """The storage comes last: its outages keep nothing else waiting.  Raises Unavailable."""
        self._delete_what_is_old()
        self._withdraw_what_has_ended()
        self._forget_unwanted_messages()
        for job_id, winner in self._store.leftovers().items():
            self._delete_leftovers(job_id, winner)
            self._store.forget_objects(job_id)

    def _delete_what_is_old(self) -> None:
        kept_since = datetime.now(UTC) - self._retention
        for job_id in self._store.ended_before(kept_since, AT_ONCE):
            try:
                deleted = self._store.delete(job_id)
            except Conflict:
                continue
            except NotFound:
                self._drop(job_id)
            else:
                log.info("job_expired", job_id=job_id, request_id=deleted.request_id)
        for job_id in self._store.broken_before(kept_since)[:AT_ONCE]:
            self._drop(job_id)
        self._store.forget_owners()

    def _drop(self, job_id: str) -> None:
        """Nobody can do anything with it.  Not earlier: it may be of a newer version, which is being rolled out."""
        with suppress(Conflict, NotFound):  # somebody else has deleted it
            self._store.drop(job_id)
            log.warning("job_record_unreadable_dropped", job_id=job_id)

    def _withdraw_what_has_ended(self) -> None:
        """It was enqueued as it was canceled, or could not be withdrawn then."""
        for job_id in self._store.ended(inside=[order.key for order in self._delivery.orders()]):
            self._delivery.withdraw(job_id)
        self._delivery.tidy_up()

    def _forget_unwanted_messages(self) -> None:
        """Those that a killed worker left in RQ's hands, or that speak of a job which has ended."""
        messages = self._delivery.messages()
        jobs = {job.id: job for job in self._store.some(set(messages.values()))}
        for message, job_id in messages.items():
            job = jobs.get(job_id)
            if job is None or (_has_settled(job) and not self._is_at_work(job, message)):
                self._delivery.forget(message)

    def _is_at_work(self, job: JobRecord, message: str) -> bool:
        """Whether whoever took the message has the job."""
        return job.worker is not None and job.worker == self._delivery.worker_of(message)


def _has_settled(job: JobRecord) -> bool:
    if job.status is JobStatus.QUEUED:
        return False  # a worker may just have taken it
    moved_at = job.finished_at or job.running_since or job.updated_at
    return datetime.now(UTC) - moved_at > SETTLING
