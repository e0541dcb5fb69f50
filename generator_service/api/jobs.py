"""Jobs: submit, look at, list, cancel, delete."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import uuid4

import structlog
from fastapi import APIRouter, Body, Depends, Header, Query, Request, Response

from generator_service.api.auth import Caller, KnownJob, UseCaller, job_in_path, known_job
from generator_service.api.direct import DirectRoute
from generator_service.api.openapi import REQUESTS
from generator_service.api.parts import Parts, UseParts, UseViewer, viewer_for
from generator_service.api.problems import problem_responses
from generator_service.contract.job import JobId, JobPage, JobStatus, JobView, Stage
from generator_service.contract.request import JobRequest, require_affordable
from generator_service.jobs.admission import Quota
from generator_service.jobs.idempotency import Reservation
from generator_service.jobs.record import JobRecord
from generator_service.storage import JobKeys
from shared.errors import (
    BodyTooLarge,
    Conflict,
    Gone,
    LimitReached,
    NotFound,
    ServiceError,
    StillSubmitting,
    Unavailable,
    Unreadable,
)
from telemetry.tracing import traceparent

PAGE = 20
MAXIMUM_PAGE = 100

router = APIRouter(prefix="/jobs", tags=["jobs"])

log = structlog.get_logger(__name__)

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[ -~]+$",
        description="Of your own choice, such as a UUID: the same key and the same request (whatever the order and "
        "spelling of its JSON) make one job within 24 hours, however often they are sent, and are answered with that "
        "job as it is now; once that job is deleted, with 410: no other one is made.",
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]

HEADERS: Final[dict[str, Any]] = {
    "Location": {"description": "`/jobs/{id}`", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "`true` where this Idempotency-Key had made the job before.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "What the submission rate still allows, as in draft-ietf-httpapi-ratelimit-headers.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": "The submission rate, likewise.", "schema": {"type": "string"}},
}


@dataclass(frozen=True)
class Origin:
    request_id: str
    traceparent: str | None
    """W3C trace context; None where nothing is traced."""


async def _origin(request: Request) -> Origin:
    return Origin(request.state.request_id, traceparent())


UseOrigin = Annotated[Origin, Depends(_origin)]


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


async def look(request: Request) -> Response:
    """The job as it is now.  A job that failed is answered with 200 too: see `status` and `error`."""
    job = await known_job(request)
    view = await (await viewer_for(request)).view_of(job)
    return Response(view.model_dump_json(), media_type="application/json")


router.add_api_route(
    "/{job_id}",
    look,
    methods=["GET"],
    summary="Look at a job",
    response_model=JobView,
    responses=problem_responses(NotFound),
    dependencies=[Depends(job_in_path)],
    route_class_override=DirectRoute,
)


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


@dataclass(frozen=True)
class Submitted:
    record: JobRecord
    position: int | None
    """In its queue; None where it does not wait in it."""
    headers: Mapping[str, str] = field(default_factory=dict)


def submitted(parts: Parts, record: JobRecord, request: JobRequest, key: str | None) -> Submitted:
    """The new job; or, where the owner has sent the same before with the same key, that job as it is now.

    Raises InvalidRequest for a webhook that cannot be, LimitReached, KeyReused, StillSubmitting, and Gone where the
    key's job is deleted.
    """
    if key is None:
        return _made(parts, record, request, _admitted(parts, record, request))
    reservation = parts.idempotency.reserve(record.owner, key, request, record.id)
    if reservation.made:
        return _replayed(parts, reservation)
    record = record.model_copy(update={"id": reservation.job_id})
    try:
        quota = _admitted(parts, record, request)
    except ServiceError:  # nothing is made; of a `create` that was not answered in time, nobody knows
        with suppress(Unavailable):  # else the lease ends by itself
            parts.idempotency.free(reservation)
        raise
    try:
        return _made(parts, record, request, quota, reservation.name)
    except Conflict:  # this holder was taken for dead, and another one has made the job
        return _replayed(parts, reservation)


def _admitted(parts: Parts, record: JobRecord, request: JobRequest) -> Quota:
    quota = parts.admission.admit(record)
    if request.webhook is not None:  # after the limits: it may look up a name, which may take seconds
        parts.webhooks.accept(request.webhook, record.owner)
    return quota


def _made(
    parts: Parts, record: JobRecord, request: JobRequest, quota: Quota, reservation: str | None = None
) -> Submitted:
    parts.store.create(record, request.plan, reservation)
    log.info("job_accepted", job_id=record.id, owner=record.owner)
    position = None
    try:
        position = parts.delivery.enqueue(record)
    except Unavailable:  # it is kept, and so it will be done: a watchdog puts it into its queue
        log.warning("job_not_enqueued", job_id=record.id)
    return Submitted(record, position, _rate_headers(quota))


def _replayed(parts: Parts, reservation: Reservation) -> Submitted:
    try:
        record = parts.store.get(reservation.job_id)
    except Unreadable as error:  # while a newer version is rolled out; the job goes on, and there is to be no other
        raise Unavailable(f"the job '{reservation.job_id}' of this Idempotency-Key cannot be read here") from error
    except NotFound:
        raise Gone(f"the job '{reservation.job_id}' of this Idempotency-Key is deleted; give another key") from None
    return Submitted(record, parts.delivery.position(record), {"Idempotency-Replayed": "true"})


def _rate_headers(quota: Quota) -> dict[str, str]:
    return {
        "RateLimit-Policy": f'"submissions";q={quota.limit};w={quota.seconds}',
        "RateLimit": f'"submissions";r={quota.left}',
    }
