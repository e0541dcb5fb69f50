"""What RQ carries: tickets, each of which says that there is work in its queue, and no more.

A worker that gets one asks the store for the job whose turn it is.  A ticket that is lost is replaced by the recovery
thread; for one too many there is no job, and the worker returns at once.
"""

from typing import Final, cast

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from generator_service.jobs.connection import redis_errors_as_unavailable

FUNCTION: Final = "generator_service.workers.loop.take_turn"
"""RQ wants one to be named.  A worker does its work, whatever a ticket names."""
FAILED_SECONDS: Final = 600
"""So long RQ remembers the ticket of a worker that died."""


class Tickets:
    """`redis_client` must not decode responses: RQ reads bytes.  Every method raises Unavailable where Redis does not
    answer."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self._redis = redis_client

    def queue(self, name: str) -> Queue:
        """RQ's own.  JSON, and never pickle."""
        return Queue(name, connection=self._redis, serializer=JSONSerializer)

    def add(self, name: str, count: int = 1) -> None:
        queue = self.queue(name)
        with redis_errors_as_unavailable(), self._redis.pipeline(transaction=True) as pipeline:
            for _ in range(count):
                queue.enqueue_call(FUNCTION, result_ttl=0, failure_ttl=FAILED_SECONDS, pipeline=pipeline)
            pipeline.execute()

    def top_up(self, waiting: dict[str, int]) -> None:
        """waiting: by queue, how many jobs wait: there are to be as many tickets, or more."""
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for name in waiting:
                pipeline.llen(self.queue(name).key)
            counts = cast(list[int], pipeline.execute())
        for (name, wanted), count in zip(waiting.items(), counts, strict=True):
            if wanted > count:
                self.add(name, wanted - count)
