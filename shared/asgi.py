"""ASGI middleware that both services put in front of their routes."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Final

from shared.errors import PROBLEM_MEDIA_TYPE, BodyTooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


_WITHOUT_BODY: Final = frozenset({"GET", "HEAD"})
"""No route reads theirs."""


class _TooLarge(BaseException):
    """Not an Exception: FastAPI turns any Exception raised while it reads a body into an error of its own."""


class BodyLimit:
    """Answers 413 to a request body over `maximum_bytes`, whatever its Content-Length claims."""

    def __init__(self, app: Application, maximum_bytes: int, at_path: Mapping[str, int] = MappingProxyType({})) -> None:
        """at_path: what a path has in place of `maximum_bytes`."""
        self.app = app
        self.maximum_bytes = maximum_bytes
        self.at_path = at_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _WITHOUT_BODY:
            await self.app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        maximum_bytes = self.at_path.get(path, self.maximum_bytes)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > maximum_bytes:
            await self._refuse(scope, send, maximum_bytes)
            return
        received = 0
        started = False

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > maximum_bytes:
                raise _TooLarge
            return message

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, counting_receive, noting_send)
        except _TooLarge:
            if started:
                raise
            await self._refuse(scope, send, maximum_bytes)

    async def _refuse(self, scope: Scope, send: Send, maximum_bytes: int) -> None:
        error = BodyTooLarge(f"the body may have at most {maximum_bytes} bytes")
        problem = error.problem.model_copy(update={"request_id": scope.get("state", {}).get("request_id")})
        headers = [(b"content-type", PROBLEM_MEDIA_TYPE.encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": problem.model_dump_json().encode()})
