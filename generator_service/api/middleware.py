"""ASGI middleware: what is the same for every answer, whichever route it comes from."""

import time
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
NOSNIFF: Final = "nosniff"
OWN_FILES: Final = "default-src 'none'; img-src 'self'; media-src 'self'; frame-ancestors 'none'"
"""A video or a film strip that a browser opens by itself, and nothing else."""
_DOCUMENTATION: Final = (
    "default-src 'none'; connect-src 'self'; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'"
)
"""Swagger UI, from this very service."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


_POLICY: Final = b"content-security-policy"
_SNIFF_NOTHING: Final = (b"x-content-type-options", NOSNIFF.encode())
_FOR_FILES: Final = (_POLICY, OWN_FILES.encode())
_FOR_DOCUMENTATION: Final = (_POLICY, _DOCUMENTATION.encode())


class AnswersFinished:
    """Every answer is counted, with how long it took to begin: an event stream never ends early.

    None is taken for another kind of file than it says, nor runs or loads anything in a browser.  HEAD is answered as
    GET is, without the body.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        requests = Counter("generator_http_requests", "Answers.", ["method", "route", "status"], registry=registry)
        seconds = Histogram(
            "generator_http_request_seconds",
            "Until an answer begins.",
            ["method", "route"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._requests, self._seconds = cache(requests.labels), cache(seconds.labels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = time.perf_counter()
        method = scope["method"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
        has_begun = False

        def count(status: int) -> None:
            route = getattr(scope.get("route"), "path", "unknown")  # the template: no ids among the labels
            label = method if method in _METHODS else "other"
            self._requests(label, route, status).inc()
            self._seconds(label, route).observe(time.perf_counter() - begin)

        async def send_finished(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                count(message["status"])
                path = scope["path"].removeprefix(scope.get("root_path", ""))
                headers = [*message.get("headers", ()), _SNIFF_NOTHING]
                if all(name != _POLICY for name, _ in headers):  # the studio has a policy of its own
                    headers.append(_FOR_DOCUMENTATION if path == "/docs" else _FOR_FILES)
                message["headers"] = headers
            elif method == "HEAD":
                return
            await send(message)
            if method == "HEAD":
                await send({"type": "http.response.body"})  # now an event stream's client is gone, says the server

        try:
            await self.app(scope, receive, send_finished)
        except Exception:
            if not has_begun:
                count(500)
            raise
