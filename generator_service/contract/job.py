"""A job as clients see it.

Answers may gain fields: a client should pass over those it does not know.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from generator_service.contract.report import Diagnostics
from generator_service.contract.request import ImageId, Metadata, PlannerChoice, Priority, RenderSettings, Webhook
from shared.errors import ServiceError
from shared.wire import WireModel

JOB_ID: Final = r"^[0-9a-f]{32}$"
JobId = Annotated[str, StringConstraints(pattern=JOB_ID)]


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    CANCELING = "canceling"
    CANCELED = "canceled"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def is_terminal(self) -> bool:
        return self in (JobStatus.CANCELED, JobStatus.SUCCEEDED, JobStatus.FAILED)


class Stage(StrEnum):
    """What a running job is doing, or what a queued job waits for."""

    PLANNING = "planning"
    SAMPLING = "sampling"
    DECODING = "decoding"
    STORING = "storing"


class JobError(WireModel):
    """Why a job failed."""

    code: str
    message: str
    retryable: bool

    @classmethod
    def of(cls, error: ServiceError) -> "JobError":
        return cls(code=error.code, message=error.detail, retryable=error.retryable)


class Missing(WireModel):
    """A part of the service that was unavailable when a job needed it."""

    code: str
    message: str
    since: datetime
    """When the job first found it unavailable."""
    seconds: float
    """For how long, in attempts and the pauses after them; time in the queue does not count."""


class ResultUrls(WireModel):
    """URLs of a succeeded job's files, signed anew in every answer: whoever has one needs no key."""

    video: str
    """MP4: H.264, yuv420p."""
    plan: str | None
    """JSON; null for a video rendered without a plan."""
    preview: str
    """PNG: a film strip with the plan's boxes."""
    manifest: str
    """JSON: everything needed to reproduce the video."""
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


class JobBase(WireModel):
    """What a job's record and what clients see of it have in common."""

    id: JobId
    owner: str = "anyone"
    """Who submitted it."""
    request_id: str | None = None
    """The `X-Request-Id` of the request that submitted it; every log line about the job has it."""
    status: JobStatus
    stage: Stage | None
    """What runs, or what the job is queued for; null in a terminal state."""
    progress: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of the whole job, 0 to 1; never falls within one attempt."""
    step: int = 0
    """Denoising steps done."""
    attempt: int = 1
    """Incremented each time the job was lost with its worker."""
    retry_at: datetime | None = None
    """From when on a queued job waits for its turn again; null where it does, and where it is not queued."""
    waiting_for: Missing | None = None
    """What was unavailable at the last attempt; null if nothing was.  The job is retried automatically."""
    prompt: str
    """What is a prompt today was judged when the job was submitted."""
    image: ImageId | None = None
    """What it begins with; kept while the job needs it, and as long as uploads are."""
    planner: PlannerChoice | None
    """Who is to plan; null where the client gave a plan."""
    priority: Priority = "normal"
    """Among the owner's jobs that wait."""
    settings: RenderSettings
    metadata: Metadata
    webhook: Webhook | None = None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    """When a worker first started it."""
    running_since: datetime | None = None
    """When its present worker started it."""
    expected_at: datetime | None = None
    """Estimated end; null while unknown."""
    finished_at: datetime | None = None
    worker: str | None = None
    """Who runs it now."""
    error: JobError | None = None
    diagnostics: Diagnostics = Field(default_factory=Diagnostics)


class JobView(JobBase):
    steps: Annotated[int, Field(description="Denoising steps in all, of every candidate.")]
    queue_position: Annotated[int | None, Field(description="Jobs before this one; null unless it waits in a queue.")]
    seconds_left: Annotated[float | None, Field(description="An estimate from the progress so far; null if unknown.")]
    urls: Annotated[ResultUrls | None, Field(description="Null until the job has succeeded.")]
    links: Links
    events_url: Annotated[
        str | None,
        Field(
            description="The job's event stream without a key, for a browser's EventSource: good for a quarter of an "
            "hour from this answer, at least; each event brings one.  Null for keys that may not read, and in webhooks."
        ),
    ] = None


class JobPage(WireModel):
    jobs: tuple[JobView, ...]
    """Newest first."""
    next: JobId | None
    """Give it as `after` to get the page that follows; null on the last one."""
