"""RQ delivers jobs to workers and does nothing else: its own records may vanish at any time.

One queue for planning, and one for each backbone, since a worker keeps one backbone's model in memory.  Messages are
JSON, functions are named by their dotted path: nothing is ever pickled, and `message.py` says what may be called.
"""

from typing import Final, cast

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from generator_service.backbones.specs import BACKBONES
from generator_service.jobs.connection import answering
from generator_service.jobs.message import PLAN_FUNCTION, RENDER_FUNCTION, Message
from generator_service.jobs.record import JobRecord
from generator_service.jobs.states import JobStatus, Stage

PLAN_QUEUE: Final = "plan"


def render_queue(backbone: str) -> str:
    return f"render.{backbone}"


class Delivery:
    """`redis_client` must not decode responses: RQ reads bytes."""

    def __init__(self, redis_client: redis.Redis, job_seconds: int) -> None:
        self._redis = redis_client
        self._job_seconds = job_seconds

    def queue(self, name: str) -> Queue:
        return Queue(
            name,
            connection=self._redis,
            serializer=JSONSerializer,
            job_class=Message,
            default_timeout=self._job_seconds,
        )

    def enqueue(self, record: JobRecord, *, first: bool = False) -> None:
        """Hand a queued job to whoever does its stage, before all others if `first`.  Raises Unavailable."""
        function = PLAN_FUNCTION if record.stage is Stage.PLANNING else RENDER_FUNCTION
        with answering():
            self._queue_of(record).enqueue(
                function,
                args=(record.id,),
                job_id=_message(record),
                at_front=first,
                result_ttl=0,
                failure_ttl=24 * 3600,
            )

    def waiting(self) -> frozenset[str]:
        """The ids of the jobs that a message in some queue speaks of.  Raises Unavailable."""
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            for name in (PLAN_QUEUE, *map(render_queue, BACKBONES)):
                pipeline.lrange(self.queue(name).key, 0, -1)
            queues = cast(list[list[bytes]], pipeline.execute())
        return frozenset(_job_of(message) for queue in queues for message in queue)

    def fronts(self, depth: int) -> dict[str, tuple[int, tuple[str, ...]]]:
        """For each queue: how many messages wait, and the ids of the jobs that the first `depth` of them speak of.

        Raises Unavailable.
        """
        names = (PLAN_QUEUE, *map(render_queue, BACKBONES))
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            for name in names:
                pipeline.llen(self.queue(name).key)
                pipeline.lrange(self.queue(name).key, 0, depth - 1)
            found = iter(pipeline.execute())
        return {
            name: (length, tuple(_job_of(message) for message in messages))
            for name, length, messages in zip(names, found, found, strict=True)
        }

    def position(self, record: JobRecord) -> int | None:
        """How many messages are before this job's in its queue; None where it does not wait.  Raises Unavailable.

        Jobs canceled meanwhile still count, until a worker has seen that nobody wants them.
        """
        if record.status is not JobStatus.QUEUED:
            return None
        with answering():
            return cast(int | None, self._redis.lpos(self._queue_of(record).key, _message(record)))

    def _queue_of(self, record: JobRecord) -> Queue:
        if record.stage is Stage.PLANNING:
            return self.queue(PLAN_QUEUE)
        return self.queue(render_queue(record.settings.backbone))


def _message(record: JobRecord) -> str:
    stage = "plan" if record.stage is Stage.PLANNING else "render"
    return f"{stage}-{record.id}-{record.delivery}"


def _job_of(message: bytes) -> str:
    """ "" where the message is none of ours, and need not even be text."""
    name = message.decode(errors="replace")
    return name.split("-")[1] if name.count("-") == 2 else ""
