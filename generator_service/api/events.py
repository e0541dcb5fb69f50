"""A job's life as server-sent events."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

import anyio
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from generator_service.api.at_once import AtOnce
from generator_service.api.auth import UseCaller, VisibleJob
from generator_service.api.parts import UseParts, UseViewer
from generator_service.api.problems import problem_responses
from generator_service.api.views import Viewer
from generator_service.api.watcher import JobWatcher
from generator_service.jobs.reading import Look
from shared.errors import NotFound, TooManyStreams

KEEP_ALIVE_SECONDS: Final = 5.0
SEND_SECONDS: Final = 30.0
"""A client that reads nothing for so long is disconnected."""
SHUTDOWN_SECONDS: Final = 2.0
"""For the streams to end when the API is asked to stop."""

_EVENT: Final = {
    "type": "object",
    "properties": {
        "event": {"const": "job"},
        "id": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/JobView"},
        },
    },
    "required": ["id", "event", "data"],
}
"""One event, as OpenAPI 3.2 describes it."""


async def take_place(request: Request, caller: UseCaller) -> AsyncIterator[None]:
    """Until the stream has ended, whatever ends it."""
    streams: AtOnce = request.app.state.streams
    with streams.one_more(caller.owner):
        yield


router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])


@router.get(
    "/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    dependencies=[Depends(take_place)],
    responses=problem_responses(NotFound, TooManyStreams)
    | {
        200: {
            "description": "Events named `job`, each with the whole job as `GET /jobs/{id}` answers it.",
            "content": {"text/event-stream": {"itemSchema": _EVENT}},
        },
        204: {"description": "The job has ended, and the event with `Last-Event-ID` told so."},
    },
)
async def events(
    job: VisibleJob,
    parts: UseParts,
    viewer: UseViewer,
    last_event_id: Annotated[str | None, Header(description="The `id` of the last event that was read.")] = None,
    ticket: Annotated[
        str | None, Query(description="In place of a key, for browsers: part of a job's `events_url`.")
    ] = None,
) -> Response:
    """Server-sent events: one at once, one after each change; the stream ends when the job has ended.

    A browser's `EventSource` then asks once more, with the last event's id, and ends with the answer 204.
    """
    if job.record.status.is_terminal and last_event_id == _event_id(job):
        return Response(status_code=204)
    stopping = anyio.Event()
    return EventSourceResponse(
        _events(job.record.id, parts.watcher, viewer, stopping),
        ping=KEEP_ALIVE_SECONDS,
        send_timeout=SEND_SECONDS,
        shutdown_event=stopping,
        shutdown_grace_period=SHUTDOWN_SECONDS,
    )


async def _events(
    job_id: str, watcher: JobWatcher, viewer: Viewer, stopping: anyio.Event
) -> AsyncIterator[ServerSentEvent]:
    async with aclosing(watcher.follow(job_id, stopping)) as looks:
        async for look in looks:
            view = await viewer.view_of(look)
            yield ServerSentEvent(view.model_dump_json(), event="job", id=_event_id(look))


def _event_id(look: Look) -> str:
    return look.record.updated_at.isoformat()
