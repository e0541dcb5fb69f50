"""RQ delivers jobs to workers and does nothing else: its own records may vanish at any time.

One queue for planning, and one for each backbone, since a worker keeps one backbone's model in memory.  Messages are
JSON, functions are named by their dotted path: nothing is ever pickled.
"""

from contextlib import suppress
from typing import Final, cast

import redis
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from generator_service.backbones.specs import BACKBONES
from generator_service.jobs.connection import answering
from generator_service.jobs.record import JobRecord
from generator_service.jobs.states import JobStatus, Stage

PLAN_QUEUE: Final = "plan"
PLAN_FUNCTION: Final = "generator_service.workers.plan_worker.plan"
RENDER_FUNCTION: Final = "generator_service.workers.render_worker.render"


def render_queue(backbone: str) -> str:
    return f"render.{backbone}"


class Delivery:
    """`redis_client` must not decode responses: RQ reads bytes."""

    def __init__(self, redis_client: redis.Redis, job_seconds: int) -> None:
        self._redis = redis_client
        self._job_seconds = job_seconds

    def queue(self, name: str) -> Queue:
        return Queue(name, connection=self._redis, serializer=JSONSerializer, default_timeout=self._job_seconds)

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
            for queue in self._queues():
                pipeline.lrange(queue.key, 0, -1)
            queues = cast(list[list[bytes]], pipeline.execute())
        return frozenset(_job_of(message.decode()) for queue in queues for message in queue)

    def position(self, record: JobRecord) -> int | None:
        """How many messages are before this job's in its queue; None where it does not wait.  Raises Unavailable."""
        if record.status is not JobStatus.QUEUED:
            return None
        with answering():
            return cast(int | None, self._redis.lpos(self._queue_of(record).key, _message(record)))

    def withdraw(self, record: JobRecord) -> None:
        """A job that is to reach no worker does not wait any longer.  Raises Unavailable."""
        for stage in (Stage.PLANNING, Stage.SAMPLING):
            queued = record.model_copy(update={"status": JobStatus.QUEUED, "stage": stage})
            if self.position(queued) is not None:
                self.forget(_message(queued))

    def messages(self) -> dict[str, str]:
        """Every message that RQ knows, whether it waits, is being worked on or was given up -> its job's id.

        Raises Unavailable.
        """
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            for queue in self._queues():
                pipeline.lrange(queue.key, 0, -1)
                pipeline.lrange(queue.intermediate_queue_key, 0, -1)
                pipeline.zrange(queue.started_job_registry.key, 0, -1)
                pipeline.zrange(queue.failed_job_registry.key, 0, -1)
            found = cast(list[list[bytes]], pipeline.execute())
        # RQ adds the number of the execution to what is being worked on: "plan-{id}-1:{number}".
        names = {entry.decode().partition(":")[0] for entries in found for entry in entries}
        return {name: job_id for name in names if (job_id := _job_of(name))}

    def worker_of(self, message: str) -> str | None:
        """Who has taken it; None while it waits, and where RQ has forgotten it.  Raises Unavailable."""
        with answering():
            name = cast(bytes | None, self._redis.hget(Job.key_for(message), "worker_name"))
        return name.decode() if name else None

    def forget(self, message: str) -> None:
        """RQ keeps nothing of this message.  Where a worker is still at it, RQ will note a failure, no more.

        Raises Unavailable.
        """
        with answering():
            with suppress(NoSuchJobError):
                Job.fetch(message, connection=self._redis, serializer=JSONSerializer).delete(remove_from_queue=False)
            pipeline = self._redis.pipeline(transaction=True)
            for queue in self._queues():
                pipeline.lrem(queue.key, 0, message)
                pipeline.lrem(queue.intermediate_queue_key, 0, message)
                pipeline.delete(queue.intermediate_queue.get_first_seen_key(message))
                pipeline.zrem(queue.failed_job_registry.key, message)
            pipeline.execute()

    def _queues(self) -> tuple[Queue, ...]:
        return tuple(self.queue(name) for name in (PLAN_QUEUE, *map(render_queue, BACKBONES)))

    def _queue_of(self, record: JobRecord) -> Queue:
        if record.stage is Stage.PLANNING:
            return self.queue(PLAN_QUEUE)
        return self.queue(render_queue(record.settings.backbone))


def _message(record: JobRecord) -> str:
    stage = "plan" if record.stage is Stage.PLANNING else "render"
    return f"{stage}-{record.id}-{record.delivery}"


def _job_of(message: str) -> str:
    return message.split("-")[1] if message.count("-") == 2 else ""
