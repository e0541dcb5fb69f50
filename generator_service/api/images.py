"""Images that videos begin with: uploads, and what comes with a job, which is kept as one."""

from typing import Annotated, Any, Final
from uuid import uuid4

from anyio.to_thread import run_sync
from fastapi import APIRouter, FastAPI, Path, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from generator_service.api.auth import UseCaller, identify_submitter
from generator_service.api.direct import add_direct_route
from generator_service.api.parts import Parts, UseParts
from generator_service.api.problems import problem_responses
from generator_service.contract.answers import UploadedImage
from generator_service.contract.request import MAXIMUM_IMAGE_BYTES, MAXIMUM_IMAGE_PIXELS, ImageId, data_of, is_upload
from generator_service.jobs.record import JobRecord
from generator_service.media.first_frame import FirstFrame
from shared.errors import BodyTooLarge, Conflict, LimitReached, NotFound, UnsupportedMediaType

PATH: Final = "/images"
TYPES: Final = ("image/png", "image/jpeg", "image/webp", "application/octet-stream")

router = APIRouter(prefix=PATH, tags=["images"])


async def upload(request: Request) -> Response:
    parts: Parts = request.app.state.parts
    submitter = await identify_submitter(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in TYPES:
        raise UnsupportedMediaType(f"send the file as it is, with the header Content-Type: {' or '.join(TYPES)}")
    try:
        data = await request.body()
    except ClientDisconnect:
        raise HTTPException(400) from None
    kept = await _keep(parts, submitter.caller.owner, data)
    return Response(kept.model_dump_json(), 201, media_type="application/json")


async def with_image(parts: Parts, record: JobRecord, image: str) -> JobRecord:
    """The same job, which begins with the wish's image: one of its owner's uploads, or kept as one from now on.

    Raises InvalidRequest, TooMuchKept and StorageUnavailable.
    """
    if is_upload(image):
        await run_sync(parts.images.require, record.owner, image)
    else:
        image = (await _keep(parts, record.owner, data_of(image))).id
    return record.model_copy(update={"image": image})


async def _keep(parts: Parts, owner: str, data: bytes) -> UploadedImage:
    image = await run_sync(FirstFrame.read, data, limiter=parts.decoders)
    return await run_sync(parts.images.keep, owner, image, data)


@router.delete(
    "/{image_id}", status_code=204, summary="Delete an image", responses=problem_responses(NotFound, Conflict)
)
def delete(
    image_id: Annotated[ImageId, Path(description="The upload's id.", examples=[uuid4().hex])],
    caller: UseCaller,
    parts: UseParts,
) -> None:
    """Not while a job that begins with it has yet to end.  Without this it goes by itself, as old jobs do."""
    if image_id in parts.store.images_in_use(caller.owner):
        raise Conflict(f"a job that has not ended begins with the image '{image_id}'")
    parts.images.delete(caller.owner, image_id)


def add_upload_route(app: FastAPI, dependencies: list[Any], responses: dict[int | str, dict[str, Any]]) -> None:
    add_direct_route(
        app,
        PATH,
        "POST",
        upload,
        status_code=201,
        summary="Upload an image that videos begin with",
        description=f"The file itself: PNG, JPEG or WebP, at most {MAXIMUM_IMAGE_BYTES:,} bytes and "
        f"{MAXIMUM_IMAGE_PIXELS:,} pixels, all of which are decoded before it is taken.  Its `id` is the `image` of as "
        "many of your jobs as you like, until it expires; it counts towards the submission rate.",
        response_model=UploadedImage,
        responses=responses | problem_responses(BodyTooLarge, LimitReached, UnsupportedMediaType),
        dependencies=dependencies,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES},
            }
        },
        tags=["images"],
    )
