"""Whatever happens to the work, the record says how it ended, and the worker lives on."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import structlog
from rq.timeouts import JobTimeoutException
from structlog.testing import capture_logs

from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.workers import WorkerInfo, WorkerRegistry
from generator_service.workers.attempt import Attempts, Outcome, RetryLater, Stopped
from generator_service.workers.loop import WorkerUnfit
from shared.errors import Conflict, OutOfMemory, PlannerUnavailable, PlanningFailed, ServiceError, Unavailable
from shared.plan import Plan

Submit = Callable[..., JobRecord]
MakeAttempts = Callable[[Stage], Attempts]


RETRY_LATER = RetryLater(PlannerUnavailable("gone"), pause=timedelta(seconds=3))


@pytest.fixture
def planning(attempts: MakeAttempts) -> Attempts:
    return attempts(Stage.PLANNING)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as entries:
        yield entries


def failing(error: BaseException) -> Callable[[JobRecord], None]:
    def work(_: JobRecord) -> None:
        raise error

    return work


def test_the_work_is_given_a_started_job(
    planning: Attempts, store: JobStore, submit: Submit, registry: WorkerRegistry
) -> None:
    job = submit().id
    seen: list[JobRecord] = []

    def work(record: JobRecord) -> None:
        seen.append(record)
        assert store.get(job) == record
        assert [worker.job for worker in registry.alive()] == [job]

    planning.take_turn(work)
    assert [(record.status, record.stage, record.worker) for record in seen] == [
        (JobStatus.RUNNING, Stage.PLANNING, "w1")
    ]
    assert [worker.job for worker in registry.alive()] == [None]


@pytest.mark.parametrize(
    ("error", "code", "message", "retryable"),
    [
        (PlanningFailed("nothing to draw"), "planning_failed", "nothing to draw", False),
        (OutOfMemory("8 GiB short"), "out_of_memory", "8 GiB short", False),
        (PlannerUnavailable("gone"), "planner_unavailable", "gone", True),
        (
            KeyError("password=hunter2"),
            "internal",
            "unexpected KeyError: the worker's log has the details",
            False,
        ),
        (JobTimeoutException("600 s"), "planning_failed", "the job took longer than it may", False),
    ],
)
def test_a_failure_ends_in_the_record(
    error: Exception, code: str, message: str, retryable: bool, planning: Attempts, store: JobStore, submit: Submit
) -> None:
    job = submit().id
    planning.take_turn(failing(error))
    record = store.get(job)
    assert record.status is JobStatus.FAILED
    assert record.error is not None
    assert (record.error.code, record.error.message, record.error.retryable) == (code, message, retryable)
    assert record.finished_at is not None


def test_a_render_that_takes_too_long(attempts: MakeAttempts, store: JobStore, submit: Submit) -> None:
    job = submit(Stage.SAMPLING).id
    attempts(Stage.SAMPLING).take_turn(failing(JobTimeoutException()))
    error = store.get(job).error
    assert error is not None
    assert error.code == "rendering_failed"


def test_the_log_has_what_the_record_withholds(planning: Attempts, submit: Submit, logs: list[Any]) -> None:
    error = KeyError("password=hunter2")
    job = submit().id
    planning.take_turn(failing(error))
    (failed,) = [entry for entry in logs if entry["event"] == "job_failed"]
    assert failed["exc_info"] is error
    assert failed["job_id"] == job
    assert structlog.contextvars.get_contextvars() == {}


def test_where_nothing_waits_nothing_is_done(planning: Attempts, store: JobStore, submit: Submit) -> None:
    canceled, running = submit().id, submit().id
    store.cancel(canceled)
    store.start("plan", worker="w0")
    submit(Stage.SAMPLING)
    planning.take_turn(failing(AssertionError("worked on")))
    assert store.get(running).worker == "w0"


@pytest.mark.parametrize(
    "error", [Conflict("lost to a cancel"), RuntimeError("anything"), PlanningFailed("x"), RETRY_LATER]
)
def test_whatever_ends_a_job_that_is_to_be_canceled_cancels_it(
    error: Exception, planning: Attempts, store: JobStore, submit: Submit
) -> None:
    job = submit().id

    def work(_: JobRecord) -> None:
        store.cancel(job)
        raise error

    planning.take_turn(work)
    record = store.get(job)
    assert record.status is JobStatus.CANCELED
    assert record.error is None


def test_a_job_that_vanished_is_let_go(planning: Attempts, store: JobStore, submit: Submit, text_client: Any) -> None:
    submit()

    def work(_: JobRecord) -> None:
        text_client.flushall()
        raise RuntimeError("no record")

    planning.take_turn(work)
    assert list(text_client.scan_iter("job*")) == []


def test_a_job_that_was_ended_elsewhere_stays_as_it_is(planning: Attempts, store: JobStore, submit: Submit) -> None:
    job = submit().id

    def work(_: JobRecord) -> None:
        store.fail(job, ServiceError("given up elsewhere"), worker="w1")
        raise RuntimeError("too late")

    planning.take_turn(work)
    error = store.get(job).error
    assert error is not None
    assert error.message == "given up elsewhere"


@pytest.mark.parametrize("stop", [SystemExit(143), KeyboardInterrupt()])
def test_a_worker_that_is_ended_releases_its_job_and_ends(
    stop: BaseException, planning: Attempts, store: JobStore, submit: Submit
) -> None:
    job = submit().id
    with pytest.raises(type(stop)):
        planning.take_turn(failing(stop))
    record = store.get(job)
    assert (record.status, record.attempt, record.worker, record.error) == (JobStatus.QUEUED, 1, None, None)


def test_the_job_of_work_that_was_asked_to_stop_is_released_and_the_worker_lives_on(
    planning: Attempts, store: JobStore, submit: Submit
) -> None:
    job = submit().id
    planning.take_turn(failing(Stopped()))
    record = store.get(job)
    assert (record.status, record.stage, record.attempt) == (JobStatus.QUEUED, Stage.PLANNING, 1)


def test_a_job_that_is_to_be_canceled_is_not_released(planning: Attempts, store: JobStore, submit: Submit) -> None:
    job = submit().id

    def work(_: JobRecord) -> None:
        store.cancel(job)
        raise Stopped

    planning.take_turn(work)
    assert store.get(job).status is JobStatus.CANCELED


def test_a_worker_that_is_ended_as_it_takes_a_job_releases_it_too(
    planning: Attempts, store: JobStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(self: WorkerRegistry, info: WorkerInfo) -> None:
        raise SystemExit(143)

    job = submit().id
    monkeypatch.setattr(WorkerRegistry, "beat", ended)
    with pytest.raises(SystemExit):
        planning.take_turn(failing(AssertionError("worked on")))
    assert store.get(job).status is JobStatus.QUEUED


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.CANCELING])
def test_a_job_that_the_next_worker_has_is_left_to_it(
    status: JobStatus, planning: Attempts, store: JobStore, submit: Submit, plan: Plan
) -> None:
    job = submit().id

    def work(_: JobRecord) -> None:
        store.hand_over(job, plan, worker="w1", progress=0.05, seconds=1.0)
        store.start("render.emoji-world", worker="w2")
        if status is JobStatus.CANCELING:
            store.cancel(job)
        raise Unavailable("the answer to its message was lost")

    planning.take_turn(work)
    record = store.get(job)
    assert (record.status, record.worker, record.error) == (status, "w2", None)


def test_a_short_outage_as_the_job_ends_is_waited_out(
    planning: Attempts, store: JobStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit().id
    calls: list[str] = []
    confirm_cancel = store.confirm_cancel

    def flaky(self: JobStore, job_id: str, *, worker: str) -> JobRecord:
        calls.append(job_id)
        if len(calls) < 3:
            raise Unavailable("Redis does not answer")
        return confirm_cancel(job_id, worker=worker)

    monkeypatch.setattr(JobStore, "confirm_cancel", flaky)
    planning.take_turn(failing(PlanningFailed("nothing to draw")))
    assert len(calls) == 3
    assert store.get(job).status is JobStatus.FAILED


def test_a_long_outage_as_the_job_ends_does_not_end_the_worker(
    planning: Attempts, submit: Submit, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    def dead(self: JobStore, job_id: str, **_: object) -> JobRecord:
        raise Unavailable("Redis does not answer")

    monkeypatch.setattr(JobStore, "confirm_cancel", dead)
    submit()
    planning.take_turn(failing(PlanningFailed("nothing to draw")))
    assert [entry["event"] for entry in logs][-1] == "job_end_not_recorded"


def test_that_redis_was_silent_is_no_failure_of_the_job(planning: Attempts, store: JobStore, submit: Submit) -> None:
    job = submit().id
    planning.take_turn(failing(Unavailable("Redis does not answer")))
    record = store.get(job)
    assert (record.status, record.worker, record.attempt, record.error) == (JobStatus.QUEUED, None, 1, None)


def test_work_that_lacks_a_part_is_retried_later_and_costs_no_attempt(
    planning: Attempts, store: JobStore, submit: Submit
) -> None:
    outcomes: list[Outcome] = []
    job = submit().id
    replace(planning, count=outcomes.append).take_turn(failing(RETRY_LATER))
    record = store.get(job)
    assert (record.status, record.worker, record.attempt, record.error) == (JobStatus.QUEUED, None, 1, None)
    assert record.retry_at == record.updated_at + timedelta(seconds=3)
    assert record.waiting_for is not None
    assert record.waiting_for.message == "gone"
    assert outcomes == ["retried_later"]


def test_an_outage_as_the_job_starts_does_not_end_the_worker(
    planning: Attempts, store: JobStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(self: JobStore, queue: str, **_: object) -> JobRecord:
        raise Unavailable("Redis does not answer")

    job = submit().id
    monkeypatch.setattr(JobStore, "start", dead)
    planning.take_turn(failing(AssertionError("worked on")))
    assert store.get(job).status is JobStatus.QUEUED


# a sick worker


class Sticky(RuntimeError):
    """As a GPU that has failed raises at every call."""


@pytest.mark.parametrize("error", [Sticky("CUDA error"), MemoryError()])
def test_a_worker_that_finds_itself_unfit_gives_the_job_to_another_and_ends(
    error: Exception, planning: Attempts, store: JobStore, submit: Submit
) -> None:
    outcomes: list[Outcome] = []
    unfit = replace(planning, count=outcomes.append, is_unfit=lambda error: isinstance(error, Sticky | MemoryError))
    job, next_one = submit().id, submit().id
    with pytest.raises(WorkerUnfit) as caught:
        unfit.take_turn(failing(error))
    assert caught.value.code == 1
    record = store.get(job)
    assert (record.status, record.attempt, record.worker, record.error) == (JobStatus.QUEUED, 2, None, None)
    assert record.retry_at == record.updated_at + timedelta(seconds=1)
    assert store.get(next_one).attempt == 1
    assert outcomes == ["given_up"]


def test_a_job_that_breaks_every_worker_fails_in_the_end(planning: Attempts, store: JobStore, submit: Submit) -> None:
    job = submit(attempt=3).id
    with pytest.raises(WorkerUnfit):
        planning.take_turn(failing(MemoryError()))
    error = store.get(job).error
    assert error is not None
    assert (error.code, error.message) == ("unavailable", "its worker broke down, in attempt 3 of 3")


def test_an_expected_error_tells_nothing_of_the_worker(planning: Attempts, store: JobStore, submit: Submit) -> None:
    job = submit().id
    replace(planning, is_unfit=lambda _: True).take_turn(failing(OutOfMemory("8 GiB short")))
    assert store.get(job).status is JobStatus.FAILED
