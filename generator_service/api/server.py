"""The API in one process, or in several that share its port."""

import multiprocessing
import os
import signal
import tempfile
import threading
from multiprocessing.connection import wait
from typing import Final

import uvicorn
from fastapi import FastAPI

from generator_service.api.app import create_app
from generator_service.settings import Settings
from telemetry.logging import set_up_logging
from telemetry.tracing import set_up_tracing

COUNTING: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client finds it, as it is imported: the folder in which several processes count together."""
GRACE_SECONDS: Final = 10
"""How long answers that have begun may take once the API has been asked to stop."""


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; a process that dies has a successor."""
    with tempfile.TemporaryDirectory(prefix="metrics-") as folder:
        if settings.processes > 1:
            os.environ[COUNTING] = folder
        uvicorn.run(
            f"{__name__}:app",
            factory=True,
            workers=settings.processes,
            host=host,
            port=port,
            http="h11",  # httptools would take headers of any size into memory
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )


def app() -> FastAPI:
    """What each of the processes serves."""
    settings = Settings()
    set_up_logging(settings.log_format)
    set_up_tracing("generator-api")
    _end_with_parent()
    return create_app(settings, os.environ.get(COUNTING))


def _end_with_parent() -> None:
    """A process that outlives the one that began it would keep the port from its successor."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
