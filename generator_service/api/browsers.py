"""ASGI middleware for what browsers, proxies and people expect of every route."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOSNIFF: Final = "nosniff"
OWN_FILES: Final = "default-src 'none'; img-src 'self'; media-src 'self'; frame-ancestors 'none'"
"""A video or a film strip that a browser opens by itself, and nothing else."""
_DOCUMENTATION: Final = (
    "default-src 'none'; connect-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'"
)
"""Swagger UI, from this very service."""


class SecurityHeaders:
    """No answer is taken for another kind of file than it says, nor runs or loads anything in a browser."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"].removeprefix(scope.get("root_path", ""))
                policy = _DOCUMENTATION if path == "/docs" else OWN_FILES
                own = [(b"x-content-type-options", NOSNIFF.encode()), (b"content-security-policy", policy.encode())]
                message["headers"] = [*message.get("headers", ()), *own]
            await send(message)

        await self.app(scope, receive, send_with_headers)


class HeadRequests:
    """HEAD is answered as GET is, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})  # now an event stream's client is gone, says the server

        await self.app({**scope, "method": "GET"}, receive, send_head)
