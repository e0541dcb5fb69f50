"""The job record: the truth about a job, kept in Redis by `store.py`."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import Field
from pydantic_core import from_json, to_json

from generator_service.contract.job import JobError, JobId, JobStatus, Missing, Stage
from generator_service.contract.report import Diagnostics
from generator_service.contract.request import Metadata, PlannerChoice, Priority, RenderSettings, Webhook
from shared.errors import NotFound, Unreadable
from shared.wire import WireModel


class Results(WireModel):
    """Keys in object storage; the API signs URLs for them at every GET."""

    video: str
    plan: str | None
    """None for a video rendered without a plan."""
    preview: str
    manifest: str
    report: str


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
    prompt: str
    """What is a prompt today was judged when the job was submitted."""
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


_FIELDS: Final = frozenset(JobRecord.model_fields)


def fields_of(values: dict[str, Any]) -> dict[Any, Any]:
    """Some of a record's fields as they are kept.  values: as by `model_dump(mode="json")`."""
    return {name: to_json(value).decode() for name, value in values.items()}


def record_of(job_id: str, fields: dict[str, str]) -> JobRecord:
    """Raises NotFound where there is nothing; Unreadable for what is no record.

    Fields that a newer version has added, at any depth, are passed over: while it is rolled out, both read the same.
    """
    if "id" not in fields:
        raise NotFound(f"there is no job '{job_id}'")
    try:
        known = {name: from_json(text) for name, text in fields.items() if name in _FIELDS}
        return JobRecord.model_validate(known, extra="ignore")
    except ValueError as error:  # no JSON, or not what belongs there
        raise Unreadable(f"the record of job '{job_id}' cannot be read") from error
