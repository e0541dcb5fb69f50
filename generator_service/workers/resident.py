"""The process around a worker: one queue, one job at a time in this very process, until it is told to stop.

The first SIGTERM or SIGINT asks the job in hand to come to an end; a second one, or `STOP_SECONDS`, ends it at once.
"""

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Literal

import structlog
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from generator_service.jobs.connection import answering
from generator_service.jobs.delivery import DeliveryQueue
from generator_service.jobs.message import Message
from shared.errors import Unavailable

log = structlog.get_logger(__name__)

WAIT_SECONDS: Final = 1
"""An idle worker looks this often whether it is to stop; and waits this long before it asks a Redis again
that did not answer."""
STOP_SECONDS: Final = 7.0
"""A job that has not come to an end by then is ended: 10 seconds from the signal the process is gone."""


def worker_name(kind: Literal["plan", "render", "webhook"]) -> str:
    """Says where the process runs, and is never used twice."""
    return f"{kind}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


def work_until_stopped(queue: DeliveryQueue, name: str, stopping: threading.Event) -> None:
    """`stopping` is set by the first signal.  Must be called in the main thread, where signals arrive."""
    # RQ waits worker_ttl - 15 seconds for a message, and never lets a socket time out before that.
    ttl = WAIT_SECONDS + 15
    worker = ResidentWorker(
        [queue],
        connection=queue.connection,
        serializer=JSONSerializer,
        job_class=Message,
        name=name,
        worker_ttl=ttl,
    )
    worker.stopping = stopping
    try:
        worker.work()
    finally:
        worker.hurry.cancel()


@contextmanager
def _outliving_outages() -> Iterator[None]:
    """An outage of Redis ends the block and is logged, no more."""
    try:
        with answering():
            yield
    except Unavailable as outage:
        log.warning("redis_unavailable", reason=outage.detail)


class ResidentWorker(SimpleWorker):  # type: ignore[misc]  # RQ is not typed
    """RQ's worker that does not fork, so that a model stays in memory.

    It differs in what signals do, in outliving an outage of Redis, and in taking no commands over Redis.
    """

    _stop_requested: bool
    stopping: threading.Event

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
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
            with _outliving_outages():
                self.set_state(WorkerStatus.IDLE)
                self.heartbeat()
                if self.should_run_maintenance_tasks:
                    self.run_maintenance_tasks()
                (queue,) = self.queues
                try:
                    job = queue.take(WAIT_SECONDS)
                except ValueError:  # what waited has a name that no job has
                    log.warning("message_misnamed")
                    continue
                if job is not None:
                    return job, queue
                continue
            time.sleep(WAIT_SECONDS)
        raise StopRequested

    def execute_job(self, job: Job, queue: DeliveryQueue) -> None:
        with _outliving_outages():  # the job's own record is ours, and written; this is RQ's
            super().execute_job(job, queue)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        with _outliving_outages():
            super().heartbeat(timeout, pipeline)

    def check_for_suspension(self, burst: bool) -> None:
        """Nobody suspends these workers; asking Redis could end them."""

    def subscribe(self) -> None:
        """No commands."""

    def teardown(self) -> None:
        with _outliving_outages():
            super().teardown()
