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
from generator_service.jobs.queues import queue_of
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
Start = Callable[..., JobRecord]

RESULTS = Results(video="v", plan="p", preview="w", manifest="m", report="r")
UNKNOWN = "f" * 32

Move = Callable[[JobStore, str, Plan], JobRecord | None]

GONE = LanguageModelUnavailable("no vLLM")

MOVES: dict[str, Move] = {
    "start": lambda store, job, plan: store.start("plan", worker="w1"),
    "hand_over": lambda store, job, plan: store.hand_over(job, plan, worker="w1", progress=0.05, seconds=1.0),
    "release": lambda store, job, plan: store.release(job, worker="w1"),
    "retry_later": lambda store, job, plan: store.retry_later(job, GONE, worker="w1", pause=timedelta(0)),
    "reclaim": lambda store, job, plan: store.reclaim(held(store, job), "dead", attempts=2, pause=timedelta(0)),
    "succeed": lambda store, job, plan: store.succeed(job, worker="w1", results=RESULTS, diagnostics=Diagnostics()),
    "fail": lambda store, job, plan: store.fail(job, RenderingFailed("broken"), worker="w1"),
    "confirm_cancel": lambda store, job, plan: store.confirm_cancel(job, worker="w1"),
}


def held(store: JobStore, job: str) -> JobRecord:
    """The job as another process has seen it, in the hands of a worker."""
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
    (JobStatus.RUNNING, "hand_over"): JobStatus.QUEUED,
    (JobStatus.RUNNING, "release"): JobStatus.QUEUED,
    (JobStatus.RUNNING, "retry_later"): JobStatus.QUEUED,
    (JobStatus.RUNNING, "reclaim"): JobStatus.QUEUED,
    (JobStatus.CANCELING, "reclaim"): JobStatus.CANCELED,
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
    before = dump(text_client)
    if move == "start" and target is None:
        assert MOVES[move](store, job, plan) is None
        assert dump(text_client) == before
    elif target is None:
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
    """`cancel` and `promote` are the only other moves: to canceled or canceling; from delayed to waiting."""
    moves = {(status, target) for (status, _), target in LEGAL.items()}
    moves |= {(JobStatus.QUEUED, JobStatus.CANCELED), (JobStatus.RUNNING, JobStatus.CANCELING)}
    moves |= {(JobStatus.QUEUED, JobStatus.QUEUED)}
    assert moves == {(status, successor) for status in JobStatus for successor in successors(status)}


@pytest.mark.parametrize("move", [move for move in MOVES if move != "start"])
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

    planning = store.start("plan", worker="plan-1")
    assert planning is not None
    assert (planning.worker, planning.stage) == ("plan-1", Stage.PLANNING)
    assert planning.started_at is not None
    assert planning.started_at > new.created_at

    waiting = store.hand_over(new.id, plan, worker="plan-1", progress=0.05, seconds=1.5)
    assert (waiting.worker, waiting.running_since, waiting.stage) == (None, None, Stage.SAMPLING)
    assert waiting.progress == 0.05
    assert store.plan(new.id) == plan

    rendering = store.start("render.emoji-world", worker="render-1")
    assert rendering is not None
    assert rendering.started_at == planning.started_at  # the first start
    assert rendering.running_since is not None
    assert rendering.running_since > planning.started_at
    assert store.report(new.id, worker="render-1", stage=Stage.SAMPLING, progress=0.5, step=2) is JobStatus.RUNNING
    halfway = store.get(new.id)
    assert (halfway.stage, halfway.progress, halfway.step) == (Stage.SAMPLING, 0.5, 2)

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
    store.start("plan", worker="w1")
    failed = store.fail(record.id, PlanningFailed("no instance found"), worker="w1")
    assert failed.error is not None
    assert failed.error.model_dump() == {
        "code": "planning_failed",
        "message": "no instance found",
        "retryable": False,
    }
    assert failed.finished_at is not None


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.CANCELING])
def test_a_worker_ends_no_job_that_another_has(
    status: JobStatus, store: JobStore, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(), status, plan)
    before = store.get(job)
    with pytest.raises(Conflict, match="not in this worker's hands"):
        store.fail(job, RenderingFailed("broken"), worker="w2")
    with pytest.raises(Conflict):
        store.confirm_cancel(job, worker="w2")
    assert store.get(job) == before


LATE: dict[str, Callable[[JobStore, str, str, Plan], object]] = {
    "report": lambda store, job, worker, plan: store.report(
        job, worker=worker, stage=Stage.PLANNING, progress=0.9, step=4
    ),
    "hand_over": lambda store, job, worker, plan: store.hand_over(job, plan, worker=worker, progress=0.05, seconds=1.0),
    "release": lambda store, job, worker, plan: store.release(job, worker=worker),
    "retry_later": lambda store, job, worker, plan: store.retry_later(job, GONE, worker=worker, pause=timedelta(0)),
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
    store.reclaim(store.get(job), "dead", attempts=2, pause=timedelta(0))
    if restarted:
        store.promote(job)
        store.start("plan", worker="w2")
    before = dump(text_client)
    with pytest.raises(Conflict):
        LATE[late](store, job, "w1", plan)
    assert dump(text_client) == before


# reclaimed, released, retried later, promoted


@pytest.mark.parametrize("stage", Stage)
def test_a_reclaimed_job_begins_its_next_attempt_after_the_pause(
    stage: Stage, text_client: redis.Redis, make_record: MakeRecord
) -> None:
    now = datetime(2026, 3, 1, 13, tzinfo=UTC)
    store = JobStore(text_client, now=lambda: now)
    begin = Stage.PLANNING if stage is Stage.PLANNING else Stage.SAMPLING
    record = make_record(stage=begin)
    store.create(record, None)
    store.start(queue_of(record), worker="w1")
    store.report(record.id, worker="w1", stage=stage, progress=0.9, step=3)
    again = store.reclaim(store.get(record.id), "dead", attempts=2, pause=timedelta(seconds=8))
    assert (again.status, again.stage, again.worker, again.running_since) == (JobStatus.QUEUED, begin, None, None)
    assert (again.attempt, again.progress, again.step) == (2, 0.0, 0)
    assert again.retry_at == now + timedelta(seconds=8)
    assert store.start(queue_of(record), worker="w2") is None  # not yet
    now += timedelta(seconds=8)
    assert store.promote(record.id).retry_at is None
    assert store.start(queue_of(record), worker="w2") == store.get(record.id)


def test_after_the_last_attempt_the_job_has_failed_and_says_why(
    store: JobStore, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(attempt=3), JobStatus.RUNNING, plan)
    failed = store.reclaim(store.get(job), "its worker fell silent", attempts=3, pause=timedelta(0))
    assert (failed.status, failed.attempt, failed.worker) == (JobStatus.FAILED, 3, None)
    assert failed.error is not None
    assert failed.error.model_dump() == {
        "code": "unavailable",
        "message": "its worker fell silent, in attempt 3 of 3",
        "retryable": True,
    }


def test_a_released_job_has_lost_no_attempt_and_no_progress(
    store: JobStore, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(stage=Stage.PLANNING), JobStatus.RUNNING, plan)
    store.report(job, worker="w1", stage=Stage.PLANNING, progress=0.02, step=0)
    again = store.release(job, worker="w1")
    assert (again.status, again.attempt, again.progress, again.worker) == (JobStatus.QUEUED, 1, 0.02, None)
    assert again.retry_at is None  # at once


def test_a_job_retried_later_says_what_was_gone_and_for_how_long_until_it_was_there(
    text_client: redis.Redis, make_record: MakeRecord, plan: Plan
) -> None:
    """It is tried for 20 s, paused for 3 s, waits in the queue for 11 minutes, and is tried for 1 s."""
    now = datetime(2026, 3, 1, 13, tzinfo=UTC)
    store = JobStore(text_client, now=lambda: now)
    job = in_status(store, make_record(), JobStatus.RUNNING, plan)
    now += timedelta(seconds=20)
    first = store.retry_later(job, GONE, worker="w1", pause=timedelta(seconds=3))
    since = first.updated_at
    assert first == store.get(job)
    assert (first.status, first.stage, first.attempt, first.worker) == (JobStatus.QUEUED, Stage.PLANNING, 1, None)
    assert first.retry_at == since + timedelta(seconds=3)
    assert first.waiting_for == Missing(code="language_model_unavailable", message="no vLLM", since=since, seconds=23)

    now += timedelta(seconds=3)
    store.promote(job)
    now += timedelta(minutes=11)
    again = store.start("plan", worker="w2")
    assert again is not None
    assert again.waiting_for == first.waiting_for
    now += timedelta(seconds=1)
    second = store.retry_later(job, PlannerUnavailable("no planner"), worker="w2", pause=timedelta(0))
    assert second.waiting_for == Missing(code="planner_unavailable", message="no planner", since=since, seconds=24)

    store.promote(job)
    store.start("plan", worker="w3")
    assert store.hand_over(job, plan, worker="w3", progress=0.05, seconds=1.0).waiting_for is None


def test_delayed_jobs_are_promoted_once_their_time_has_come_those_first_whose_came_first(
    text_client: redis.Redis, make_record: MakeRecord, plan: Plan, start: Start
) -> None:
    now = datetime(2026, 3, 1, 13, tzinfo=UTC)
    store = JobStore(text_client, now=lambda: now)

    def delayed(seconds: int, stage: Stage = Stage.PLANNING) -> str:
        job = in_status(store, make_record(stage=stage), JobStatus.QUEUED, plan)
        start(job, store=store)
        return store.retry_later(job, GONE, worker="w1", pause=timedelta(seconds=seconds)).id

    third, first, second, _ = [delayed(seconds) for seconds in (3, 1, 2, 9)]
    store.cancel(delayed(1))
    rendered = delayed(3, Stage.SAMPLING)
    assert store.promote_due(2) == ()
    with pytest.raises(Conflict, match="not due"):
        store.promote(first)
    now += timedelta(seconds=3)
    assert {record.id for record in store.promote_due(2)} == {first, second, rendered}  # two for each queue
    assert store.promote_due(2) == (store.get(third),)
    assert store.promote_due(2) == ()
    with pytest.raises(Conflict, match="not due"):
        store.promote(first)


def test_a_delayed_job_is_canceled_at_once(store: JobStore, make_record: MakeRecord, plan: Plan) -> None:
    job = in_status(store, make_record(), JobStatus.RUNNING, plan)
    store.retry_later(job, GONE, worker="w1", pause=timedelta(seconds=3))
    ended = store.cancel(job)
    assert (ended.status, ended.waiting_for, ended.retry_at) == (JobStatus.CANCELED, None, None)


def test_a_job_that_is_seen_twice_is_reclaimed_once(store: JobStore, make_record: MakeRecord, plan: Plan) -> None:
    """Worker and attempt are the same each time, so only the time of its start can tell."""
    job = in_status(store, make_record(), JobStatus.RUNNING, plan)
    seen = store.get(job)
    store.release(job, worker="w1")
    running = store.start("plan", worker="w1")
    with pytest.raises(Conflict):
        store.reclaim(seen, "dead", attempts=9, pause=timedelta(0))
    assert store.get(job) == running


# turns


def turns(store: JobStore, client: redis.Redis) -> dict[str, str]:
    """Every place of each job in the queues."""
    places: dict[str, str] = {}
    for key in (*client.scan_iter("waiting:*"), *client.scan_iter("delayed:*")):
        for job in client.zrange(key, 0, -1):
            assert job not in places, f"{job} is in {places[job]} and in {key}"
            places[job] = key
    return places


@pytest.mark.parametrize("stage", [Stage.PLANNING, Stage.SAMPLING])
@pytest.mark.parametrize("status", JobStatus)
def test_a_job_has_a_turn_while_it_is_queued_and_no_longer(
    status: JobStatus, stage: Stage, store: JobStore, text_client: redis.Redis, make_record: MakeRecord, start: Start,
    plan: Plan,
) -> None:  # fmt: skip
    record = make_record(stage=stage)
    store.create(record, None)
    if status not in (JobStatus.QUEUED, JobStatus.CANCELED):
        start(record.id)
    if status in (JobStatus.CANCELED, JobStatus.CANCELING):
        store.cancel(record.id)
    if status in (JobStatus.SUCCEEDED, JobStatus.FAILED):
        MOVES[status.value.removesuffix("ed")](store, record.id, plan)
    expected = {record.id: f"waiting:{queue_of(record)}"} if status is JobStatus.QUEUED else {}
    assert store.get(record.id).status is status
    assert turns(store, text_client) == expected


def test_who_lets_go_of_a_job_gives_it_a_turn(
    store: JobStore, text_client: redis.Redis, make_record: MakeRecord, start: Start, plan: Plan
) -> None:
    """Released: before all others.  Planned: behind those that wait for a render.  Reclaimed, and to be retried: later,
    then before the others, and where a part is missing, in turn."""
    pause = timedelta(0)
    released, planned, reclaimed, retried, other = (make_record() for _ in range(5))
    rendered = make_record(stage=Stage.SAMPLING)
    for record in (released, planned, reclaimed, retried, other, rendered):
        store.create(record, None)
    for record in (released, planned, reclaimed, retried):
        start(record.id)
    store.release(released.id, worker="w1")
    store.hand_over(planned.id, plan, worker="w1", progress=0.05, seconds=1.0)
    store.reclaim(store.get(reclaimed.id), "dead", attempts=2, pause=pause)
    store.retry_later(retried.id, GONE, worker="w1", pause=pause)
    assert text_client.zrange("waiting:plan", 0, -1) == [released.id, other.id]
    assert text_client.zrange("waiting:render.emoji-world", 0, -1) == [rendered.id, planned.id]
    assert set(text_client.zrange("delayed:plan", 0, -1)) == {reclaimed.id, retried.id}
    released_again = start(released.id)
    store.promote_due(9)
    assert text_client.zrange("waiting:plan", 0, -1) == [reclaimed.id, other.id, retried.id]
    assert text_client.exists("delayed:plan") == 0
    assert released_again.attempt == 1


def test_a_start_passes_over_what_is_not_queued_or_cannot_be_read(
    store: JobStore, text_client: redis.Redis, make_record: MakeRecord
) -> None:
    """The unreadable one waits behind all others, for a worker that may read it."""
    unreadable, gone, ended, sound = (make_record() for _ in range(4))
    for record in (unreadable, gone, ended, sound):
        store.create(record, None)
    settings = text_client.hget(f"job:{unreadable.id}", "settings")
    text_client.hset(f"job:{unreadable.id}", "settings", "{}")
    text_client.delete(f"job:{gone.id}")
    text_client.hset(f"job:{ended.id}", "status", '"failed"')
    started = store.start("plan", worker="w1")
    assert started is not None
    assert started.id == sound.id
    for _ in range(2):
        assert store.start("plan", worker="w2") is None
    assert turns(store, text_client) == {unreadable.id: "waiting:plan"}

    store.create(later := make_record(), None)
    assert text_client.zrange("waiting:plan", 0, -1) == [later.id, unreadable.id]
    text_client.hset(f"job:{unreadable.id}", "settings", settings)
    starts = [store.start("plan", worker="w3") for _ in range(3)]
    assert [record and record.id for record in starts] == [later.id, unreadable.id, None]


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
    assert dump(text_client) == {"jobs:stored": {job}, "jobs:owners": {"anyone"}, "jobs:bytes": {"anyone": "0"}}


# deleting


@pytest.mark.parametrize("status", JobStatus)
def test_delete_takes_ended_jobs_and_nothing_remains_but_a_note_to_look_after_the_storage(
    status: JobStatus, store: JobStore, text_client: redis.Redis, make_record: MakeRecord, plan: Plan
) -> None:
    job = in_status(store, make_record(), status, plan)
    if status.is_terminal:
        store.delete(job)
        assert dump(text_client) == {"jobs:stored": {job}, "jobs:owners": {"anyone"}, "jobs:bytes": {"anyone": "0"}}
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
    assert dump(text_client) == {"jobs:stored": {record.id}, "jobs:owners": {"anyone"}, "jobs:bytes": {"anyone": "0"}}


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
    assert store.list_ended_before(clock[2], limit=9) == (first, middle)
    assert store.list_ended_before(clock[2] + timedelta(microseconds=1), limit=9) == (first, middle, last)
    assert store.list_ended_before(clock[2], limit=1) == (first,)


def test_a_round_of_a_task_is_one_hands(store: JobStore) -> None:
    assert race(*[lambda: store.claim_round("x", 30.0)] * 8).count(True) == 1  # type: ignore[arg-type]
    assert not store.claim_round("x", 30.0)
    assert store.claim_round("y", 30.0)


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
    outcomes = race(*(lambda name=name: store.start("plan", worker=name) for name in workers))  # type: ignore[misc]
    winners = [outcome.worker for outcome in outcomes if isinstance(outcome, JobRecord)]
    assert winners == [store.get(record.id).worker]
    assert outcomes.count(None) == 7


def test_many_workers_start_each_job_once(store: JobStore, make_record: MakeRecord) -> None:
    jobs = [make_and_create(store, make_record, owner=owner) for owner in "abc" for _ in range(10)]

    def work(name: str) -> list[str]:
        taken = []
        while (record := store.start("plan", worker=name)) is not None:
            taken.append(record.id)
        return taken

    outcomes = race(*(lambda name=f"w{number}": work(name) for number in range(6)))  # type: ignore[misc]
    assert sorted(itertools.chain.from_iterable(outcomes)) == sorted(jobs)  # type: ignore[arg-type]


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
        lambda: store.get_many([UNKNOWN]),
        lambda: store.fronts(1),
        lambda: store.promote_due(1),
        lambda: store.promote(UNKNOWN),
        lambda: store.list_running(),
        lambda: store.now(),
        lambda: store.note_objects(UNKNOWN),
        lambda: store.leftovers(),
        lambda: store.forget_objects(UNKNOWN),
        lambda: store.create(make_record(), None),
        lambda: store.report(UNKNOWN, worker="w1", stage=Stage.SAMPLING, progress=0.0, step=0),
        lambda: store.cancel(UNKNOWN),
        lambda: store.delete(UNKNOWN),
        lambda: store.list_ended_before(datetime.now(UTC), limit=1),
        lambda: store.claim_round("x", 1.0),
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
        if (
            not lost and isinstance(answer, list) and len(answer) == 6
        ):  # EXEC's: HSET, two ZREM, two ZADD, the turn's script
            lost.append(answer)
            raise redis.ConnectionError("the answer is lost")
        return answer

    monkeypatch.setattr(Connection, "read_response", losing)
    started = store.start("plan", worker="w1")
    assert lost
    assert started is not None
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
    assert set(fields) == {*JobRecord.model_fields, "bytes"}
    assert json.loads(fields["settings"])["seed"] == 7
    assert json.loads(fields["status"]) == "queued"


def test_a_job_is_created_once(store: JobStore, make_record: MakeRecord, plan: Plan) -> None:
    record = make_record()
    store.create(record, None)
    store.create(record, None)  # sent again, since the first answer was lost
    store.start("plan", worker="w1")
    other = record.model_copy(update={"created_at": record.created_at + timedelta(microseconds=1), "prompt": "a dog"})
    with pytest.raises(Conflict):
        store.create(other, plan)
    assert store.get(record.id).worker == "w1"
    assert store.get(record.id).prompt == record.prompt
    assert store.plan(record.id) is None
