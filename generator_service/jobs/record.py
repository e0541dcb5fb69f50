"""The job record: the truth about a job, kept in Redis by `store.py`, and the answer of `GET /jobs/{id}`."""

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from generator_service.backbones.adherence import Adherence
from generator_service.guidance.report import GuidanceCost, GuidanceReport
from generator_service.jobs.states import JobStatus, Stage
from generator_service.request import Metadata, PlannerChoice, Priority, RenderSettings
from generator_service.subscription import Webhook
from shared.errors import ServiceError
from shared.plan import Prompt
from shared.wire import WireModel

JOB_ID: Final = r"^[0-9a-f]{32}$"
JobId = Annotated[str, StringConstraints(pattern=JOB_ID)]


class JobError(WireModel):
    """Why a job failed."""

    code: str
    message: str
    retryable: bool

    @classmethod
    def of(cls, error: ServiceError) -> "JobError":
        return cls(code=error.code, message=error.detail, retryable=error.retryable)


class Missing(WireModel):
    """A part of the service that was gone when a job needed it."""

    code: str
    message: str
    since: datetime
    """When the job first found it gone."""
    seconds: float
    """For how long the job has done without, in tries and the pauses after them, not in turns in the queue."""


class Results(WireModel):
    """Keys in object storage; the API signs URLs for them at every GET."""

    video: str
    plan: str | None
    """None for a video rendered without a plan."""
    preview: str
    manifest: str
    report: str


class Diagnostics(WireModel):
    """What a person should know about how the video came to be; stored beside it as report.json."""

    caption: str | None = None
    """The text the backbone was given, where it is not the prompt itself."""
    notes: tuple[str, ...] = ()
    """Such as "'puppy' is drawn as 'sheep'"."""
    seconds: dict[str, float] = Field(
        default_factory=dict, description="By stage; `measuring` finds what of the plan is seen."
    )
    guidance: Annotated[GuidanceReport | None, Field(description="What guidance did; null for a plain video.")] = None
    cost: Annotated[GuidanceCost | None, Field(description="What guidance cost; null where nothing compares.")] = None
    adherence: Annotated[
        tuple[Adherence, ...] | None,
        Field(description="What of the plan is seen; null for backbones whose things cannot be found."),
    ] = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """For people: the notes, and what of the plan is seen."""
        return self.notes + tuple(str(its) for its in self.adherence or ())


class JobRecord(WireModel):
    id: JobId
    owner: str = "anyone"
    """Who submitted it."""
    request_id: str | None = None
    """The `X-Request-Id` of the request that submitted it; every log line about the job has it."""
    traceparent: str | None = None
    """W3C trace context of that request; None where nothing is traced."""
    status: JobStatus
    stage: Stage | None
    """What runs, or what the job is queued for; None in a terminal state."""
    progress: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Share of the whole job, 0 to 1; never falls within one attempt."""
    step: int = 0
    """Denoising steps done."""
    attempt: int = 1
    """One more each time a worker fell silent with the job in hand."""
    delivery: int = 1
    """One more each time it was put into a queue anew, beyond once for each stage."""
    retry_at: datetime | None = None
    """From when on it may be put into a queue again; None where it is in one, or needs none."""
    waiting_for: Missing | None = None
    """What was gone when the job was last tried; None where nothing was.  It is tried again by itself."""
    prompt: Prompt
    planner: PlannerChoice | None
    """Who is to plan; None where the client gave a plan."""
    priority: Priority = "normal"
    """Among the owner's jobs that wait."""
    settings: RenderSettings
    metadata: Metadata
    webhook: Webhook | None = None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    """When a worker first took the job."""
    running_since: datetime | None = None
    """When the worker that runs it now took it."""
    expected_at: datetime | None = None
    """When that worker expects to be done; None where it cannot tell yet."""
    finished_at: datetime | None = None
    worker: str | None = None
    """Who runs it now."""
    error: JobError | None = None
    diagnostics: Diagnostics = Diagnostics()
    results: Results | None = None

    def waited(self, now: datetime) -> timedelta:
        """For what is missing, this try included."""
        before = timedelta(0) if self.waiting_for is None else timedelta(seconds=self.waiting_for.seconds)
        return before + (timedelta(0) if self.running_since is None else now - self.running_since)
