"""How much there is to do for each kind of worker.  Its cost grows with workers, not with jobs."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from generator_service.contract.answers import QueueLoad
from generator_service.contract.job import JobStatus
from generator_service.jobs.delivery import Delivery, queue_of
from generator_service.jobs.store import JobStore

FRONT: Final = 20
"""So many jobs at each queue's front, so many put aside and so many of all submitted first are looked at for the one
that has waited longest: some at the front were canceled, and some that wait are never let to the front."""


def loads(store: JobStore, delivery: Delivery, now: datetime) -> Mapping[str, QueueLoad]:
    """By queue.  Raises Unavailable."""
    running = Counter(map(queue_of, store.held()))
    fronts = delivery.fronts(FRONT)
    put_aside = store.put_aside(FRONT)
    looked_at = {job for _, jobs in (*fronts.values(), *put_aside.values()) for job in jobs}
    longest: dict[str, float] = {}
    for record in store.some(looked_at | set(store.first_queued(FRONT))):
        if record.status is JobStatus.QUEUED:
            # One that was put aside has been tried meanwhile, and waits as before.
            since = record.updated_at if record.waiting_for is None else record.created_at
            waited = (now - since).total_seconds()
            longest[queue_of(record)] = max(waited, longest.get(queue_of(record), 0.0))
    return {
        name: QueueLoad(
            waiting=waiting,
            put_aside=aside,
            running=running[name],
            jobs=waiting + aside + running[name],
            oldest_seconds=longest.get(name),
        )
        for (name, (waiting, _)), (aside, _) in zip(fronts.items(), put_aside.values(), strict=True)
    }
