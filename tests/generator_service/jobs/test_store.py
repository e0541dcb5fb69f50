"""Job records in a real Valkey."""

import itertools
import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest
import redis
from redis.connection import Connection

from generator_service.contract.job import JobStatus, Missing, Stage
from generator_service.contract.report import Diagnostics
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.states import successors
from generator_service.jobs.store import JobStore
from shared.errors import (
    Conflict,
    LanguageModelUnavailable,
    NotFound,
    PlannerUnavailable,
    PlanningFailed,
    RenderingFailed,
    Unavailable,
)
from shared.plan import Plan

MakeRecord = Callable[..., JobRecord]

RESULTS = Results(video="v", plan="p", preview="w", manifest="m", report="r")
UNKNOWN = "f" * 32

Move = Callable[[JobStore, str, Plan], JobRecord]

GONE = LanguageModelUnavailable("no vLLM")

MOVES: dict[str, Move] = {
    "start": lambda store, job, plan: store.start(job, worker="w1", stage=Stage.PLANNING),
    "hand_over": lambda store, job, plan: store.hand_over(job, plan, worker="w1", progress=0.05, seconds=1.0),
    "hand_back": lambda store, job, plan: store.hand_back(job, worker="w1"),
    "postpone": lambda store, job, plan: store.postpone(job, GONE, worker="w1", pause=timedelta(0)),
    "take_back": lambda store, job, plan: store.take_back(held(store, job), attempts=2, pause=timedelta(0)),
    "deliver": lambda store, job, plan: store.deliver(store.get(job)),
    "succeed": lambda store, job, plan: store.succeed(job, worker="w1", results=RESULTS, diagnostics=Diagnostics()),
    "fail": lambda store, job, plan: store.fail(job, RenderingFailed("broken"), worker=store.get(job).worker),
    "confirm_cancel": lambda store, job, plan: store.confirm_cancel(job, worker="w1"),
}


def held(store: JobStore, job: str) -> JobRecord:
    """The job as a watchdog has seen it, in the hands of a worker."""
    return store.get(job).model_copy(update={"worker": "w1"})


PATHS: dict[JobStatus, tuple[str, ...]] = {
    JobStatus.QUEUED: (),
    JobStatus.RUNNING: ("start",),
    JobStatus.CANCELING: ("start", "cancel"),
    JobStatus.CANCELED: ("cancel",),
    JobStatus.SUCCEEDED: ("start", "succeed"),
    JobStatus.FAILED: ("start", "fail"),
}
"""How a job gets into each state."""

LEGAL: dict[tuple[JobStatus, str], JobStatus] = {
    (JobStatus.QUEUED, "start"): JobStatus.RUNNING,
    (JobStatus.QUEUED, "fail"): JobStatus.FAILED,
    (JobStatus.QUEUED, "deliver"): JobStatus.QUEUED,
    (JobStatus.RUNNING, "hand_over"): JobStatus.QUEUED,
    (JobStatus.RUNNING, "hand_back"): JobStatus.QUEUED,
    (JobStatus.RUNNING, "postpone"): JobStatus.QUEUED,
    (JobStatus.RUNNING, "take_back"): JobStatus.QUEUED,
    (JobStatus.CANCELING, "take_back"): JobStatus.CANCELED,
    (JobStatus.RUNNING, "succeed"): JobStatus.SUCCEEDED,
    (JobStatus.RUNNING, "fail"): JobStatus.FAILED,
    (JobStatus.CANCELING, "confirm_cancel"): JobStatus.CANCELED,
    (JobStatus.CANCELING, "fail"): JobStatus.FAILED,
}
"""Everything else is refused."""


def in_status(store: JobStore, record: JobRecord, status: JobStatus, plan: Plan) -> str:
    store.create(record, None)
    for name in PATHS[status]:
        if name == "cancel":
            store.cancel(record.id)
        else:
            MOVES[name](store, record.id, plan)
    assert store.get(record.id).status is status
    return record.id


def dump(client: redis.Redis) -> dict[str, object]:
    """Everything in the database."""
    readers = {
        "hash": client.hgetall,
        "string": client.get,
        "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1),
    }
    return {key: readers[client.type(key)](key) for key in client.scan_iter()}


# transitions


@pytest.mark.parametrize(("status", "move"), list(itertools.product(JobStatus, MOVES)))
def test_every_move_in_every_state(
    status: JobStatus,
    move: str,
    store: JobStore,
    text_client: redis.Redis,
    make_record: MakeRecord,
    plan: Plan,
) -> None:
    job = in_status(store, make_record(), status, plan)
    target = LEGAL.get((status, move))
    if target is None:
        before = dump(text_client)
        with pytest.raises(Conflict, match=f"'{job}' is {status}"):
            MOVES[move](store, job, plan)
        assert dump(text_client) == before
    else:
        answered = MOVES[move](store, job, plan)
        assert answered == store.get(job)
        assert answered.status is target
        assert [record.id for record in store.list(status=target, limit=5).jobs] == [job]
        assert store.counts() == {one: int(one is target) for one in JobStatus}


def test_the_table_of_moves_is_the_diagram() -> None:
    """`cancel` is the only other move: queued to canceled, running to canceling."""
    moves = {(status, target) for (status, _), target in LEGAL.items()}
    moves |= {(JobStatus.QUEUED, JobStatus.CANCELED), (JobStatus.RUNNING, JobStatus.CANCELING)}
    assert moves == {(status, successor) for status in JobStatus for successor in successors(status)}


@pytest.mark.parametrize("move", MOVES)
def test_no_move_makes_a_job_of_nothing(move: str, store: JobStore, text_client: redis.Redis, plan: Plan) -> None:
    with pytest.raises(NotFound, match=UNKNOWN):
        MOVES[move](store, UNKNOWN, plan)
    assert dump(text_client) == {}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (JobStatus.QUEUED, JobStatus.CANCELED),
        (JobStatus.RUNNING, JobStatus.CANCELING),
        (JobStatus.CANCELING, JobStatus.CANCELING),
        (JobStatus.CANCELED, JobStatus.CANCELED),
        (JobStatus.SUCCEEDED, JobStatus.SUCCEEDED),
        (JobStatus.FAILED, JobStatus.FAILED),
    ],
)
def test_cancel_in_every_state(
    status: JobStatus, expected: JobStatus, store: JobStore, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(), status, plan)
    before = store.get(job)
    assert store.cancel(job).status is expected
    after = store.get(job)
    assert after.status is expected
    if status is expected:
        assert after == before
    else:
        assert (after.finished_at is not None) == expected.is_terminal


def test_cancel_of_an_unknown_job(store: JobStore) -> None:
    with pytest.raises(NotFound):
        store.cancel(UNKNOWN)


# a whole life


def test_from_prompt_to_video(text_client: redis.Redis, make_record: MakeRecord, plan: Plan) -> None:
    clock = itertools.count(1)
    start = datetime(2026, 3, 1, 13, tzinfo=UTC)
    store = JobStore(text_client, now=lambda: start + timedelta(seconds=next(clock)))
    new = make_record()
    store.create(new, None)
    assert store.get(new.id) == new
    assert store.plan(new.id) is None

    planning = store.start(new.id, worker="plan-1", stage=Stage.PLANNING)
    assert (planning.worker, planning.stage) == ("plan-1", Stage.PLANNING)
    assert planning.started_at is not None
    assert planning.started_at > new.created_at

    waiting = store.hand_over(new.id, plan, worker="plan-1", progress=0.05, seconds=1.5)
    assert (waiting.worker, waiting.running_since, waiting.stage) == (None, None, Stage.SAMPLING)
    assert waiting.progress == 0.05
    assert store.plan(new.id) == plan

    rendering = store.start(new.id, worker="render-1", stage=Stage.SAMPLING)
    assert rendering.started_at == planning.started_at  # the first start
    assert rendering.running_since is not None
    assert rendering.running_since > planning.started_at
    assert store.report(new.id, worker="render-1", stage=Stage.SAMPLING, progress=0.5, step=2) is JobStatus.RUNNING
    halfway = store.get(new.id)
    assert (halfway.stage, halfway.progress, halfway.step) == (Stage.SAMPLING, 0.5, 2)
    assert halfway.updated_at > rendering.updated_at

    seconds = {"sampling": 2.0}
    done = store.succeed(
        new.id, worker="render-1", results=RESULTS, diagnostics=Diagnostics(notes=("n",), seconds=seconds)
    )
    assert done == store.get(new.id)
    assert (done.progress, done.step, done.stage, done.worker) == (1.0, 4, None, None)
    assert done.finished_at == done.updated_at
    assert done.results == RESULTS
    assert done.diagnostics == Diagnostics(notes=("n",), seconds={"planning": 1.5, "sampling": 2.0})
    untouched = {"id", "prompt", "planner", "settings", "metadata", "created_at", "attempt"}
    assert done.model_dump(include=untouched) == new.model_dump(include=untouched)


def test_a_plan_of_ones_own_is_kept(store: JobStore, make_record: MakeRecord, plan: Plan) -> None:
    record = make_record(stage=Stage.SAMPLING, planner=None)
    store.create(record, plan)
    assert store.plan(record.id) == plan


def test_a_failure_keeps_its_reason(store: JobStore, make_record: MakeRecord) -> None:
    record = make_record()
    store.create(record, None)
    failed = store.fail(record.id, PlanningFailed("no instance found"), worker=None)
    assert failed.error is not None
    assert failed.error.model_dump() == {
        "code": "planning_failed",
        "message": "no instance found",
        "retryable": False,
    }
    assert failed.finished_at is not None


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.CANCELING])
@pytest.mark.parametrize("worker", ["w2", None])
def test_a_worker_ends_no_job_that_another_has(
    status: JobStatus, worker: str | None, store: JobStore, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(), status, plan)
    before = store.get(job)
    with pytest.raises(Conflict, match="not in this worker's hands"):
        store.fail(job, RenderingFailed("broken"), worker=worker)
    with pytest.raises(Conflict):
        store.confirm_cancel(job, worker="w2")
    assert store.get(job) == before


LATE: dict[str, Callable[[JobStore, str, str, Plan], object]] = {
    "report": lambda store, job, worker, plan: store.report(
        job, worker=worker, stage=Stage.PLANNING, progress=0.9, step=4
    ),
    "hand_over": lambda store, job, worker, plan: store.hand_over(job, plan, worker=worker, progress=0.05, seconds=1.0),
    "hand_back": lambda store, job, worker, plan: store.hand_back(job, worker=worker),
    "postpone": lambda store, job, worker, plan: store.postpone(job, GONE, worker=worker, pause=timedelta(0)),
    "succeed": lambda store, job, worker, plan: store.succeed(
        job, worker=worker, results=RESULTS, diagnostics=Diagnostics()
    ),
    "fail": lambda store, job, worker, plan: store.fail(job, RenderingFailed("broken"), worker=worker),
    "confirm_cancel": lambda store, job, worker, plan: store.confirm_cancel(job, worker=worker),
}
"""All that a worker may do to its job."""


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_worker_that_was_taken_for_dead_touches_its_job_no_more(
    late: str, restarted: bool, store: JobStore, text_client: redis.Redis, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(), JobStatus.RUNNING, plan)
    store.take_back(store.get(job), attempts=2, pause=timedelta(0))
    if restarted:
        store.start(job, worker="w2", stage=Stage.PLANNING)
    before = dump(text_client)
    with pytest.raises(Conflict):
        LATE[late](store, job, "w1", plan)
    assert dump(text_client) == before


# taking back, delivering anew


@pytest.mark.parametrize("stage", Stage)
def test_a_job_taken_back_begins_its_next_attempt_after_the_pause(
    stage: Stage, text_client: redis.Redis, make_record: MakeRecord
) -> None:
    now = datetime(2026, 3, 1, 13, tzinfo=UTC)
    store = JobStore(text_client, now=lambda: now)
    begin = Stage.PLANNING if stage is Stage.PLANNING else Stage.SAMPLING
    record = make_record(stage=begin)
    store.create(record, None)
    store.start(record.id, worker="w1", stage=begin)
    store.report(record.id, worker="w1", stage=stage, progress=0.9, step=3)
    again = store.take_back(store.get(record.id), attempts=2, pause=timedelta(seconds=8))
    assert (again.status, again.stage, again.worker, again.running_since) == (JobStatus.QUEUED, begin, None, None)
    assert (again.attempt, again.progress, again.step) == (2, 0.0, 0)
    assert again.retry_at == now + timedelta(seconds=8)
    assert store.start(record.id, worker="w2", stage=begin).retry_at is None


def test_after_the_last_attempt_the_job_has_failed_and_says_why(
    store: JobStore, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(attempt=3), JobStatus.RUNNING, plan)
    failed = store.take_back(store.get(job), attempts=3, pause=timedelta(0))
    assert (failed.status, failed.attempt, failed.worker) == (JobStatus.FAILED, 3, None)
    assert failed.error is not None
    assert failed.error.model_dump() == {
        "code": "unavailable",
        "message": "its worker fell silent, in attempt 3 of 3",
        "retryable": True,
    }


def test_a_job_handed_back_has_lost_no_attempt_and_no_progress(
    store: JobStore, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(stage=Stage.PLANNING), JobStatus.RUNNING, plan)
    store.report(job, worker="w1", stage=Stage.PLANNING, progress=0.02, step=0)
    again = store.hand_back(job, worker="w1")
    assert (again.status, again.attempt, again.progress, again.worker) == (JobStatus.QUEUED, 1, 0.02, None)
    assert again.retry_at == again.updated_at  # at once


def test_a_postponed_job_says_what_was_gone_and_for_how_long_until_it_was_there(
    text_client: redis.Redis, make_record: MakeRecord, plan: Plan
) -> None:
    """It is tried for 20 s, paused for 3 s, waits in the queue for 11 minutes, and is tried for 1 s."""
    now = datetime(2026, 3, 1, 13, tzinfo=UTC)
    store = JobStore(text_client, now=lambda: now)
    job = in_status(store, make_record(), JobStatus.RUNNING, plan)
    now += timedelta(seconds=20)
    first = store.postpone(job, GONE, worker="w1", pause=timedelta(seconds=3))
    since = first.updated_at
    assert first == store.get(job)
    assert (first.status, first.stage, first.attempt, first.worker) == (JobStatus.QUEUED, Stage.PLANNING, 1, None)
    assert first.retry_at == since + timedelta(seconds=3)
    assert first.waiting_for == Missing(code="language_model_unavailable", message="no vLLM", since=since, seconds=23)

    now += timedelta(seconds=3)
    store.deliver(first)
    now += timedelta(minutes=11)
    assert store.start(job, worker="w2", stage=Stage.PLANNING).waiting_for == first.waiting_for
    now += timedelta(seconds=1)
    second = store.postpone(job, PlannerUnavailable("no planner"), worker="w2", pause=timedelta(0))
    assert second.waiting_for == Missing(code="planner_unavailable", message="no planner", since=since, seconds=24)

    store.start(job, worker="w3", stage=Stage.PLANNING)
    assert store.hand_over(job, plan, worker="w3", progress=0.05, seconds=1.0).waiting_for is None


def test_jobs_that_are_put_aside_are_taken_once_their_time_has_come_those_first_whose_came_first(
    text_client: redis.Redis, make_record: MakeRecord, plan: Plan
) -> None:
    now = datetime(2026, 3, 1, 13, tzinfo=UTC)
    store = JobStore(text_client, now=lambda: now)

    def put_aside(seconds: int, stage: Stage = Stage.PLANNING) -> str:
        job = in_status(store, make_record(stage=stage), JobStatus.QUEUED, plan)
        store.start(job, worker="w1", stage=stage)
        return store.postpone(job, GONE, worker="w1", pause=timedelta(seconds=seconds)).id

    third, first, second, _ = [put_aside(seconds) for seconds in (3, 1, 2, 9)]
    canceled, started = put_aside(1), put_aside(1)
    store.cancel(canceled)
    store.start(started, worker="w2", stage=Stage.PLANNING)
    rendered = put_aside(3, Stage.SAMPLING)
    assert store.take_due(2) == ()
    now += timedelta(seconds=3)
    assert {record.id for record in store.take_due(2)} == {first, second, rendered}  # two for each queue
    assert store.take_due(2) == (store.get(third),)
    assert store.take_due(2) == ()


def test_a_postponed_job_is_canceled_at_once(store: JobStore, make_record: MakeRecord, plan: Plan) -> None:
    job = in_status(store, make_record(), JobStatus.RUNNING, plan)
    store.postpone(job, GONE, worker="w1", pause=timedelta(seconds=3))
    ended = store.cancel(job)
    assert (ended.status, ended.waiting_for, ended.retry_at) == (JobStatus.CANCELED, None, None)


def test_a_job_that_is_seen_twice_is_taken_back_once_and_delivered_once(
    store: JobStore, make_record: MakeRecord, plan: Plan
) -> None:
    """The worker is the same each time, so only the number of the attempt, and of the delivery, can tell."""
    job = in_status(store, make_record(), JobStatus.RUNNING, plan)
    seen = store.get(job)
    queued = store.take_back(seen, attempts=9, pause=timedelta(0))
    assert store.deliver(queued).delivery == 2
    with pytest.raises(Conflict):
        store.deliver(queued)
    running = store.start(job, worker="w1", stage=Stage.PLANNING)
    with pytest.raises(Conflict):
        store.take_back(seen, attempts=9, pause=timedelta(0))
    assert store.get(job) == running


def test_a_job_queued_for_rendering_is_not_planned_again(store: JobStore, make_record: MakeRecord, plan: Plan) -> None:
    job = in_status(store, make_record(), JobStatus.RUNNING, plan)
    waiting = store.hand_over(job, plan, worker="w1", progress=0.05, seconds=1.0)
    with pytest.raises(Conflict, match="queued for sampling, not for planning"):
        store.start(job, worker="w2", stage=Stage.PLANNING)
    assert store.get(job) == waiting


# reports


@pytest.mark.parametrize("status", JobStatus)
def test_a_report_changes_running_jobs_only_and_answers_the_status(
    status: JobStatus, store: JobStore, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(), status, plan)
    before = store.get(job)
    if before.worker is None:
        with pytest.raises(Conflict, match=f"is {status}, and not in this worker's hands"):
            store.report(job, worker="w1", stage=Stage.DECODING, progress=0.9, step=4)
    else:
        assert store.report(job, worker="w1", stage=Stage.DECODING, progress=0.9, step=4) is status
    assert (store.get(job) == before) == (status is not JobStatus.RUNNING)


def test_a_report_on_a_deleted_job_leaves_nothing(
    store: JobStore, text_client: redis.Redis, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(), JobStatus.FAILED, plan)
    store.delete(job)
    with pytest.raises(NotFound):
        store.report(job, worker="w1", stage=Stage.SAMPLING, progress=0.5, step=2)
    assert dump(text_client) == {"jobs:stored": {job}, "jobs:owners": {"anyone"}}


# deleting


@pytest.mark.parametrize("status", JobStatus)
def test_delete_takes_ended_jobs_and_nothing_remains_but_a_note_to_look_after_the_storage(
    status: JobStatus, store: JobStore, text_client: redis.Redis, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(), status, plan)
    if status.is_terminal:
        store.delete(job)
        assert dump(text_client) == {"jobs:stored": {job}, "jobs:owners": {"anyone"}}
        assert store.leftovers() == {job: None}
        with pytest.raises(NotFound):
            store.get(job)
    else:
        with pytest.raises(Conflict, match="cancel it first"):
            store.delete(job)
        assert store.get(job).status is status


def test_delete_takes_the_plan_too(
    store: JobStore, text_client: redis.Redis, make_record: MakeRecord, plan: Plan
) -> None:
    record = make_record()
    store.create(record, plan)
    store.cancel(record.id)
    store.delete(record.id)
    assert dump(text_client) == {"jobs:stored": {record.id}, "jobs:owners": {"anyone"}}


def test_delete_of_an_unknown_job(store: JobStore) -> None:
    with pytest.raises(NotFound):
        store.delete(UNKNOWN)


def test_of_many_who_delete_a_job_one_does(store: JobStore, make_record: MakeRecord, plan: Plan) -> None:
    job = in_status(store, make_record(), JobStatus.FAILED, plan)
    record = store.get(job)
    outcomes = race(*[lambda: store.delete(job)] * 8)
    assert outcomes.count(record) == 1
    assert sum(isinstance(outcome, NotFound) for outcome in outcomes) == 7


def test_jobs_by_the_time_of_their_end(text_client: redis.Redis, make_record: MakeRecord) -> None:
    """Created in one order, ended in another, a minute apart; and one that has not ended."""
    clock = [datetime(2026, 3, 1, 12, minute, tzinfo=UTC) for minute in range(3)]
    records = [make_record() for _ in range(4)]
    for record in records:
        JobStore(text_client).create(record, None)
    last, middle, first, _ = (record.id for record in records)
    for job, moment in zip((first, middle, last), clock, strict=True):
        JobStore(text_client, now=lambda moment=moment: moment).cancel(job)  # type: ignore[misc]
    store = JobStore(text_client)
    assert store.ended_before(clock[2], limit=9) == (first, middle)
    assert store.ended_before(clock[2] + timedelta(microseconds=1), limit=9) == (first, middle, last)
    assert store.ended_before(clock[2], limit=1) == (first,)


def test_a_round_of_tidying_up_is_one_hands(store: JobStore) -> None:
    assert race(*[lambda: store.may_tidy_up(30.0)] * 8).count(True) == 1  # type: ignore[arg-type]
    assert not store.may_tidy_up(30.0)


# lists


def pages(store: JobStore, limit: int, status: JobStatus | None = None) -> list[list[str]]:
    found: list[list[str]] = []
    after = None
    while page := store.list(status=status, after=after, limit=limit).jobs:
        found.append([record.id for record in page])
        assert len(found) < 20, f"the pages do not end: {found}"
        after = page[-1].id
    return found


def test_pages_newest_first(store: JobStore, make_record: MakeRecord) -> None:
    ids = [make_and_create(store, make_record) for _ in range(5)]
    assert pages(store, 2) == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    assert pages(store, 99) == [ids[::-1]]


def test_pages_of_one_status(store: JobStore, make_record: MakeRecord) -> None:
    ids = [make_and_create(store, make_record) for _ in range(6)]
    for job in ids[::2]:
        store.cancel(job)
    assert pages(store, 2, JobStatus.CANCELED) == [[ids[4], ids[2]], [ids[0]]]
    assert pages(store, 2, JobStatus.QUEUED) == [[ids[5], ids[3]], [ids[1]]]
    assert pages(store, 2, JobStatus.FAILED) == []


def test_a_page_may_begin_after_a_job_that_has_another_status_by_now(store: JobStore, make_record: MakeRecord) -> None:
    ids = [make_and_create(store, make_record) for _ in range(3)]
    store.cancel(ids[1])
    assert [record.id for record in store.list(status=JobStatus.QUEUED, after=ids[1], limit=5).jobs] == [ids[0]]


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("status", [None, JobStatus.QUEUED])
def test_jobs_of_the_same_microsecond_are_listed_once_each(
    limit: int, status: JobStatus | None, store: JobStore, make_record: MakeRecord
) -> None:
    moment = datetime(2026, 3, 1, 14, 0, 0, 123456, tzinfo=UTC)
    ids = [make_and_create(store, make_record, created_at=moment) for _ in range(4)]
    older = make_and_create(store, make_record, created_at=moment - timedelta(microseconds=1))
    newer = make_and_create(store, make_record, created_at=moment + timedelta(microseconds=1))
    listed = list(itertools.chain.from_iterable(pages(store, limit, status)))
    assert listed == [newer, *sorted(ids, reverse=True), older]


def test_a_page_after_an_unknown_job(store: JobStore) -> None:
    with pytest.raises(NotFound, match=UNKNOWN):
        store.list(after=UNKNOWN, limit=5)


def make_and_create(store: JobStore, make_record: MakeRecord, **changes: object) -> str:
    record = make_record(**changes)
    store.create(record, None)
    return record.id


# races


def race(*runners: Callable[[], object]) -> list[object]:
    """Call them at once in threads of their own; what they answer or raise, in order."""
    outcomes: list[object] = [None] * len(runners)
    gate = threading.Barrier(len(runners))

    def run(index: int) -> None:
        gate.wait()
        try:
            outcomes[index] = runners[index]()
        except (Conflict, NotFound) as refusal:
            outcomes[index] = refusal

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(runners))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_of_cancel_and_succeed_exactly_one_wins(store: JobStore, make_record: MakeRecord, plan: Plan) -> None:
    for _ in range(30):
        job = in_status(store, make_record(), JobStatus.RUNNING, plan)
        canceled, succeeded = race(
            lambda job=job: store.cancel(job),  # type: ignore[misc]
            lambda job=job: MOVES["succeed"](store, job, plan),  # type: ignore[misc]
        )
        assert isinstance(canceled, JobRecord)
        if isinstance(succeeded, Conflict):
            assert (canceled.status, store.get(job).status) == (JobStatus.CANCELING, JobStatus.CANCELING)
        else:
            assert (canceled.status, store.get(job).status) == (JobStatus.SUCCEEDED, JobStatus.SUCCEEDED)


def test_of_many_workers_exactly_one_starts_a_job(store: JobStore, make_record: MakeRecord) -> None:
    record = make_record()
    store.create(record, None)
    workers = [f"w{number}" for number in range(8)]
    outcomes = race(
        *(lambda name=name: store.start(record.id, worker=name, stage=Stage.PLANNING) for name in workers)  # type: ignore[misc]
    )
    winners = [outcome.worker for outcome in outcomes if isinstance(outcome, JobRecord)]
    assert winners == [store.get(record.id).worker]


def test_moves_do_not_lose_reports_made_meanwhile(store: JobStore, make_record: MakeRecord, plan: Plan) -> None:
    job = in_status(store, make_record(), JobStatus.RUNNING, plan)
    race(
        lambda: [
            store.report(job, worker="w1", stage=Stage.SAMPLING, progress=0.01 * step, step=step)
            for step in range(1, 50)
        ],
        lambda: store.cancel(job),
    )
    record = store.get(job)
    assert record.status is JobStatus.CANCELING
    assert record.progress == pytest.approx(0.01 * record.step)


# outages


def test_every_method_says_that_redis_does_not_answer(
    no_redis: redis.Redis, make_record: MakeRecord, plan: Plan
) -> None:
    store = JobStore(no_redis)
    calls: list[Callable[[], object]] = [
        lambda: store.get(UNKNOWN),
        lambda: store.plan(UNKNOWN),
        lambda: store.list(limit=1),
        lambda: store.counts(),
        lambda: store.some([UNKNOWN]),
        lambda: store.queued(),
        lambda: store.adds_up(outside=()),
        lambda: store.take_due(1),
        lambda: store.held(),
        lambda: store.note_objects(UNKNOWN),
        lambda: store.leftovers(),
        lambda: store.forget_objects(UNKNOWN),
        lambda: store.create(make_record(), None),
        lambda: store.report(UNKNOWN, worker="w1", stage=Stage.SAMPLING, progress=0.0, step=0),
        lambda: store.cancel(UNKNOWN),
        lambda: store.delete(UNKNOWN),
        lambda: store.ended_before(datetime.now(UTC), limit=1),
        lambda: store.may_tidy_up(1.0),
        *(lambda move=move: move(store, UNKNOWN, plan) for move in MOVES.values()),
    ]
    for call in calls:
        with pytest.raises(Unavailable, match="Redis does not answer"):
            call()


def test_an_answer_lost_in_transit_is_no_conflict(
    store: JobStore, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks after Redis has written the move and before it could say so."""
    record = make_record()
    store.create(record, None)
    read = Connection.read_response
    lost: list[object] = []

    def losing(self: Connection, *arguments: object, **options: object) -> object:
        answer = read(self, *arguments, **options)
        if not lost and isinstance(answer, list) and len(answer) == 5:  # EXEC's: HSET, two ZREM, two ZADD
            lost.append(answer)
            raise redis.ConnectionError("the answer is lost")
        return answer

    monkeypatch.setattr(Connection, "read_response", losing)
    started = store.start(record.id, worker="w1", stage=Stage.PLANNING)
    assert lost
    assert (started.status, started.worker) == (JobStatus.RUNNING, "w1")
    assert store.get(record.id) == started


def test_a_full_redis_is_an_outage(store: JobStore, text_client: redis.Redis, make_record: MakeRecord) -> None:
    text_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable, match="takes no writes"):
            store.create(make_record(), None)
    finally:
        text_client.config_set("maxmemory", 0)


def test_a_redis_that_takes_no_writes_is_an_outage(
    store: JobStore,
    refusing_writes: Callable[[], AbstractContextManager[None]],
    make_record: MakeRecord,
    plan: Plan,
) -> None:
    job = in_status(store, make_record(), JobStatus.RUNNING, plan)
    calls: list[Callable[[], object]] = [
        lambda: store.create(make_record(), None),
        lambda: store.report(job, worker="w1", stage=Stage.SAMPLING, progress=0.5, step=1),
        lambda: store.cancel(job),
    ]
    with refusing_writes():
        for call in calls:
            with pytest.raises(Unavailable, match="takes no writes"):
                call()
        assert store.get(job).status is JobStatus.RUNNING


# what is in Redis


def test_records_are_json_field_by_field(store: JobStore, text_client: redis.Redis, make_record: MakeRecord) -> None:
    record = make_record()
    store.create(record, None)
    fields = text_client.hgetall(f"job:{record.id}")
    assert set(fields) == set(JobRecord.model_fields)
    assert json.loads(fields["settings"])["seed"] == 7
    assert json.loads(fields["status"]) == "queued"


def test_a_job_is_created_once(store: JobStore, make_record: MakeRecord, plan: Plan) -> None:
    record = make_record()
    store.create(record, None)
    store.create(record, None)  # sent again, since the first answer was lost
    store.start(record.id, worker="w1", stage=Stage.PLANNING)
    other = record.model_copy(update={"created_at": record.created_at + timedelta(microseconds=1), "prompt": "a dog"})
    with pytest.raises(Conflict):
        store.create(other, plan)
    assert store.get(record.id).worker == "w1"
    assert store.get(record.id).prompt == record.prompt
    assert store.plan(record.id) is None
