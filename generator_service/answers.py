"""What the API answers, for those who serve it and those who read it; what it is asked is `request.py`.

Answers may gain fields: a client should pass over those it does not know.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from generator_service.backbones.specs import BackboneSpec
from generator_service.jobs.outbox import DeliveryAttempt
from generator_service.jobs.record import JobId, JobRecord, Results
from generator_service.subscription import EventType
from shared.wire import WireModel


class ResultUrls(WireModel):
    """Where a succeeded job's files are; signed anew in every answer, good for a limited time."""

    video: str
    """MP4: H.264, yuv420p."""
    plan: str | None
    """JSON; null for a video rendered without a plan."""
    preview: str
    """PNG: a film strip with the plan's boxes."""
    manifest: str
    """JSON: what it takes to make the same video again."""
    report: str
    """JSON: the job's `diagnostics`."""


class Links(WireModel):
    """Paths under the API's address."""

    self: str
    events: str
    cancel: str

    @classmethod
    def of(cls, job_id: str) -> "Links":
        path = f"/jobs/{job_id}"
        return cls(self=path, events=f"{path}/events", cancel=f"{path}/cancel")


class JobView(JobRecord):
    """A job as clients see it."""

    results: Annotated[Results | None, Field(exclude=True)] = None
    """Keys in object storage; clients get `urls` in their place."""
    traceparent: Annotated[str | None, Field(exclude=True)] = None
    steps: Annotated[int, Field(description="Denoising steps in all.")]
    queue_position: Annotated[int | None, Field(description="Jobs before this one; null unless it waits in a queue.")]
    seconds_left: Annotated[float | None, Field(description="An estimate from the progress so far; null if unknown.")]
    urls: Annotated[ResultUrls | None, Field(description="Null until the job has succeeded.")]
    links: Links


class WebhookEvent(WireModel):
    """What is POSTed to a job's webhook once the job has ended."""

    id: Annotated[str, Field(description="Of the event; the same in every attempt to deliver it.")]
    type: EventType
    timestamp: Annotated[datetime, Field(description="When the job ended.")]
    data: Annotated[JobView, Field(description="The job as `GET /jobs/{id}` answers it, but without `urls`.")]


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


class JobPage(WireModel):
    jobs: tuple[JobView, ...]
    """Newest first."""
    next: JobId | None
    """Give it as `after` to get the page that follows; null on the last one."""


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
