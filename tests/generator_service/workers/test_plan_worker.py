"""From the queue of plans to the queue of renders."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from generator_service.planner_client import PlannerClient
from generator_service.workers.attempt import Outcome
from generator_service.workers.plan_worker import PlanWorker
from generator_service.workers.progress import SPANS, Pace, progress_at
from shared.errors import LanguageModelUnavailable, PlannerUnavailable, PlanningFailed, Unavailable
from shared.plan import Plan

Submit = Callable[..., JobRecord]


@pytest.fixture
def worker(planner: Any, store: JobStore, attempts: Any) -> PlanWorker:
    client = PlannerClient(planner.url, 30.0)
    return PlanWorker(store, client, attempts(Stage.PLANNING), patience=timedelta(minutes=10))


def test_a_planned_job_waits_for_rendering(
    worker: PlanWorker, store: JobStore, tickets: Tickets, submit: Submit, plan: Plan
) -> None:
    job = submit().id
    worker.take_turn()
    record = store.get(job)
    assert (record.status, record.stage, record.worker) == (JobStatus.QUEUED, Stage.SAMPLING, None)
    assert record.progress == pytest.approx(0.05)
    assert 0 < record.diagnostics.seconds["planning"] < 5
    assert store.plan(job) == plan
    assert store.positions([record]) == (0,)
    assert tickets.queue("render.emoji-world").count == 1


def test_who_takes_a_job_leaves_a_ticket_where_more_wait(worker: PlanWorker, tickets: Tickets, submit: Submit) -> None:
    submit()
    submit()
    for left in (1, 0):
        tickets.queue("plan").empty()
        worker.take_turn()
        assert tickets.queue("plan").count == left


def test_what_cannot_be_planned_fails(
    worker: PlanWorker, planner: Any, answer: Any, store: JobStore, tickets: Tickets, submit: Submit
) -> None:
    planner.answers = [answer.problem(PlanningFailed("nothing to draw"))]
    job = submit().id
    worker.take_turn()
    record = store.get(job)
    assert record.status is JobStatus.FAILED
    assert record.error is not None
    assert (record.error.code, record.error.message) == ("planning_failed", "nothing to draw")
    assert tickets.queue("render.emoji-world").count == 0


def test_while_its_planner_is_gone_a_job_is_delayed_and_the_next_one_is_planned(
    worker: PlanWorker, planner: Any, answer: Any, store: JobStore, submit: Submit, plan: Plan
) -> None:
    planner.answers = [answer.problem(LanguageModelUnavailable("no vLLM")), answer.plan(plan)]
    delayed, following = submit(planner="language-model").id, submit(planner="parser").id
    worker.take_turn()
    worker.take_turn()
    record = store.get(delayed)
    assert (record.status, record.stage, record.attempt) == (JobStatus.QUEUED, Stage.PLANNING, 1)
    assert record.retry_at == record.updated_at + timedelta(seconds=1)
    assert record.waiting_for is not None
    assert (record.waiting_for.code, record.waiting_for.message) == ("language_model_unavailable", "no vLLM")
    assert store.get(following).stage is Stage.SAMPLING
    time.sleep(1.0)
    store.promote_due(9)
    worker.take_turn()
    assert (store.get(delayed).stage, store.get(delayed).waiting_for) == (Stage.SAMPLING, None)


def waited(seconds: float) -> dict[str, Any]:
    """What the record of a job says that has done without its planner for so long, and was in the queue for hours."""
    since = datetime.now(UTC) - timedelta(hours=2)
    return {"waiting_for": {"code": "planner_unavailable", "message": "gone", "since": since, "seconds": seconds}}


@pytest.mark.parametrize(("seconds", "pause"), [(0.2, 1.0), (4.0, 4.0), (100.0, 10.0)])
def test_the_pause_is_as_long_as_the_wait_so_far(
    seconds: float, pause: float, worker: PlanWorker, planner: Any, answer: Any, store: JobStore, submit: Submit
) -> None:
    planner.answers = [answer.problem(PlannerUnavailable("gone"))]
    job = submit(**waited(seconds)).id
    worker.take_turn()
    record = store.get(job)
    assert record.retry_at is not None
    assert (record.retry_at - record.updated_at).total_seconds() == pytest.approx(pause, abs=0.5)


@pytest.mark.parametrize("gone", [LanguageModelUnavailable("no vLLM"), PlannerUnavailable("the planner is away")])
def test_a_planner_that_stays_away_fails_the_job_which_says_who(
    gone: Unavailable, worker: PlanWorker, planner: Any, answer: Any, store: JobStore, submit: Submit
) -> None:
    planner.answers = [answer.problem(gone)]
    job = submit(**waited(601)).id
    worker.take_turn()
    record = store.get(job)
    assert record.error is not None
    assert (record.status, record.attempt, record.error.code) == (JobStatus.FAILED, 1, gone.code)
    assert record.error.retryable
    assert record.error.message.startswith(f"{gone.detail}; given up after 60")


def test_a_plan_that_takes_too_long_fails_the_job_at_once(
    worker: PlanWorker, planner: Any, store: JobStore, submit: Submit
) -> None:
    given_up = threading.Event()
    planner.before_answer = lambda: given_up.wait(20)
    job = submit().id
    replace(worker, planner=PlannerClient(planner.url, 0.3)).take_turn()
    given_up.set()
    error = store.get(job).error
    assert error is not None
    assert error.message == "no plan within 0.3 seconds"


def test_a_job_canceled_as_its_plan_arrives_is_not_rendered(
    worker: PlanWorker, planner: Any, store: JobStore, tickets: Tickets, submit: Submit
) -> None:
    job = submit().id
    planner.before_answer = lambda: store.cancel(job)
    worker.take_turn()
    assert store.get(job).status is JobStatus.CANCELED
    assert store.plan(job) is None
    assert tickets.queue("render.emoji-world").count == 0


def canceled(store: JobStore, job: str) -> None:
    store.cancel(job)


def taken_from_the_worker(store: JobStore, job: str) -> None:
    store.reclaim(store.get(job), "dead", attempts=3, pause=timedelta(0))


def deleted(store: JobStore, job: str) -> None:
    store.fail(job, PlanningFailed("given up"), worker="w1")
    store.delete(job)


@pytest.mark.parametrize("end", [canceled, taken_from_the_worker, deleted])
def test_a_worker_whose_plan_nobody_wants_waits_for_it_no_longer(
    end: Callable[[JobStore, str], None],
    worker: PlanWorker,
    planner: Any,
    store: JobStore,
    tickets: Tickets,
    submit: Submit,
    wait_until: Callable[..., None],
) -> None:
    """The planner would think for a minute."""
    thinking = threading.Event()
    planner.before_answer = lambda: (end(store, job), thinking.wait(60))
    job = submit().id
    begin = time.monotonic()
    worker.take_turn()
    assert time.monotonic() - begin < 10
    thinking.set()
    wait_until(lambda: planner.broken_off == 1)
    if end is canceled:
        assert store.get(job).status is JobStatus.CANCELED
    if end is taken_from_the_worker:
        assert (store.get(job).status, store.get(job).attempt) == (JobStatus.QUEUED, 2)
    assert store.plan(job) is None
    assert tickets.queue("render.emoji-world").count == 0

    planner.before_answer = lambda: None
    following = submit().id
    worker.take_turn()
    assert store.get(following).stage is Stage.SAMPLING


def test_a_silent_redis_while_the_planner_thinks_is_no_reason_to_lose_the_plan(
    worker: PlanWorker, planner: Any, store: JobStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    def silent(self: JobStore, job_id: str) -> JobRecord:
        asked.set()
        raise Unavailable("Redis does not answer")

    job = submit().id
    with monkeypatch.context() as outage:
        outage.setattr(JobStore, "get", silent)
        planner.before_answer = lambda: asked.wait(20)
        worker.take_turn()
    assert asked.is_set()
    assert store.get(job).stage is Stage.SAMPLING


def test_a_planned_job_without_a_ticket_waits_all_the_same(
    worker: PlanWorker, store: JobStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Outcome] = []
    worker = replace(worker, attempts=replace(worker.attempts, count=outcomes.append))

    def dead(self: Tickets, name: str) -> None:
        raise Unavailable("Redis does not answer")

    job = submit().id
    monkeypatch.setattr(Tickets, "add", dead)
    worker.take_turn()
    assert store.positions([store.get(job)]) == (0,)
    assert store.get(job).stage is Stage.SAMPLING
    assert outcomes == ["done"]


def test_stages_follow_one_another_without_gap() -> None:
    spans = [SPANS[stage] for stage in Stage]
    assert spans[0][0] == 0.0
    assert spans[-1][1] == 1.0
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert all(begin < end for begin, end in spans)


def test_progress_inside_a_stage() -> None:
    assert progress_at(Stage.SAMPLING, 0.5) == pytest.approx(0.475)
    assert progress_at(Stage.STORING, 1.0) == 1.0


def test_the_pace_of_one_worker() -> None:
    """It began at half, and a fourth of the job took it 10 s: the last fourth takes as long."""
    begin = datetime(2026, 3, 1, 12, tzinfo=UTC)
    pace = Pace()
    assert pace.expected_end(0.5, begin) is None
    pace.begin(0.5, begin)
    assert pace.expected_end(0.54, begin + timedelta(seconds=2)) is None
    later = begin + timedelta(seconds=10)
    assert pace.expected_end(0.75, later) == later + timedelta(seconds=10)
    assert pace.expected_end(1.0, later) == later


def test_a_job_is_not_tried_before_the_planner_says(
    worker: PlanWorker, planner: Any, answer: Any, store: JobStore, submit: Submit
) -> None:
    busy = answer.problem(LanguageModelUnavailable("busy"))
    planner.answers = [replace(busy, headers={"Retry-After": "40"})]
    job = submit().id
    worker.take_turn()
    record = store.get(job)
    assert record.retry_at == record.updated_at + timedelta(seconds=40)
