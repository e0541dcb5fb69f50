"""What the API answers, for those who serve it and those who read it; what it is asked is `request.py`.

Answers may gain fields: a client should pass over those it does not know.
"""

from typing import Annotated, Literal

from pydantic import Field

from generator_service.backbones.specs import BackboneSpec
from generator_service.jobs.record import JobId, JobRecord, Results
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


class JobView(JobRecord):
    """A job as clients see it."""

    results: Annotated[Results | None, Field(exclude=True)] = None
    """Keys in object storage; clients get `urls` in their place."""
    traceparent: Annotated[str | None, Field(exclude=True)] = None
    steps: Annotated[int, Field(description="Denoising steps in all.")]
    queue_position: Annotated[int | None, Field(description="Jobs before this one; null unless it is queued.")]
    seconds_left: Annotated[float | None, Field(description="An estimate from the progress so far; null if unknown.")]
    urls: Annotated[ResultUrls | None, Field(description="Null until the job has succeeded.")]
    links: Links


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
