"""The API in one process, or in several that share a port."""

import multiprocessing
import os
import signal
import tempfile
import threading
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Final

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


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's faster parser, which by itself takes headers and trailers of any size into memory."""

    _head_bytes = 0
    """Received of the present request, its body left out."""

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAXIMUM_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The headers are too large.")

    def on_headers_complete(self) -> None:
        """Raises ValueError, which is answered with 400, where they came in one piece."""
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAXIMUM_HEAD_BYTES:
            raise ValueError("the headers are too large")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()


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
            http=HttpProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_worker_healthcheck=START_SECONDS,
        )


def app() -> "FastAPI":
    """The application factory of each process."""
    settings = Settings()
    set_up_logging(settings.log_format)
    set_up_tracing("generator-api")
    _end_with_parent()
    from generator_service.api.app import create_app  # the process that begins the others does without

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
