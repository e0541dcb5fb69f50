"""Request ids: the caller's `X-Request-Id` where it is well-formed, otherwise a new one.

It is in the response header, in problems, in every log line of the request, and in the job's record, by which it
reaches the workers; they send it to the planner in the same header.
"""

import re
from typing import Final
from uuid import uuid4

import structlog

from shared.asgi import Application, Message, Receive, Scope, Send

HEADER: Final = "X-Request-Id"

_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9._:=@/+-]{1,128}", re.ASCII)
"""UUIDs, Amazon's `Root=1-…` and the like; nothing that could break a log line or a header."""


def request_id(given: str | None) -> str:
    """`given` where it is well-formed, otherwise a new one."""
    return given if given is not None and _WELL_FORMED.fullmatch(given) else uuid4().hex


class RequestIds:
    """ASGI middleware, the outermost one.  Inside, the id is `scope["state"]["request_id"]`."""

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER.lower().encode())
        identifier = request_id(None if given is None else given.decode("latin-1"))
        scope.setdefault("state", {})["request_id"] = identifier

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER.lower().encode(), identifier.encode())]
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=identifier)  # in this request's own task
        await self.app(scope, receive, send_with_id)
