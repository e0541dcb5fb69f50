"""What the API answers beside jobs (`job.py`).

Answers may gain fields: a client should pass over those it does not know.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from generator_service.contract.backbones import BackboneSpec
from generator_service.contract.job import JobStatus, JobView, Stage
from generator_service.contract.request import EventType
from shared.wire import WireModel


class WebhookEvent(WireModel):
    """What is POSTed to a job's webhook once the job has ended."""

    id: Annotated[str, Field(description="Of the event; the same in every attempt to deliver it.")]
    type: EventType
    timestamp: Annotated[datetime, Field(description="When the job ended.")]
    data: Annotated[JobView, Field(description="The job as `GET /jobs/{id}` answers it, but without `urls`.")]


class DeliveryAttempt(WireModel):
    """One attempt to tell a client of a job's end."""

    at: datetime
    seconds: float
    """From the first look at the target's name to the answer, or to giving up."""
    status: int | None = None
    """Of the answer; None where there was none."""
    error: str | None = None
    """Why it was none that counts; None where the event was taken."""
    next_attempt_at: datetime | None = None
    """None where none follows."""


class Deliveries(WireModel):
    """What came of a job's webhook."""

    webhook_id: Annotated[str | None, Field(description="The event's `id`; null where there is none to deliver.")]
    state: Annotated[
        Literal["none", "pending", "delivered", "given_up"],
        Field(description="`none`: the job has not ended, or nobody asked to be told of this end."),
    ]
    attempts: tuple[DeliveryAttempt, ...]
    """The first one first."""
    next_attempt_at: Annotated[datetime | None, Field(description="Null unless it is pending.")]


class WebhookSecret(WireModel):
    secret: Annotated[str, Field(description="`whsec_…`, as the libraries of Standard Webhooks take it.")]


class BackboneView(WireModel):
    spec: BackboneSpec
    is_default: bool
    workers: int
    """Live render workers that hold it in memory; a job for a backbone without any waits."""


class BackboneList(WireModel):
    backbones: tuple[BackboneView, ...]


class Health(WireModel):
    status: Literal["ok"] = "ok"


class Readiness(WireModel):
    status: Literal["ready"] = "ready"
    parts: tuple[str, ...]
    """What was found to work."""
    backbones: tuple[str, ...]
    """Those that a live render worker holds."""


class QueueLoad(WireModel):
    waiting: int
    """Jobs in the queue."""
    put_aside: int
    """Jobs that go back into it by themselves after a pause: what they need is gone, or their worker let go of them."""
    running: int
    """Jobs that a worker has, the silent workers' included."""
    jobs: int
    """All three: how many workers would be busy if there were enough.  This is what to scale on."""
    oldest_seconds: float | None
    """How long the job has waited that has waited longest; null where none waits."""


class Overdue(WireModel):
    """Events whose time has come, and which nobody sends right now."""

    events: int
    oldest_seconds: float | None
    """How long ago the time of the one came that waits longest; None where none does."""


class WorkerState(WireModel):
    """A worker process that was heard lately."""

    name: str
    kind: Literal["plan", "render", "webhook"]
    backbone: str | None
    device: str | None
    host: str | None
    job: str | None
    """What it works on; null: it waits for a job."""
    since: datetime
    """When it took that job, or let go of the last one, or started."""
    silent_seconds: float
    """Since its last heartbeat."""


class Lease(WireModel):
    """A job in a worker's hands, as its record says."""

    job: str
    worker: str
    stage: Stage | None
    step: int
    steps: int
    attempt: int
    since: datetime | None
    canceling: bool
    held: bool
    """Whether that worker was heard lately, and is at no other job; if not, the job is taken back within seconds."""


class Overview(WireModel):
    at: datetime
    problems: tuple[str, ...]
    """In plain words; empty where all is well."""
    workers: tuple[WorkerState, ...]
    leases: tuple[Lease, ...]
    queues: dict[str, QueueLoad]
    jobs: dict[JobStatus, int]
    """How many are in each status."""
    webhooks: Overdue
