"""How jobs reach their workers.  The order is ours (`fair_order.py`); RQ runs what a worker takes, within its time, and
does nothing else: its own records may vanish at any time.

One queue for planning, and one for each backbone, since a worker keeps one backbone's model in memory.  What RQ runs is
JSON, functions are named by their dotted path: nothing is ever pickled, and `message.py` says what may be called.
"""

from contextlib import suppress
from secrets import token_hex
from typing import Any, Final, cast

import redis
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from generator_service.contract.backbones import BACKBONES
from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.connection import answering
from generator_service.jobs.fair_order import FairOrder
from generator_service.jobs.message import PLAN_FUNCTION, RENDER_FUNCTION, Message
from generator_service.jobs.record import JobRecord

PLAN_QUEUE: Final = "plan"
FAILURE_SECONDS: Final = 24 * 3600
"""How long RQ remembers what it could not run."""


def render_queue(backbone: str) -> str:
    return f"render.{backbone}"


QUEUES: Final = (PLAN_QUEUE, *map(render_queue, BACKBONES))


class DeliveryQueue(Queue):  # type: ignore[misc]  # RQ is not typed
    """RQ's queue, but for who waits in it: jobs, in their order, become RQ's only when a worker takes them."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, serializer=JSONSerializer, **options)
        self.order = FairOrder(self.connection, name)

    def take(self, seconds: int) -> Job | None:
        """The next job, for RQ to run; None where for so many seconds there is none."""
        job_id = self.order.take(seconds)
        if job_id is None:
            return None
        function = PLAN_FUNCTION if self.name == PLAN_QUEUE else RENDER_FUNCTION
        kind = self.name.partition(".")[0]
        name = f"{kind}-{job_id}-{token_hex(4)}"  # another one each time: RQ may still tidy up after the last
        job = self.create_job(function, args=(job_id,), job_id=name, result_ttl=0, failure_ttl=FAILURE_SECONDS)
        job.origin = self.name
        with self.connection.pipeline(transaction=True) as pipeline:
            job.save(pipeline=pipeline)
            pipeline.rpush(self.intermediate_queue_key, job.id)  # where RQ has what is taken and not begun
            pipeline.execute()
        return job

    def push_job_id(self, job_id: str, *_: object, **__: object) -> None:
        raise TypeError("nobody reads RQ's own list: put jobs into the queue's `order`")

    def get_job_ids(self, *_: object, **__: object) -> list[str]:
        """Of our jobs."""
        return self.order.ids()

    @property
    def count(self) -> int:
        return len(self.order)


class Delivery:
    """`redis_client` must not decode responses: RQ reads bytes."""

    def __init__(self, redis_client: redis.Redis, job_seconds: int) -> None:
        self._redis = redis_client
        self._job_seconds = job_seconds

    def queue(self, name: str) -> DeliveryQueue:
        return DeliveryQueue(name, connection=self._redis, job_class=Message, default_timeout=self._job_seconds)

    def enqueue(self, record: JobRecord, *, first: bool = False) -> int:
        """Hand a queued job to whoever does its stage, before all others if `first`; how many are before it now.

        Raises Unavailable.
        """
        with answering():
            return self._order_of(record).put(record.id, owner=record.owner, priority=record.priority, first=first)

    def withdraw(self, job_id: str) -> None:
        """A job that has ended waits no more, wherever it did.  Raises Unavailable."""
        with answering():
            for order in self.orders():
                order.withdraw(job_id)

    def tidy_up(self) -> None:
        """The orders keep nothing of owners who wait no more.  Raises Unavailable."""
        with answering():
            for order in self.orders():
                order.tidy_up()

    def orders(self) -> tuple[FairOrder, ...]:
        """All that a job can wait in."""
        return tuple(FairOrder(self._redis, name) for name in QUEUES)

    def position(self, record: JobRecord) -> int | None:
        """How many jobs are before this one in its queue; None where it does not wait.  Raises Unavailable."""
        if record.status is not JobStatus.QUEUED:
            return None
        with answering():
            return self._order_of(record).position(record.id)

    def fronts(self, depth: int) -> dict[str, tuple[int, tuple[str, ...]]]:
        """For each queue: how many jobs wait, and the ids of the first `depth` of them.  Raises Unavailable."""
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            for order in self.orders():
                pipeline.zcard(order.key)
                pipeline.zrange(order.key, 0, depth - 1)
            found = iter(pipeline.execute())
        return {
            name: (length, tuple(job_id.decode(errors="replace") for job_id in job_ids))
            for name, length, job_ids in zip(QUEUES, found, found, strict=True)
        }

    def messages(self) -> dict[str, str]:
        """Every message that RQ knows, whether it is taken, is being worked on or was given up -> its job's id.

        Raises Unavailable.
        """
        with answering():
            pipeline = self._redis.pipeline(transaction=False)
            for queue in map(self.queue, QUEUES):
                pipeline.lrange(queue.intermediate_queue_key, 0, -1)
                pipeline.zrange(queue.started_job_registry.key, 0, -1)
                pipeline.zrange(queue.failed_job_registry.key, 0, -1)
            found = cast(list[list[bytes]], pipeline.execute())
        # RQ adds the number of the execution to what is being worked on: "plan-{id}-1f2e3d4c:{number}".
        names = {entry.decode(errors="replace").partition(":")[0] for entries in found for entry in entries}
        return {name: _job_of(name) for name in names}

    def worker_of(self, message: str) -> str | None:
        """Who has begun with it; None where nobody has, and where RQ has forgotten it.  Raises Unavailable."""
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
            for queue in map(self.queue, QUEUES):
                pipeline.lrem(queue.intermediate_queue_key, 0, message)
                pipeline.delete(queue.intermediate_queue.get_first_seen_key(message))
                pipeline.zrem(queue.failed_job_registry.key, message)
            pipeline.execute()

    def _order_of(self, record: JobRecord) -> FairOrder:
        return FairOrder(self._redis, queue_of(record))


def queue_of(record: JobRecord) -> str:
    """The name of the queue for a job's stage."""
    return PLAN_QUEUE if record.stage is Stage.PLANNING else render_queue(record.settings.backbone)


def _job_of(message: str) -> str:
    """ "" where the message is none of ours."""
    return message.split("-")[1] if message.count("-") == 2 else ""
