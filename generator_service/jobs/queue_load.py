"""How much there is to do for each kind of worker.  Its cost grows with workers, not with jobs."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from generator_service.contract.answers import QueueLoad
from generator_service.contract.job import JobStatus
from generator_service.jobs.queues import queue_of
from generator_service.jobs.store import JobStore

FRONT: Final = 20
"""So many jobs at each queue's front, so many delayed and so many of all submitted first are looked at for the one that
has waited longest: some that wait are never let to the front."""


def queue_loads(store: JobStore) -> Mapping[str, QueueLoad]:
    """By queue.  Raises Unavailable."""
    running = Counter(map(queue_of, store.list_running()))
    fronts = store.fronts(FRONT)
    now = store.now()
    longest: dict[str, float] = {}
    for record in store.get_many(
        {*store.first_queued(FRONT), *(job for front in fronts.values() for job in front.first)}
    ):
        if record.status is JobStatus.QUEUED:
            # One that waits for a missing part has been tried meanwhile, and waits as before.
            since = record.updated_at if record.waiting_for is None else record.created_at
            waited = (now - since).total_seconds()
            longest[queue_of(record)] = max(waited, longest.get(queue_of(record), 0.0))
    return {
        name: QueueLoad(
            waiting=front.waiting,
            put_aside=front.delayed,
            running=running[name],
            jobs=front.waiting + front.delayed + running[name],
            oldest_seconds=longest.get(name),
        )
        for name, front in fronts.items()
    }
