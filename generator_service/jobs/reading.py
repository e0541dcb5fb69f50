"""A look at a job in one round trip and without a thread: for what clients ask for again and again."""

import redis.asyncio

from generator_service.jobs.connection import answering
from generator_service.jobs.delivery import QUEUES, queue_of
from generator_service.jobs.fair_order import waiting_key
from generator_service.jobs.record import JobRecord
from generator_service.jobs.states import JobStatus
from generator_service.jobs.store import job_key, record_of

_ORDERS = tuple(map(waiting_key, QUEUES))


class JobReader:
    """`client` must decode responses to text, and is used in one event loop."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client

    async def look(self, job_id: str) -> tuple[JobRecord, int | None]:
        """The job and its place in its queue; None where it does not wait.  Raises NotFound and Unavailable."""
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hgetall(job_key(job_id))
            for order in _ORDERS:
                pipeline.zrank(order, job_id)
            fields, *places = await pipeline.execute()
        record = record_of(job_id, fields)
        return record, places[QUEUES.index(queue_of(record))] if record.status is JobStatus.QUEUED else None
