"""Every request has an id: the caller's own `X-Request-Id` where that is well-formed, else a new one.

It stands in the answer's header, in problems, in every log line that the request causes here, and in the job's record,
by which it reaches the workers; they give it to the planner in the same header.
"""

import re
from typing import Final
from uuid import uuid4

import structlog

from shared.asgi import Application, Message, Receive, Scope, Send

HEADER: Final = "X-Request-Id"

_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9._:=@/+-]{1,128}", re.ASCII)
"""What gateways make: UUIDs, Amazon's `Root=1-…`.  Nothing that could break a log line or a header."""


def request_id(given: str | None) -> str:
    """The one that was given where it is well-formed, else a new one."""
    return given if given is not None and _WELL_FORMED.fullmatch(given) else uuid4().hex


class RequestIds:
    """ASGI middleware; put it around all others.  Below it the id is `scope["state"]["request_id"]`."""

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER.lower().encode())
        its = request_id(None if given is None else given.decode("latin-1"))
        scope.setdefault("state", {})["request_id"] = its

        async def telling_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER.lower().encode(), its.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=its):
            await self.app(scope, receive, telling_send)
