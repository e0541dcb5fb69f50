"""One attempt at one job, from its turn in the queue to an end in its record, whatever happens between."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeVar

import structlog
from rq.timeouts import JobTimeoutException
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from generator_service.jobs.queues import PLAN_QUEUE
from generator_service.jobs.record import JobRecord
from generator_service.jobs.recovery import pause_after
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from generator_service.jobs.workers import Heartbeat
from generator_service.workers.loop import WorkerUnfit
from shared.errors import Conflict, NotFound, PlanningFailed, RenderingFailed, ServiceError, Unavailable
from telemetry.tracing import set_span_attributes, span

PATIENCE_SECONDS: Final = 600.0
"""For how long a worker tries to write down what became of a job, while Redis does not answer."""

Outcome = Literal["done", "failed", "canceled", "released", "retried_later", "given_up", "lost"]
"""Of an attempt.  `done`: this worker's part.  `given_up`: by a worker that is unfit.  `lost`: it was no longer
this worker's."""


class Stopped(Exception):
    """Raised by work that was asked to stop, at a moment when it could."""


class RetryLater(Exception):
    """Raised by work that lacks a part of the service, and may find it there after a pause."""

    def __init__(self, missing: ServiceError, pause: timedelta) -> None:
        super().__init__(missing.detail)
        self.missing = missing
        self.pause = pause


log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Attempts:
    """What a worker process needs around its work."""

    store: JobStore
    tickets: Tickets
    heartbeat: Heartbeat
    worker: str
    queue: str
    maximum: int
    """How many each job has."""
    patience_seconds: float = PATIENCE_SECONDS
    count: Callable[[Outcome], None] = lambda _: None
    """Told how each attempt ended."""
    is_unfit: Callable[[Exception], bool] = lambda error: isinstance(error, MemoryError)
    """Whether an unexpected error tells of this process rather than of the job."""

    def take_turn(self, work: Callable[[JobRecord], None]) -> None:
        """Start the job whose turn it is, if there is one, and let `work` end it or hand it over; release it if the
        worker is stopped first, and write down what went wrong if anything did.

        `work` may raise anything.  What leaves here is SystemExit and its like alone, WorkerUnfit among them: a failed
        job never ends the worker.
        """
        try:
            record = self.store.start(self.queue, worker=self.worker)
        except Unavailable as outage:
            log.warning("job_not_started", reason=outage.detail)
            return
        if record is None:
            return
        self.leave_tickets()
        known = structlog.contextvars.bound_contextvars(job_id=record.id, request_id=record.request_id)
        tracing = span(
            "plan" if self.queue == PLAN_QUEUE else "render",
            parent=record.traceparent,
            job_id=record.id,
            request_id=record.request_id,
            attempt=record.attempt,
        )
        with known, tracing:
            self._attempt(record, work)

    def _attempt(self, record: JobRecord, work: Callable[[JobRecord], None]) -> None:
        try:
            log.info("job_started", stage=record.stage, attempt=record.attempt)
            with self.heartbeat.working_on(record.id):
                work(record)
        except Stopped:
            self._release(record)
        except Exception as error:
            self._settle(record, error)
        except BaseException:
            self._release(record)
            raise
        else:
            self._note_outcome("done")

    def leave_tickets(self) -> None:
        """For the next worker, wherever jobs wait; where Redis is silent, the recovery thread does so."""
        with suppress(Unavailable):
            self.tickets.top_up(self.store.count_waiting())

    def retry_while_unavailable(self, change: Callable[[], T]) -> T:
        """Make a change to the store, whether or not Redis answers right now.

        `change` may be called again although it has happened, where the answer was lost.
        """
        patiently = Retrying(
            retry=retry_if_exception(_is_silence),
            stop=stop_after_delay(self.patience_seconds),
            wait=wait_exponential(multiplier=0.1, max=5.0),
            reraise=True,
        )
        return patiently(change)

    def _release(self, record: JobRecord) -> None:
        """Tried once: where Redis is silent, another process will reclaim the job."""
        try:
            if not self._confirm_cancel(record):
                self._let_go(lambda: self.store.release(record.id, worker=self.worker), "released")
        except Unavailable:
            log.warning("job_not_released")

    def _settle(self, record: JobRecord, error: Exception) -> None:
        try:
            self.retry_while_unavailable(lambda: self._end(record, error))
        except Unavailable:
            log.error("job_end_not_recorded", exc_info=error)
        if self._tells_of_process(error):
            raise WorkerUnfit

    def _end(self, record: JobRecord, error: Exception) -> None:
        """Canceled, where that is wished, whatever ended the work; else failed.  Not where another has the job.

        That Redis was silent is no failure of the job's: it is released.
        """
        store, worker = self.store, self.worker
        if self._confirm_cancel(record):
            return
        if _is_silence(error):
            self._let_go(lambda: store.release(record.id, worker=worker), "released", error)
        elif isinstance(error, RetryLater):
            pause = error.pause
            self._let_go(
                lambda: store.retry_later(record.id, error.missing, worker=worker, pause=pause), "retried_later", error
            )
        elif self._tells_of_process(error):
            reason, pause = "its worker broke down", pause_after(record.attempt)
            self._let_go(lambda: store.reclaim(record, reason, attempts=self.maximum, pause=pause), "given_up", error)
        else:
            failure = self._as_failure(error)
            self._let_go(lambda: store.fail(record.id, failure, worker=worker), "failed", error)

    def _let_go(self, change: Callable[[], JobRecord], outcome: Outcome, error: Exception | None = None) -> None:
        try:
            change()
        except (Conflict, NotFound) as reason:
            log.info("job_ended_elsewhere", reason=reason.detail, exc_info=error)
            self._note_outcome("lost")
        else:
            log.log(logging.INFO if error is None else logging.WARNING, f"job_{outcome}", exc_info=error)
            self._note_outcome(outcome)

    def _confirm_cancel(self, record: JobRecord) -> bool:
        """Let go of a job that is to be canceled, or that is gone."""
        try:
            self.store.confirm_cancel(record.id, worker=self.worker)
        except NotFound:
            log.info("job_deleted_meanwhile")
        except Conflict:
            return False
        else:
            log.info("job_canceled")
        self._note_outcome("canceled")
        return True

    def _note_outcome(self, outcome: Outcome) -> None:
        self.count(outcome)
        set_span_attributes(outcome=outcome)

    def _tells_of_process(self, error: Exception) -> bool:
        expected = isinstance(error, (ServiceError, RetryLater, JobTimeoutException))
        return not expected and self.is_unfit(error)

    def _as_failure(self, error: Exception) -> ServiceError:
        """What the job's owner may read: never the text of an error that is not ours."""
        match error:
            case ServiceError():
                return error
            case JobTimeoutException():
                kind = PlanningFailed if self.queue == PLAN_QUEUE else RenderingFailed
                return kind("the job took longer than it may")
            case _:
                return ServiceError(f"unexpected {type(error).__name__}: the worker's log has the details")


def _is_silence(error: BaseException) -> bool:
    """Of Redis; other parts that are unavailable have classes of their own."""
    return type(error) is Unavailable
