"""What RQ carries: tickets, each of which says that there is work in its queue, and no more.

One is enough for a queue, however many jobs wait: whoever takes it starts the job whose turn it is, and leaves another
one where more wait.  A ticket that is lost is replaced by the recovery thread; for one too many there is no job, and
the worker returns at once.
"""

from collections.abc import Mapping
from typing import Final

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

    def add(self, name: str) -> None:
        with redis_errors_as_unavailable():
            self.queue(name).enqueue_call(FUNCTION, result_ttl=0, failure_ttl=FAILED_SECONDS)

    def top_up(self, waiting: Mapping[str, int]) -> None:
        """waiting: by queue, how many jobs wait: where any do, there is to be a ticket."""
        for name, count in waiting.items():
            with redis_errors_as_unavailable():
                is_missing = count > 0 and self.queue(name).is_empty()
            if is_missing:
                self.add(name)
