"""Jobs: submit, look at, list, cancel, delete."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import uuid4

import structlog
from anyio.to_thread import run_sync
from fastapi import APIRouter, Body, Depends, FastAPI, Header, Query, Request, Response
from pydantic import StringConstraints, TypeAdapter
from starlette.background import BackgroundTask

from generator_service.api.auth import Caller, UseCaller, VisibleJob, identify_submitter, job_in_path, visible_job
from generator_service.api.direct import add_direct_route, read_body, read_header
from generator_service.api.images import with_image
from generator_service.api.openapi import REQUESTS
from generator_service.api.parts import Parts, UseParts, UseViewer, viewer_for
from generator_service.api.problems import problem_responses
from generator_service.contract.job import JobId, JobPage, JobStatus, JobView, Stage
from generator_service.contract.request import JobRequest, require_affordable
from generator_service.jobs.queues import queue_of
from generator_service.jobs.rate import Quota
from generator_service.jobs.reading import Look
from generator_service.jobs.record import JobRecord
from generator_service.jobs.submission import Created, IdempotencyKey, MadeBefore, fingerprint
from shared.errors import (
    BodyTooLarge,
    Conflict,
    Gone,
    LimitReached,
    NotFound,
    Unavailable,
    Unreadable,
    UnsupportedMediaType,
)
from shared.wire import WireModel
from telemetry.tracing import traceparent

PAGE = 20
MAXIMUM_PAGE = 100

router = APIRouter(prefix="/jobs", tags=["jobs"])

log = structlog.get_logger(__name__)

IdempotencyKeyText = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[ -~]+$")]
IDEMPOTENCY_KEY: Final = TypeAdapter[str](IdempotencyKeyText)
IdempotencyHeader = Annotated[
    IdempotencyKeyText | None,
    Header(
        alias="Idempotency-Key",
        description="Of your own choice, such as a UUID: the same key and the same request (whatever the order and "
        "spelling of its JSON) make one job within 24 hours, however often they are sent, and are answered with that "
        "job as it is now; once that job is deleted, with 410: no other one is made.",
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]

HEADERS: Final[dict[str, Any]] = {
    "Location": {"description": "The job's path.", "schema": {"type": "string"}},
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


def job_request(
    request: Annotated[JobRequest, Body(openapi_examples=REQUESTS)], idempotency_key: IdempotencyHeader = None
) -> None:
    """What `submit` reads, for the documentation."""


async def submit(request: Request) -> Response:
    """Give a prompt, which is planned first, or a plan of your own, which is rendered as it is.

    The answer comes before any work begins.  Look at the job again with `GET /jobs/{id}`, or follow it at
    `GET /jobs/{id}/events`.

    With an `Idempotency-Key` you may send the same request again without making a second job; with the key of another
    request it is refused (422), and once its job is deleted, by you or because it is old, it makes no other within the
    24 hours (410).

    Where a limit is reached the answer is 429 with `Retry-After`, and says which: jobs in the queue, your jobs that
    have not ended, those that are kept and what they take, or your requests a second, whatever their answers.
    """
    return await submit_as(request, _read_wish, lambda view: view, 202)


async def _read_wish(request: Request) -> JobRequest:
    return await read_body(request, JobRequest)


async def submit_as(
    request: Request,
    read_wish: Callable[[Request], Awaitable[JobRequest]],
    show: Callable[[JobView], WireModel],
    status: int,
) -> Response:
    """A job is submitted and answered, in whatever form."""
    parts: Parts = request.app.state.parts
    submitter = await identify_submitter(request)
    wish = await read_wish(request)
    idempotency_key = read_header(request, "Idempotency-Key", IDEMPOTENCY_KEY)
    viewer = await viewer_for(request)
    record = new_record(wish, submitter.caller, request.state.request_id, submitter.at)
    require_affordable(record.settings, parts.maximum_work)
    key = None if idempotency_key is None else IdempotencyKey(idempotency_key, fingerprint(wish))
    record, answer = await submit_once(parts, record, wish, key)
    job_id = answer.job_id if isinstance(answer, MadeBefore) else record.id
    headers = {"Location": f"{request.scope['root_path']}/jobs/{job_id}", **_rate_headers(submitter.quota)}
    if isinstance(answer, MadeBefore):
        view = await viewer.view_of(await read_job_made_before(parts, job_id))
        return json_answer(show(view), status, headers | {"Idempotency-Replayed": "true"})
    log.info("job_accepted", job_id=record.id, owner=record.owner)
    add_ticket = BackgroundTask(_add_ticket, parts, queue_of(record)) if answer.needs_ticket else None
    return json_answer(show(viewer.view_at(record, answer.position)), status, headers, add_ticket)


def new_record(request: JobRequest, caller: Caller, request_id: str, now: datetime) -> JobRecord:
    """The first record of a new job.  Raises InvalidRequest for what its backbone cannot do."""
    settings = request.settings()
    return JobRecord(
        id=uuid4().hex,
        owner=caller.owner,
        request_id=request_id,
        traceparent=traceparent(),
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
def list_jobs(
    parts: UseParts,
    viewer: UseViewer,
    caller: UseCaller,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this status.")] = None,
    after: Annotated[JobId | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)] = PAGE,
) -> JobPage:
    """A page of the caller's jobs, or with the scope `admin` of everybody's; `next` leads to the following one."""
    page = parts.store.list(status=status, owner=caller.sees_jobs_of, after=after, limit=limit)
    places = parts.store.positions(page.jobs)
    return JobPage(jobs=tuple(map(viewer.view_at, page.jobs, places)), next=page.next)


async def get_job(request: Request) -> Response:
    """The job as it is now.  A job that failed is answered with 200 too: see `status` and `error`."""
    job = await visible_job(request)
    return json_answer(await (await viewer_for(request)).view_of(job))


def add_direct_routes(app: FastAPI, dependencies: list[Any], responses: dict[int | str, dict[str, Any]]) -> None:
    refusals = problem_responses(BodyTooLarge, Gone, LimitReached, UnsupportedMediaType)
    add_direct_route(
        app,
        "/jobs",
        "POST",
        submit,
        status_code=202,
        summary="Submit a job",
        response_model=JobView,
        response_description="The job, queued; `Location` is its address.",
        responses=responses | refusals | {202: {"headers": HEADERS}},
        dependencies=[*dependencies, Depends(job_request)],
        tags=["jobs"],
    )
    add_direct_route(
        app,
        "/jobs/{job_id}",
        "GET",
        get_job,
        summary="Look at a job",
        response_model=JobView,
        responses=responses | problem_responses(NotFound),
        dependencies=[*dependencies, Depends(job_in_path)],
        tags=["jobs"],
    )


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=problem_responses(NotFound))
def cancel(job: VisibleJob, parts: UseParts, viewer: UseViewer) -> JobView:
    """A queued job is canceled at once; a running one is `canceling` until its worker has let go of it.

    A worker lets go within one denoising step, and of a job that it plans within a second.  A job that has ended stays
    as it is, so that canceling twice does no harm; one whose video was stored first has `succeeded`.
    """
    record = parts.store.cancel(job.record.id)
    return viewer.view_at(record, position=None)


@router.delete(
    "/{job_id}", status_code=204, summary="Delete a job and its files", responses=problem_responses(NotFound, Conflict)
)
def delete(job: VisibleJob, parts: UseParts) -> None:
    """Only a job that has ended can be deleted: cancel it first, and wait for its end.

    The job is unknown from now on.  Its files go within seconds, or as soon as the storage answers.
    """
    parts.store.delete(job.record.id)  # the cleanup does the rest: the storage may hang


async def submit_once(
    parts: Parts, record: JobRecord, request: JobRequest, key: IdempotencyKey | None
) -> tuple[JobRecord, Created | MadeBefore]:
    """The job as it is submitted.  Raises InvalidRequest for a webhook or an image that cannot be, LimitReached and
    KeyReused."""
    if request.webhook is not None or request.image is not None:  # within the limits alone: both may take seconds
        made = await parts.submissions.find(record, key)
        if made is not None:
            return record, made
    if request.webhook is not None:
        await run_sync(parts.webhooks.accept, request.webhook, record.owner)
    if request.image is not None:
        record = await with_image(parts, record, request.image)
    return record, await parts.submissions.submit(record, request.plan, key)


async def read_job_made_before(parts: Parts, job_id: str) -> Look:
    """Raises Gone where the job is deleted."""
    try:
        return await parts.reader.look(job_id)
    except Unreadable as error:  # while a newer version is rolled out; the job goes on, and there is to be no other
        raise Unavailable(f"the job '{job_id}' of this Idempotency-Key cannot be read here") from error
    except NotFound:
        raise Gone(f"the job '{job_id}' of this Idempotency-Key is deleted; give another key") from None


def json_answer(
    view: WireModel,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    background: BackgroundTask | None = None,
) -> Response:
    return Response(view.model_dump_json(), status, headers, "application/json", background)


def _add_ticket(parts: Parts, queue: str) -> None:
    with suppress(Unavailable):  # else the recovery thread adds it
        parts.tickets.add(queue)


def _rate_headers(quota: Quota) -> dict[str, str]:
    policy = f'"submissions";q={quota.limit};w={quota.seconds}'
    return {"RateLimit-Policy": policy, "RateLimit": f'"submissions";r={quota.left}'}
