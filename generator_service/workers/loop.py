"""The process around a worker: one queue, one job at a time in this very process, until it is told to stop.

The first SIGTERM or SIGINT asks the job in hand to come to an end; a second one, or `STOP_SECONDS`, ends it at once.
"""

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, Literal

import structlog
from rq import Queue, SimpleWorker
from rq.exceptions import DequeueTimeout, StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer

from generator_service.jobs.connection import redis_errors_as_unavailable
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

WAIT_SECONDS: Final = 1
"""An idle worker looks this often whether it is to stop; and waits this long before it asks a Redis again
that did not answer."""
STOP_SECONDS: Final = 7.0
"""A job that has not come to an end by then is ended: 10 seconds from the signal the process is gone."""


class WorkerUnfit(SystemExit):
    """Raised by work that found this process unfit for any other; the process ends, with this exit code."""

    def __init__(self) -> None:
        super().__init__(1)


def worker_name(kind: Literal["plan", "render", "webhook"]) -> str:
    """Says where the process runs, and is never used twice."""
    return f"{kind}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


def work_until_stopped(
    queue: Queue, name: str, take_turn: Callable[[], None], job_seconds: int, stopping: threading.Event
) -> None:
    """Call `take_turn` for each ticket; after `job_seconds` it is interrupted by RQ's JobTimeoutException.

    `stopping` is set by the first signal.  Must be called in the main thread, where signals arrive.  Raises
    WorkerUnfit.
    """
    worker = ResidentWorker(queue, name, take_turn, job_seconds, stopping)
    try:
        worker.work()
    finally:
        worker.hurry.cancel()
    if worker.unfit is not None:
        raise worker.unfit


class ResidentWorker(SimpleWorker):  # type: ignore[misc]  # RQ is not typed
    """RQ's worker that does not fork, so that a model stays in memory.

    It differs in what signals do, in outliving outages of Redis, and in taking neither commands nor functions from it.
    """

    _stop_requested: bool
    unfit: WorkerUnfit | None = None

    def __init__(
        self, queue: Queue, name: str, take_turn: Callable[[], None], job_seconds: int, stopping: threading.Event
    ) -> None:
        super().__init__([queue], connection=queue.connection, serializer=JSONSerializer, name=name)
        self.take_turn = take_turn
        self.job_seconds = job_seconds
        self.stopping = stopping
        self.hurry = threading.Timer(STOP_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
        self.hurry.daemon = True

    def request_stop(self, signum: int, _frame: FrameType | None) -> None:
        # Only a flag: an exception from here could strike while Redis hands over a job, and delay the job.
        if self._stop_requested:
            raise SystemExit(128 + signum)
        self._stop_requested = True
        self.stopping.set()
        self.hurry.start()

    def dequeue_job_and_maintain_ttl(self, _timeout: int | None, _max_idle_time: int | None = None) -> Any:
        while not self._stop_requested:
            try:
                with redis_errors_as_unavailable(), suppress(DequeueTimeout):
                    self.heartbeat()
                    if self.should_run_maintenance_tasks:
                        self.run_maintenance_tasks()
                    return Queue.dequeue_any(self.queues, WAIT_SECONDS, self.connection, serializer=JSONSerializer)
            except Unavailable as outage:
                log.warning("redis_unavailable", reason=outage.detail)
                time.sleep(WAIT_SECONDS)
            except Exception:  # a ticket that cannot be read is gone; the worker is not
                log.exception("ticket_unreadable")
        raise StopRequested

    def execute_job(self, job: Job, queue: Queue) -> None:
        job.perform, job.timeout = self._perform, self.job_seconds
        with _outages_logged():  # the job's record is ours, and written; this is the ticket's
            super().execute_job(job, queue)

    def _perform(self) -> None:
        try:
            self.take_turn()
        except WorkerUnfit as unfit:  # RQ would go on
            self.unfit, self._stop_requested = unfit, True
        except SystemExit:
            if not self._stop_requested:
                raise
            # Hurried: the job is handed back, and RQ would log an error.

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        with _outages_logged():
            super().heartbeat(timeout, pipeline)

    def teardown(self) -> None:
        with _outages_logged():
            super().teardown()

    def check_for_suspension(self, burst: bool) -> None:
        """Nobody suspends these workers; asking Redis could end them."""

    def subscribe(self) -> None:
        """No commands."""


@contextmanager
def _outages_logged() -> Iterator[None]:
    try:
        with redis_errors_as_unavailable():
            yield
    except Unavailable as outage:
        log.warning("redis_unavailable", reason=outage.detail)
