"""How jobs reach their workers.  The order is ours (`fair_order.py`); RQ runs what a worker takes, within its time, and
does nothing else: its own records may vanish at any time.

One queue for planning, and one for each backbone, since a worker keeps one backbone's model in memory.  What RQ runs is
JSON, functions are named by their dotted path: nothing is ever pickled.
"""

from secrets import token_hex
from typing import Any, Final

import redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from generator_service.backbones.specs import BACKBONES
from generator_service.jobs.connection import answering
from generator_service.jobs.fair_order import FairOrder
from generator_service.jobs.record import JobRecord
from generator_service.jobs.states import JobStatus, Stage

PLAN_QUEUE: Final = "plan"
PLAN_FUNCTION: Final = "generator_service.workers.plan_worker.plan"
RENDER_FUNCTION: Final = "generator_service.workers.render_worker.render"
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
        job.save()
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
        return DeliveryQueue(name, connection=self._redis, default_timeout=self._job_seconds)

    def enqueue(self, record: JobRecord, *, first: bool = False) -> None:
        """Hand a queued job to whoever does its stage, before all others if `first`.  Raises Unavailable."""
        with answering():
            self._order_of(record).put(record.id, owner=record.owner, priority=record.priority, first=first)

    def withdraw(self, record: JobRecord) -> None:
        """A job that has ended waits no more, wherever it did.  Raises Unavailable."""
        with answering():
            for order in self.orders():
                order.withdraw(record.id)

    def orders(self) -> tuple[FairOrder, ...]:
        """All that a job can wait in."""
        return tuple(FairOrder(self._redis, name) for name in QUEUES)

    def position(self, record: JobRecord) -> int | None:
        """How many jobs are before this one in its queue; None where it does not wait.  Raises Unavailable."""
        if record.status is not JobStatus.QUEUED:
            return None
        with answering():
            return self._order_of(record).position(record.id)

    def _order_of(self, record: JobRecord) -> FairOrder:
        return FairOrder(self._redis, queue_of(record))


def queue_of(record: JobRecord) -> str:
    """The name of the queue for a job's stage."""
    return PLAN_QUEUE if record.stage is Stage.PLANNING else render_queue(record.settings.backbone)
