"""One attempt at one job, from the call that RQ makes to an end in its record, whatever happens between.

A worker may be called for a job any number of times, at any time: only the call that finds it queued works on it.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeVar

import structlog
from rq.timeouts import JobTimeoutException
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from generator_service.contract.job import Stage
from generator_service.jobs.heartbeat import Heartbeat
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from shared.errors import Conflict, NotFound, PlanningFailed, RenderingFailed, ServiceError, Unavailable
from telemetry.tracing import note, span

PATIENCE_SECONDS: Final = 600.0
"""For how long a worker tries to write down what became of a job, while Redis does not answer."""


Outcome = Literal["done", "failed", "canceled", "handed_back", "postponed", "lost"]
"""Of an attempt.  `done`: this worker's part.  `lost`: the job was no longer this worker's."""


class Stopped(Exception):
    """Raised by work that was asked to stop, at a moment when it could."""


class Postponed(Exception):
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
    heartbeat: Heartbeat
    worker: str
    stage: Stage
    """Where this worker's part of a job begins."""
    patience_seconds: float = PATIENCE_SECONDS
    count: Callable[[Outcome], None] = lambda _: None
    """Told how each attempt ended."""

    def run(self, job_id: str, work: Callable[[JobRecord], None]) -> None:
        """Start the job, let `work` end or hand it over; hand it back if the worker is stopped first, and write down
        what went wrong if anything did.

        `work` may raise anything.  What leaves here is SystemExit and its like alone: a failed job never ends the
        worker.
        """
        with structlog.contextvars.bound_contextvars(job_id=job_id), ExitStack() as known:
            try:
                self._attempt(job_id, work, known)
            except Stopped:
                self._hand_back(job_id)
            except Exception as error:
                self._settle(job_id, error)
            except BaseException:
                self._hand_back(job_id)
                raise

    def _ended(self, outcome: Outcome) -> None:
        self.count(outcome)
        note(outcome=outcome)

    def _attempt(self, job_id: str, work: Callable[[JobRecord], None], known: ExitStack) -> None:
        """`known` ends with all that is done about the job: what is known by its record alone."""
        try:
            record = self.store.start(job_id, worker=self.worker, stage=self.stage)
        except (Conflict, NotFound) as reason:
            log.info("job_not_wanted", reason=reason.detail)
            return
        except Unavailable:
            log.exception("job_not_started")
            return
        known.enter_context(structlog.contextvars.bound_contextvars(request_id=record.request_id))
        known.enter_context(
            span(
                "plan" if self.stage is Stage.PLANNING else "render",
                parent=record.traceparent,
                job_id=job_id,
                request_id=record.request_id,
                attempt=record.attempt,
            )
        )
        log.info("job_started", stage=self.stage.value, attempt=record.attempt)
        with self.heartbeat.working_on(job_id):
            work(record)
        self._ended("done")

    def _hand_back(self, job_id: str) -> None:
        """Tried once: where Redis is silent, the watchdog of another process will find the job."""
        try:
            if not self._canceled(job_id):
                self._hand_back_now(job_id)
        except Unavailable:
            log.warning("job_not_handed_back")

    def _hand_back_now(self, job_id: str) -> None:
        try:
            self.store.hand_back(job_id, worker=self.worker)
        except (Conflict, NotFound) as reason:
            log.info("job_ended_elsewhere", reason=reason.detail)
            self._ended("lost")
        else:
            log.info("job_handed_back")
            self._ended("handed_back")

    def _postpone_now(self, job_id: str, postponed: Postponed) -> None:
        try:
            self.store.postpone(job_id, postponed.missing, worker=self.worker, pause=postponed.pause)
        except (Conflict, NotFound) as reason:
            log.info("job_ended_elsewhere", reason=reason.detail)
            self._ended("lost")
        else:
            missing, seconds = postponed.missing, postponed.pause.total_seconds()
            log.warning("job_postponed", code=missing.code, reason=missing.detail, pause=seconds)
            self._ended("postponed")

    def insist(self, change: Callable[[], T]) -> T:
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

    def _settle(self, job_id: str, error: Exception) -> None:
        try:
            self.insist(lambda: self._end(job_id, error))
        except Unavailable:
            log.error("job_end_not_recorded", exc_info=error)

    def _end(self, job_id: str, error: Exception) -> None:
        """Canceled, where that is wished, whatever ended the work; else failed.  Not where another has the job.

        That Redis was silent is no failure of the job's: it is handed back.
        """
        if self._canceled(job_id):
            return
        if _is_silence(error):
            self._hand_back_now(job_id)
            return
        if isinstance(error, Postponed):
            self._postpone_now(job_id, error)
            return
        failure = self._as_failure(error)
        try:
            self.store.fail(job_id, failure, worker=self.worker)
        except (Conflict, NotFound) as reason:
            log.warning("job_ended_elsewhere", reason=reason.detail, exc_info=error)
            self._ended("lost")
        else:
            self._ended("failed")
            log.warning("job_failed", code=failure.code, reason=failure.detail, exc_info=error)

    def _canceled(self, job_id: str) -> bool:
        """Let go of a job that is to be canceled, or that is gone."""
        try:
            self.store.confirm_cancel(job_id, worker=self.worker)
        except NotFound:
            log.info("job_deleted_meanwhile")
        except Conflict:
            return False
        else:
            log.info("job_canceled")
        self._ended("canceled")
        return True

    def _as_failure(self, error: Exception) -> ServiceError:
        """What the job's owner may read: never the text of an error that is not ours."""
        match error:
            case ServiceError():
                return error
            case JobTimeoutException():
                kind = PlanningFailed if self.stage is Stage.PLANNING else RenderingFailed
                return kind("the job took longer than it may")
            case _:
                return ServiceError(f"unexpected {type(error).__name__}: the worker's log has the details")


def _is_silence(error: BaseException) -> bool:
    """Of Redis; other parts that are unavailable have classes of their own."""
    return type(error) is Unavailable
