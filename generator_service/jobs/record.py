"""The job record: the truth about a job, kept in Redis by `store.py`."""

import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints
from pydantic_core import from_json

from generator_service.backbones.adherence import Adherence
from generator_service.guidance.report import GuidanceCost, GuidanceReport
from generator_service.jobs.states import JobStatus, Stage
from generator_service.request import Metadata, PlannerChoice, Priority, RenderSettings
from generator_service.subscription import Webhook
from shared.errors import NotFound, ServiceError, Unreadable
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
    """One more each time the job was lost with its worker."""
    retry_at: datetime | None = None
    """From when on a queued job waits for its turn again; None where it does, and where it is not queued."""
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


def fields_of(values: dict[str, Any]) -> dict[Any, Any]:
    """Some of a record's fields as they are kept.  values: as by `model_dump(mode="json")`."""
    return {name: json.dumps(value) for name, value in values.items()}


def record_of(job_id: str, fields: dict[str, str]) -> JobRecord:
    """Raises NotFound where there is nothing; Unreadable for what is no record.

    Fields that a newer version has added, at any depth, are passed over: while it is rolled out, both read the same.
    """
    if "id" not in fields:
        raise NotFound(f"there is no job '{job_id}'")
    try:
        known = {name: from_json(text) for name, text in fields.items() if name in JobRecord.model_fields}
        return JobRecord.model_validate(known, extra="ignore")
    except ValueError as error:  # no JSON, or not what belongs there
        raise Unreadable(f"the record of job '{job_id}' cannot be read") from error
