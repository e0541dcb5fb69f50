"""Where a job comes from: what its record takes along, so that whatever is done for it can be found by it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from telemetry.tracing import traceparent


@dataclass(frozen=True)
class Origin:
    request_id: str
    traceparent: str | None
    """W3C trace context; None where nothing is traced."""


async def _origin(request: Request) -> Origin:
    return Origin(request.state.request_id, traceparent())


UseOrigin = Annotated[Origin, Depends(_origin)]
