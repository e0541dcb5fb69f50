"""What jobs leave behind goes: in Redis, and in the object storage.

Every process that knows the object storage runs one; of all of them, one acts in each round, and a second one that acts
at the same time does no harm.  Whatever an outage or a death interrupts is found again in a later round.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from generator_service.jobs.periodic import PeriodicTask
from generator_service.jobs.store import JobStore
from shared.errors import Conflict, NotFound

AT_ONCE: Final = 1000
"""Jobs deleted in one round: what is left waits for the next one."""

IMAGES_SECONDS: Final = 3600.0
"""Old images are looked for so often."""
IMAGES_GRACE: Final = timedelta(days=1)
"""An image that no new job can use is still there for so long: one that was just submitted is among its owner's."""

log = structlog.get_logger(__name__)


class Storage(Protocol):
    def delete_leftovers(self, job_id: str, winner: int | None) -> None: ...

    def delete_images(self, before: datetime, in_use: Callable[[str], Collection[str]]) -> None: ...


class Cleanup(PeriodicTask):
    name = "cleanup"

    def __init__(
        self,
        store: JobStore,
        storage: Storage,
        retention: timedelta,
        seconds: float,
    ) -> None:
        """retention: so long is a job kept after its end, and an image after its upload."""
        super().__init__(seconds)
        self._store = store
        self._storage = storage
        self._retention = retention

    def run_once(self) -> None:
        """A round, if it is this process's.  Raises Unavailable."""
        if self._store.claim_round(self.name, self._seconds):
            self.clean_up()

    def clean_up(self) -> None:
        """The storage comes last: its outages keep nothing else waiting.  Raises Unavailable."""
        self._delete_old_jobs()
        for job_id, winner in self._store.leftovers().items():
            self._storage.delete_leftovers(job_id, winner)
            self._store.forget_objects(job_id)
        if self._store.claim_round("images", IMAGES_SECONDS):
            before = self._store.now() - self._retention - IMAGES_GRACE
            self._storage.delete_images(before, self._store.images_in_use)

    def _delete_old_jobs(self) -> None:
        kept_since = self._store.now() - self._retention
        for job_id in self._store.list_ended_before(kept_since, AT_ONCE):
            try:
                deleted = self._store.delete(job_id)
            except Conflict:
                continue
            except NotFound:
                self._drop(job_id)
            else:
                log.info("job_expired", job_id=job_id, request_id=deleted.request_id)
        for job_id in self._store.list_broken_before(kept_since)[:AT_ONCE]:
            self._drop(job_id)
        self._store.forget_owners()

    def _drop(self, job_id: str) -> None:
        """Nobody can do anything with it.  Not earlier: it may be of a newer version, which is being rolled out."""
        with suppress(Conflict, NotFound):  # somebody else has deleted it
            self._store.drop(job_id)
            log.warning("unreadable_job_dropped", job_id=job_id)
