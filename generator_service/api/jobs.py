"""Jobs: submit, look at, list, cancel, delete."""

from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Body, Query, Response

from generator_service.answers import JobPage, JobView
from generator_service.api.caller import Caller, KnownJob, UseCaller
from generator_service.api.examples import REQUESTS
from generator_service.api.origin import UseOrigin
from generator_service.api.problems import problem_responses
from generator_service.api.submission import HEADERS, IdempotencyKey, submitted
from generator_service.api.wiring import UseParts, UseViewer
from generator_service.jobs.record import JobId, JobRecord
from generator_service.jobs.states import JobStatus, Stage
from generator_service.request import JobRequest, require_affordable
from generator_service.storage.object_store import JobKeys
from shared.errors import BodyTooLarge, Conflict, Gone, LimitReached, NotFound, StillSubmitting, Unavailable

PAGE = 20
MAXIMUM_PAGE = 100

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=202,
    summary="Submit a job",
    response_description="The job, queued; `Location` is its address.",
    responses=problem_responses(BodyTooLarge, Gone, StillSubmitting, LimitReached) | {202: {"headers": HEADERS}},
)
def submit(
    request: Annotated[JobRequest, Body(openapi_examples=REQUESTS)],
    response: Response,
    parts: UseParts,
    viewer: UseViewer,
    caller: UseCaller,
    origin: UseOrigin,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Give a prompt, which is planned first, or a plan of your own, which is rendered as it is.

    The answer comes before any work begins.  Look at the job again with `GET /jobs/{id}`, or follow it at
    `GET /jobs/{id}/events`.

    With an `Idempotency-Key` you may send the same request again without making a second job; with the key of another
    request it is refused (422), while the first one is being worked on it is to be sent again later (409), and once
    its job is deleted, by you or because it is old, it makes no other within the 24 hours (410).

    Where a limit is reached the answer is 429 with `Retry-After`, and says which: jobs in the queue, your jobs that
    have not ended, or your jobs a second.
    """
    record = accepted(request, caller, datetime.now(UTC)).model_copy(update=asdict(origin))
    require_affordable(record.settings, parts.maximum_work)
    job = submitted(parts, record, request, idempotency_key)
    response.headers.update({"Location": f"/jobs/{job.record.id}", **job.headers})
    return viewer.view_at(job.record, job.position)


def accepted(request: JobRequest, caller: Caller, now: datetime) -> JobRecord:
    """The first record of a new job.  Raises InvalidRequest for what its backbone cannot do."""
    settings = request.settings()
    return JobRecord(
        id=uuid4().hex,
        owner=caller.owner,
        status=JobStatus.QUEUED,
        stage=Stage.PLANNING if request.plan is None else Stage.SAMPLING,
        prompt=request.text,
        planner=request.planner if request.plan is None else None,
        priority=request.priority,
        settings=settings,
        metadata=request.metadata,
        webhook=request.webhook,
        created_at=now,
        updated_at=now,
    )


@router.get("", summary="List jobs, the newest first", responses=problem_responses(NotFound))
def listed(
    parts: UseParts,
    viewer: UseViewer,
    caller: UseCaller,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this status.")] = None,
    after: Annotated[JobId | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)] = PAGE,
) -> JobPage:
    """A page of the caller's jobs, or with the scope `admin` of everybody's; `next` leads to the following one."""
    page = parts.store.list(status=status, owner=caller.sees_jobs_of, after=after, limit=limit)
    return JobPage(jobs=tuple(viewer.view(record) for record in page.jobs), next=page.next)


@router.get("/{job_id}", summary="Look at a job", responses=problem_responses(NotFound))
async def look(job: KnownJob, viewer: UseViewer) -> JobView:
    """The job as it is now.  A job that failed is answered with 200 too: see `status` and `error`."""
    return await viewer.view_of(job)


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=problem_responses(NotFound))
def cancel(job: KnownJob, parts: UseParts, viewer: UseViewer) -> JobView:
    """A queued job is canceled at once; a running one is `canceling` until its worker has let go of it.

    A worker lets go within one denoising step, and of a job that it plans within a second.  A job that has ended stays
    as it is, so that canceling twice does no harm; one whose video was stored first has `succeeded`.
    """
    record = parts.store.cancel(job.record.id)
    if record.status is JobStatus.CANCELED:
        with suppress(Unavailable):  # else the janitor does it
            parts.delivery.withdraw(record.id)
    return viewer.view(record)


@router.delete(
    "/{job_id}", status_code=204, summary="Delete a job and its files", responses=problem_responses(NotFound, Conflict)
)
def delete(job: KnownJob, parts: UseParts) -> None:
    """Only a job that has ended can be deleted: cancel it first, and wait for its end.

    The job is unknown from now on.  Its files go at once, or as soon as the storage answers.
    """
    job_id = job.record.id
    parts.store.delete(job_id)
    with suppress(Unavailable):  # else the janitor does it
        parts.objects.delete_prefix(JobKeys(job_id).prefix)
        parts.store.forget_objects(job_id)
