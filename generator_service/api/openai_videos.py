"""OpenAI's video routes over the same jobs, for programs that speak nothing else.  What they cannot say, such as a
plan, a seed or guidance, is said at `/jobs`; every video is a job there, and every job a video here.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.datastructures import UploadFile

from generator_service.api.auth import UseCaller, VisibleJob, job_in_path, visible_job
from generator_service.api.direct import DirectRoute, read_body
from generator_service.api.jobs import MAXIMUM_PAGE, PAGE, json_answer, submit_as
from generator_service.api.parts import UseParts, UseViewer, viewer_for
from generator_service.api.problems import problem_responses
from generator_service.api.results import file_of
from generator_service.contract.backbones import BACKBONES, DEFAULT_BACKBONE
from generator_service.contract.job import JobError, JobId, JobStatus, JobView
from generator_service.contract.request import JobRequest, data_url
from generator_service.storage import PREVIEW_TYPE, VIDEO_TYPE
from shared.errors import (
    BodyTooLarge,
    Conflict,
    Gone,
    InvalidRequest,
    LimitReached,
    NotFound,
    UnsupportedMediaType,
    Violation,
    validation_errors_as_invalid_request,
)
from shared.plan import Prompt
from shared.wire import WireModel

router = APIRouter(prefix="/v1/videos", tags=["openai"])

STATUS: Final[dict[JobStatus, Literal["queued", "in_progress", "completed", "failed"]]] = {
    JobStatus.QUEUED: "queued",
    JobStatus.RUNNING: "in_progress",
    JobStatus.CANCELING: "in_progress",
    JobStatus.SUCCEEDED: "completed",
    JobStatus.CANCELED: "failed",
    JobStatus.FAILED: "failed",
}
CANCELED: Final = JobError(code="canceled", message="the job was canceled", retryable=True)
SECONDS: Final = r"^[1-9][0-9]?$"
SIZE: Final = r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$"
FIELDS: Final = 8
"""Of a form: more than a request has."""


class VideoRequest(WireModel):
    prompt: Prompt
    model: Annotated[str, Field(max_length=64, description="A backbone of `GET /backbones`.")] = DEFAULT_BACKBONE
    # A form says nothing by leaving a field out: no schema has null.
    seconds: Annotated[
        str | SkipJsonSchema[None],
        Field(pattern=SECONDS, json_schema_extra={"pattern": SECONDS}, description="The nearest that can be made."),
    ] = None
    size: Annotated[
        str | SkipJsonSchema[None], Field(pattern=SIZE, json_schema_extra={"pattern": SIZE}, examples=["96x64"])
    ] = None

    input_reference: Annotated[
        str | SkipJsonSchema[None],
        Field(
            json_schema_extra={"format": "binary"},
            description="The image that it begins with: of a form a file, in JSON what is `image` at `POST /jobs`.",
        ),
    ] = None

    def job_request(self) -> JobRequest:
        """Raises InvalidRequest for a length that the backbone is far from; ValidationError for what is no image."""
        width, height = (None, None) if self.size is None else map(int, self.size.split("x"))
        return JobRequest(
            prompt=self.prompt,
            image=self.input_reference,
            backbone=self.model,
            frames=self._frames(),
            width=width,
            height=height,
        )

    def _frames(self) -> int | None:
        spec = BACKBONES.get(self.model)
        if self.seconds is None or spec is None:
            return None
        rule, fps, seconds = spec.frames, spec.defaults.fps, int(self.seconds)
        frames = min(range(rule.minimum, rule.maximum + 1, rule.step), key=lambda count: abs(count - seconds * fps))
        if abs(frames / fps - seconds) > 0.5:
            message = f"{spec.name} makes {rule.minimum / fps:.1f} to {rule.maximum / fps:.1f} s, not {self.seconds}"
            raise InvalidRequest(f"seconds: {message}", [Violation(field="seconds", message=message)])
        return frames


class Video(WireModel):
    """As OpenAI's clients read it; times are seconds since 1970."""

    id: JobId
    object: Literal["video"] = "video"
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: Annotated[int, Field(ge=0, le=100, description="Per cent.")]
    model: str
    prompt: Prompt
    seconds: Annotated[str, Field(description="Rounded, and at least 1.")]
    size: str
    created_at: int
    completed_at: int | None
    expires_at: None = None
    error: JobError | None

    @classmethod
    def of(cls, job: JobView) -> "Video":
        its = job.settings
        return cls(
            id=job.id,
            status=STATUS[job.status],
            progress=int(100 * job.progress),
            model=its.backbone,
            prompt=job.prompt,
            seconds=str(max(1, round(its.frames / its.fps))),
            size=f"{its.width}x{its.height}",
            created_at=_seconds(job.created_at),
            completed_at=None if job.finished_at is None else _seconds(job.finished_at),
            error=CANCELED if job.status is JobStatus.CANCELED else job.error,
        )


class VideoPage(WireModel):
    object: Literal["list"] = "list"
    data: tuple[Video, ...]
    first_id: JobId | None
    last_id: JobId | None
    has_more: bool


class DeletedVideo(WireModel):
    id: JobId
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


def video_request(request: Annotated[VideoRequest, Form(media_type="multipart/form-data")]) -> None:
    """What `create` reads, for the documentation."""


async def create(request: Request) -> Response:
    """Submit a job, as a form or as JSON: it is planned, and guided by the backbone's defaults."""
    return await submit_as(request, _read_wish, Video.of, 200)


router.add_api_route(
    "",
    create,
    methods=["POST"],
    summary="Create a video",
    response_model=Video,
    responses=problem_responses(BodyTooLarge, Gone, LimitReached, UnsupportedMediaType),
    dependencies=[Depends(video_request)],
    route_class_override=DirectRoute,
)


async def _read_wish(request: Request) -> JobRequest:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        wish = await read_body(request, VideoRequest)
    else:
        async with request.form(max_files=1, max_fields=FIELDS) as form:
            fields: dict[str, Any] = dict(form)
            if isinstance(file := fields.get("input_reference"), UploadFile):
                fields["input_reference"] = data_url(await file.read(), file.content_type or "")
        with validation_errors_as_invalid_request():
            wish = VideoRequest.model_validate(fields)
    with validation_errors_as_invalid_request():
        return wish.job_request()


@router.get("", summary="List videos, the newest first", responses=problem_responses(NotFound))
def list_videos(
    parts: UseParts,
    viewer: UseViewer,
    caller: UseCaller,
    after: Annotated[JobId | None, Query(description="`last_id` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)] = PAGE,
    order: Annotated[Literal["desc"], Query(description="No other order is offered.")] = "desc",
) -> VideoPage:
    """All jobs of the caller, however they were submitted."""
    page = parts.store.list(owner=caller.sees_jobs_of, after=after, limit=limit)
    videos = tuple(Video.of(viewer.view_at(record, None)) for record in page.jobs)
    first, last = (videos[0].id, videos[-1].id) if videos else (None, None)
    return VideoPage(data=videos, first_id=first, last_id=last, has_more=page.next is not None)


async def retrieve(request: Request) -> Response:
    """The job as it is now; a canceled one has `failed`."""
    job = await visible_job(request)
    return json_answer(Video.of(await (await viewer_for(request)).view_of(job)))


router.add_api_route(
    "/{job_id}",
    retrieve,
    methods=["GET"],
    summary="Look at a video",
    response_model=Video,
    responses=problem_responses(NotFound),
    dependencies=[Depends(job_in_path)],
    route_class_override=DirectRoute,
)


@router.get(
    "/{job_id}/content",
    summary="The video's file",
    response_class=Response,
    responses=problem_responses(NotFound, Conflict)
    | {
        200: {"description": "The file, where the storage cannot sign URLs.", "content": {VIDEO_TYPE: {}}},
        307: {"description": "To a URL signed for this answer."},
    },
)
def content(
    job: VisibleJob, parts: UseParts, variant: Annotated[Literal["video", "spritesheet"], Query()] = "video"
) -> Response:
    """MP4; or as `spritesheet` a film strip, PNG, with the plan's boxes."""
    if variant == "spritesheet":
        return file_of(parts, job.record, lambda results: results.preview, PREVIEW_TYPE)
    return file_of(parts, job.record, lambda results: results.video, VIDEO_TYPE)


@router.delete("/{job_id}", summary="Delete a video", responses=problem_responses(NotFound, Conflict))
def delete(job: VisibleJob, parts: UseParts) -> DeletedVideo:
    """A job that has not ended is canceled first; where a worker has yet to let go of it, the answer is 409: delete it
    again once it has `failed`.
    """
    parts.store.cancel(job.record.id)
    parts.store.delete(job.record.id)
    return DeletedVideo(id=job.record.id)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
