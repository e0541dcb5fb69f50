"""The job record: the truth about a job, kept in Redis by `store.py`."""

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from generator_service.contract.job import JobError, JobId, JobStatus, Missing, Stage
from generator_service.contract.report import Diagnostics
from generator_service.contract.request import Metadata, PlannerChoice, Priority, RenderSettings, Webhook
from shared.plan import Prompt
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
