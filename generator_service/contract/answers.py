"""What the API answers beside jobs (`job.py`).

Answers may gain fields: a client should pass over those it does not know.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from generator_service.contract.backbones import BackboneSpec
from generator_service.contract.job import JobStatus, JobView, Stage
from generator_service.contract.request import EventType, ImageId
from shared.motion_graph import Identifier
from shared.plan import Plan
from shared.wire import WireModel


class WebhookEvent(WireModel):
    """The body of the POST to a job's webhook."""

    id: Annotated[str, Field(description="Of the event; the same in every attempt to deliver it.")]
    type: EventType
    timestamp: Annotated[datetime, Field(description="When the job ended.")]
    data: Annotated[JobView, Field(description="The job as `GET /jobs/{id}` answers it, but without `urls`.")]


class DeliveryAttempt(WireModel):
    """One delivery attempt."""

    at: datetime
    seconds: float
    """From name resolution to the answer, or to giving up."""
    status: int | None = None
    """Of the answer; None where there was none."""
    error: str | None = None
    """Why it failed; null after a 2xx."""
    next_attempt_at: datetime | None = None
    """None where none follows."""


class Deliveries(WireModel):
    """The delivery of a job's webhook."""

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


class UploadedImage(WireModel):
    id: Annotated[ImageId, Field(description="For the `image` of `POST /jobs`.")]
    sha256: Annotated[str, Field(description="Of the bytes that were sent.")]
    width: Annotated[int, Field(description="Pixels, as it is looked at.")]
    height: int
    expires_at: Annotated[datetime, Field(description="No new job can use it from then on.")]


class PlanReason(WireModel):
    """One decision of a planner, and what in the prompt led to it."""

    about: Literal["instance", "label", "cue", "relation"]
    instance: Annotated[
        Identifier | None, Field(description="Whose it is, of a relation its source; null: the whole scene's.")
    ] = None
    decided: Annotated[str, Field(description="In the plan's own terms.", examples=["direction: right"])]
    words: Annotated[
        tuple[str, ...], Field(description="The prompt's words, in its order; none: nothing in it says so.")
    ] = ()
    why: Annotated[str, Field(description="The rule, or the thought.", examples=["the verb 'drives' is rigid"])]


class ExplainedPlan(WireModel):
    plan: Plan
    reasons: Annotated[tuple[PlanReason, ...], Field(description="The planner's; none of a plan of one's own.")] = ()


class BackboneView(WireModel):
    spec: BackboneSpec
    is_default: bool
    workers: int
    """Live render workers that have it loaded; without any, its jobs wait."""


class BackboneList(WireModel):
    backbones: tuple[BackboneView, ...]


class Health(WireModel):
    status: Literal["ok"] = "ok"


class Readiness(WireModel):
    status: Literal["ready"] = "ready"
    parts: tuple[str, ...]
    """The checks that passed."""
    backbones: tuple[str, ...]
    """Loaded by a live render worker."""


class QueueLoad(WireModel):
    waiting: int
    """Jobs in the queue."""
    put_aside: int
    """Jobs that go back into it by themselves after a pause: what they need is gone, or their worker let go of them."""
    running: int
    """Running jobs, including those of dead workers."""
    jobs: int
    """All three: how many workers could be busy.  Scale on this."""
    oldest_seconds: float | None
    """The longest wait; null where no job waits."""


class Overdue(WireModel):
    """Events that are due and not being sent."""

    events: int
    oldest_seconds: float | None
    """How long the oldest has been due; null where none is."""


class WorkerState(WireModel):
    """A worker process whose heartbeat has not expired."""

    name: str
    kind: Literal["plan", "render", "webhook"]
    backbone: str | None
    device: str | None
    host: str | None
    job: str | None
    """The job it works on; null when idle."""
    since: datetime
    """Start of that job, or of the idle time."""
    silent_seconds: float
    """Since its last heartbeat."""


class Lease(WireModel):
    """A running job and its worker, as its record says."""

    job: str
    worker: str
    stage: Stage | None
    step: int
    steps: int
    attempt: int
    since: datetime | None
    canceling: bool
    held: bool
    """Whether that worker's heartbeat agrees; if not, the job is reclaimed within seconds."""


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
