"""The API in one process, or in several that share a port."""

import asyncio
import multiprocessing
import os
import signal
import tempfile
import threading
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from generator_service.settings import Settings
from telemetry.logging import set_up_logging
from telemetry.tracing import set_up_tracing

if TYPE_CHECKING:
    from fastapi import FastAPI

COUNTING: Final = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client reads it at import: the folder in which several processes count together."""
GRACE_SECONDS: Final = 10
"""For requests in flight when the API is asked to stop."""


START_SECONDS: Final = 60
"""A process that does not answer its parent for so long is replaced; on a busy machine its imports take a while."""
MAXIMUM_HEAD_BYTES: Final = 64 * 1024
"""Of one request: its line and headers, and whatever else is not its body."""


HEAD_SECONDS: Final = 10.0
"""From a connection's begin, or a request's, to the end of its headers."""
BODY_SECONDS: Final = 60.0
"""From there to the end of its body."""
SEND_SECONDS: Final = 60.0
"""So long a client may take nothing of its answer."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's faster parser, which by itself takes headers and trailers of any size into memory, and waits for the
    rest of a request for ever."""

    _head_bytes = 0
    """Received of the present request, its body left out."""
    _reading: asyncio.TimerHandle | None = None
    _sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._read_within(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._read_within(None)
        self._send_within(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAXIMUM_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The headers are too large.")
        if self._reading is None and (self.cycle is None or self.cycle.response_complete):
            self._read_within(HEAD_SECONDS)  # blank lines before a request

    def on_message_begin(self) -> None:
        self._read_within(HEAD_SECONDS)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Raises ValueError, which is answered with 400, where they came in one piece."""
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAXIMUM_HEAD_BYTES:
            raise ValueError("the headers are too large")
        self._read_within(BODY_SECONDS)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        self._read_within(None)
        super().on_message_complete()

    def pause_writing(self) -> None:
        self._send_within(SEND_SECONDS)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._send_within(None)
        super().resume_writing()

    def _read_within(self, seconds: float | None) -> None:
        self._reading = self._abort_after(self._reading, seconds)

    def _send_within(self, seconds: float | None) -> None:
        self._sending = self._abort_after(self._sending, seconds)

    def _abort_after(self, running: asyncio.TimerHandle | None, seconds: float | None) -> asyncio.TimerHandle | None:
        if running is not None:
            running.cancel()
        return None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


def options(settings: Settings) -> dict[str, Any]:
    """uvicorn's, whoever runs it."""
    return {
        "http": HttpProtocol,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": bool(settings.proxies),
        "forwarded_allow_ips": list(settings.proxies),
    }


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; a process that dies is replaced."""
    with tempfile.TemporaryDirectory(prefix="metrics-") as folder:
        if settings.processes > 1:
            os.environ[COUNTING] = folder
        uvicorn.run(
            f"{__name__}:app",
            factory=True,
            workers=settings.processes,
            host=host,
            port=port,
            **options(settings),
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_worker_healthcheck=START_SECONDS,
        )


def app() -> "FastAPI":
    """The application factory of each process."""
    from generator_service.api.app import create_app  # the process that begins the others does without

    settings = Settings()
    set_up_logging(settings.log_format)
    set_up_tracing("generator-api")
    _end_with_parent()
    return create_app(settings, os.environ.get(COUNTING))


def _end_with_parent() -> None:
    """A child that outlives its parent would keep the port occupied."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
