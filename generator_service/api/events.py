"""A job's life as server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

import anyio
from fastapi import APIRouter, Depends
from sse_starlette import EventSourceResponse, ServerSentEvent

from generator_service.api.jobs import KnownJob
from generator_service.api.problems import problem_responses
from generator_service.api.views import Viewer
from generator_service.api.wiring import UseParts, UseViewer
from generator_service.jobs.reading import JobReader
from generator_service.jobs.record import JobRecord
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


async def _known(job_id: KnownJob, parts: UseParts) -> JobRecord:
    record, _ = await parts.reader.look(job_id)
    return record


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
async def events(
    record: Annotated[JobRecord, Depends(_known)], parts: UseParts, viewer: UseViewer
) -> EventSourceResponse:
    """Server-sent events: one at once, one after each change; the stream ends when the job has ended."""
    stopping = anyio.Event()
    return EventSourceResponse(
        _changes(record.id, parts.reader, viewer, stopping),
        ping=KEEP_ALIVE_SECONDS,
        send_timeout=SEND_SECONDS,
        shutdown_event=stopping,
        shutdown_grace_period=SHUTDOWN_SECONDS,
    )


async def _changes(
    job_id: str, reader: JobReader, viewer: Viewer, stopping: anyio.Event
) -> AsyncIterator[ServerSentEvent]:
    """Lives through an outage of Redis; ends early where the job is deleted, or the API stops."""
    sent: tuple[JobRecord, int | None] | None = None
    while not stopping.is_set():
        try:
            record, position = await reader.look(job_id)
            if (record, position) != sent:
                view = await viewer.view_of(record, position)
                yield ServerSentEvent(view.model_dump_json(), event="job")
                sent = (record, position)
            if record.status.is_terminal:
                return
        except NotFound:
            return
        except Unavailable:
            pass  # the client is kept waiting, as the job is
        with anyio.move_on_after(POLL_SECONDS):
            await stopping.wait()
