"""A job's life as server-sent events."""

from collections.abc import AsyncIterator
from typing import Final

import anyio
from fastapi import APIRouter
from sse_starlette import EventSourceResponse, ServerSentEvent

from generator_service.api.auth import KnownJob
from generator_service.api.parts import UseParts, UseViewer
from generator_service.api.problems import problem_responses
from generator_service.api.views import Viewer
from generator_service.jobs.reading import Look, Reader
from shared.errors import NotFound, Unavailable

POLL_SECONDS: Final = 0.25
KEEP_ALIVE_SECONDS: Final = 5.0
SEND_SECONDS: Final = 30.0
"""A client that takes nothing for so long is given up."""
SHUTDOWN_SECONDS: Final = 2.0
"""How long the streams may take to end, once the API has been asked to stop."""

_EVENT: Final = {
    "type": "object",
    "properties": {
        "event": {"const": "job"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/JobView"},
        },
    },
    "required": ["event", "data"],
}
"""One of the stream, as OpenAPI 3.2 describes it."""

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"])


@router.get(
    "/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses=problem_responses(NotFound)
    | {
        200: {
            "description": "Events named `job`, each with the whole job as `GET /jobs/{id}` answers it.",
            "content": {"text/event-stream": {"itemSchema": _EVENT}},
        }
    },
)
async def events(job: KnownJob, parts: UseParts, viewer: UseViewer) -> EventSourceResponse:
    """Server-sent events: one at once, one after each change; the stream ends when the job has ended."""
    stopping = anyio.Event()
    return EventSourceResponse(
        _changes(job.record.id, parts.reader, viewer, stopping),
        ping=KEEP_ALIVE_SECONDS,
        send_timeout=SEND_SECONDS,
        shutdown_event=stopping,
        shutdown_grace_period=SHUTDOWN_SECONDS,
    )


async def _changes(
    job_id: str, reader: Reader, viewer: Viewer, stopping: anyio.Event
) -> AsyncIterator[ServerSentEvent]:
    """Lives through an outage of Redis; ends early where the job is deleted, or the API stops."""
    sent: Look | None = None
    while not stopping.is_set():
        try:
            look = await reader.look(job_id)
            if look != sent:
                view = await viewer.view_of(look)
                yield ServerSentEvent(view.model_dump_json(), event="job")
                sent = look
            if look.record.status.is_terminal:
                return
        except NotFound:
            return
        except Unavailable:
            pass  # the client is kept waiting, as the job is
        with anyio.move_on_after(POLL_SECONDS):
            await stopping.wait()
