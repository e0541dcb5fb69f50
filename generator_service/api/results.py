"""What a job has made: video, preview, manifest and report from object storage, the plan from its record."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse, Response

from generator_service.api.auth import VisibleJob
from generator_service.api.parts import Parts, UseParts
from generator_service.api.problems import problem_responses
from generator_service.jobs.record import JobRecord, Results
from generator_service.storage import JSON_TYPE, PREVIEW_TYPE, VIDEO_TYPE
from shared.errors import Conflict, NotFound
from shared.plan import Plan

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"])


def _responses(media_type: str) -> dict[int | str, dict[str, Any]]:
    return problem_responses(NotFound, Conflict) | {
        200: {"description": "The file, where the storage cannot sign URLs.", "content": {media_type: {}}},
        307: {"description": "To a URL signed for this answer."},
    }


@router.get("/content", summary="The video", response_class=Response, responses=_responses(VIDEO_TYPE))
def content(job: VisibleJob, parts: UseParts) -> Response:
    """MP4: H.264, yuv420p, playable while it loads."""
    return file_of(parts, job.record, lambda results: results.video, VIDEO_TYPE)


@router.get("/preview", summary="A film strip", response_class=Response, responses=_responses(PREVIEW_TYPE))
def preview(job: VisibleJob, parts: UseParts) -> Response:
    """PNG: frames of the video with the plan's boxes."""
    return file_of(parts, job.record, lambda results: results.preview, PREVIEW_TYPE)


@router.get("/manifest", summary="How the video was made", response_class=Response, responses=_responses(JSON_TYPE))
def manifest(job: VisibleJob, parts: UseParts) -> Response:
    """JSON: what it takes to make the same video again."""
    return file_of(parts, job.record, lambda results: results.manifest, JSON_TYPE)


@router.get("/report", summary="What guidance did", response_class=Response, responses=_responses(JSON_TYPE))
def report(job: VisibleJob, parts: UseParts) -> Response:
    """JSON: the job's `diagnostics`: what guided each instance, what that cost, and what of the plan is seen."""
    return file_of(parts, job.record, lambda results: results.report, JSON_TYPE)


@router.get("/plan", summary="The plan", responses=problem_responses(NotFound, Conflict))
def plan(job: VisibleJob, parts: UseParts) -> Plan:
    """Motion graph and layout: there as soon as the job has been planned, before it is rendered."""
    found = parts.store.plan(job.record.id)
    if found is None:
        raise Conflict(f"job '{job.record.id}' has no plan: it is {_describe_state(job.record)}")
    return found


def file_of(parts: Parts, record: JobRecord, key_of: Callable[[Results], str], media_type: str) -> Response:
    if record.results is None:
        raise Conflict(f"job '{record.id}' has no video: it is {_describe_state(record)}")
    key = key_of(record.results)
    url = parts.objects.sign(key)
    if url is not None:
        return RedirectResponse(url, status_code=307)
    path = parts.objects.path(key)
    if path is not None:  # a file that can be read in parts
        return FileResponse(path, media_type=media_type, filename=path.name)
    return Response(parts.objects.get(key), media_type=media_type)


def _describe_state(record: JobRecord) -> str:
    return record.status if record.error is None else f"{record.status} ({record.error.message})"
