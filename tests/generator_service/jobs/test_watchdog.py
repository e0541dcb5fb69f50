"""What died with its worker or never reached a queue goes on, by one hand, and nobody is judged too soon."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest
import redis
from structlog.testing import capture_logs

from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs import watchdog as watchdog_module
from generator_service.jobs.delivery import PLAN_QUEUE, Delivery, render_queue
from generator_service.jobs.heartbeat import BEATS_TO_EXPIRY, WorkerInfo, WorkerRegistry
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.watchdog import Watchdog
from generator_service.settings import Settings
from shared.errors import LanguageModelUnavailable
from shared.plan import Plan

MakeRecord = Callable[..., JobRecord]
WaitUntil = Callable[..., None]

BEAT = 4.0
"""Seconds; they pass on the `Clock` alone."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watchdog_module, "time", clock)
    return clock


@pytest.fixture
def delivery(raw_client: redis.Redis) -> Delivery:
    return Delivery(raw_client, job_seconds=600)


@pytest.fixture
def registry(text_client: redis.Redis) -> WorkerRegistry:
    return WorkerRegistry(text_client, BEAT)


@pytest.fixture
def watchdog(store: JobStore, delivery: Delivery, registry: WorkerRegistry, clock: Clock) -> Watchdog:
    return Watchdog(store, delivery, registry, attempts=3)


def look(watchdog: Watchdog, clock: Clock, beats: int) -> None:
    """Once a heartbeat, for so long."""
    for _ in range(beats + 1):
        watchdog.look()
        clock.now += BEAT


def beat(registry: WorkerRegistry, job: str | None) -> None:
    registry.beat(WorkerInfo(name="w1", kind="plan", job=job, started_at=datetime.now(UTC)))


@pytest.fixture
def running(store: JobStore, make_record: MakeRecord) -> str:
    """A job in the hands of a worker that does not beat."""
    record = make_record()
    store.create(record, None)
    store.start(record.id, worker="w1", stage=Stage.PLANNING)
    return record.id


def messages(delivery: Delivery, name: str = PLAN_QUEUE) -> list[str]:
    return delivery.queue(name).job_ids


# a silent worker


def test_a_silent_workers_job_is_delivered_for_another_attempt(
    watchdog: Watchdog, clock: Clock, store: JobStore, delivery: Delivery, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_module, "FIRST_PAUSE", timedelta(0))
    look(watchdog, clock, BEATS_TO_EXPIRY)
    taken_back = store.get(running)
    assert (taken_back.status, taken_back.attempt, taken_back.delivery) == (JobStatus.QUEUED, 2, 1)
    assert messages(delivery) == []
    watchdog.look()
    assert (store.get(running).delivery, store.get(running).retry_at) == (2, None)
    assert messages(delivery) == [running]
    look(watchdog, clock, 2 * BEATS_TO_EXPIRY)
    assert messages(delivery) == [running]  # it waits there, and that is well


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (5, 16), (40, 60)])
def test_the_pause_doubles_with_every_attempt(
    attempt: int, seconds: int, store: JobStore, delivery: Delivery, registry: WorkerRegistry, make_record: MakeRecord,
    clock: Clock,
) -> None:  # fmt: skip
    record = make_record(attempt=attempt)
    store.create(record, None)
    store.start(record.id, worker="w1", stage=Stage.PLANNING)
    watchdog = Watchdog(store, delivery, registry, attempts=99)
    look(watchdog, clock, BEATS_TO_EXPIRY)
    again = store.get(record.id)
    assert again.retry_at is not None
    assert again.retry_at - again.updated_at == timedelta(seconds=seconds)
    watchdog.look()
    assert store.get(record.id).delivery == 1  # not yet


def test_attempts_used_up(
    watchdog: Watchdog, clock: Clock, store: JobStore, delivery: Delivery, make_record: MakeRecord
) -> None:
    record = make_record(attempt=3)
    store.create(record, None)
    store.start(record.id, worker="w1", stage=Stage.PLANNING)
    look(watchdog, clock, BEATS_TO_EXPIRY)
    failed = store.get(record.id)
    assert failed.error is not None
    assert (failed.status, failed.error.retryable) == (JobStatus.FAILED, True)
    assert "in attempt 3 of 3" in failed.error.message


def test_a_wish_to_cancel_outlives_the_worker(watchdog: Watchdog, clock: Clock, store: JobStore, running: str) -> None:
    store.cancel(running)
    look(watchdog, clock, BEATS_TO_EXPIRY)
    assert store.get(running).status is JobStatus.CANCELED


def test_the_job_of_a_worker_that_beats_is_left_alone(
    watchdog: Watchdog, clock: Clock, store: JobStore, registry: WorkerRegistry, running: str
) -> None:
    beat(registry, running)
    before = store.get(running)
    look(watchdog, clock, 3 * BEATS_TO_EXPIRY)
    assert store.get(running) == before


def test_a_job_that_its_living_worker_knows_nothing_of_is_taken_back_after_a_while(
    watchdog: Watchdog, clock: Clock, store: JobStore, registry: WorkerRegistry, make_record: MakeRecord
) -> None:
    """The answer to its start, or the note of its end, was lost in an outage."""
    beat(registry, None)
    look(watchdog, clock, BEATS_TO_EXPIRY)  # it has watched for long
    record = make_record()
    store.create(record, None)
    store.start(record.id, worker="w1", stage=Stage.PLANNING)
    look(watchdog, clock, BEATS_TO_EXPIRY - 1)
    assert store.get(record.id).status is JobStatus.RUNNING  # it may only just have begun
    watchdog.look()
    assert store.get(record.id).status is JobStatus.QUEUED


# no hasty judgement


def test_nobody_is_judged_by_the_first_looks(watchdog: Watchdog, clock: Clock, store: JobStore, running: str) -> None:
    look(watchdog, clock, BEATS_TO_EXPIRY - 1)
    assert store.get(running).status is JobStatus.RUNNING


def test_after_a_gap_everybody_has_time_to_beat_again(
    watchdog: Watchdog, clock: Clock, store: JobStore, registry: WorkerRegistry, running: str
) -> None:
    beat(registry, running)
    look(watchdog, clock, BEATS_TO_EXPIRY)
    registry.forget("w1")
    clock.now += 10 * BEAT  # nobody could look, and nobody could beat
    look(watchdog, clock, BEATS_TO_EXPIRY - 1)
    assert store.get(running).status is JobStatus.RUNNING
    beat(registry, running)
    look(watchdog, clock, BEATS_TO_EXPIRY)
    assert store.get(running).status is JobStatus.RUNNING


def test_a_worker_that_begins_during_the_look_is_not_missed(
    store: JobStore, delivery: Delivery, text_client: redis.Redis, clock: Clock, make_record: MakeRecord
) -> None:
    record = make_record()
    store.create(record, None)
    delivery.enqueue(record)
    begins: list[Callable[[], object]] = []

    class Registry(WorkerRegistry):
        def workers(self) -> tuple[WorkerInfo, ...]:
            found = super().workers()
            while begins:
                begins.pop()()
            return found

    registry = Registry(text_client, BEAT)
    watchdog = Watchdog(store, delivery, registry, attempts=3)
    look(watchdog, clock, BEATS_TO_EXPIRY)

    def begin() -> None:
        beat(registry, record.id)
        store.start(record.id, worker="w1", stage=Stage.PLANNING)

    begins.append(begin)
    watchdog.look()
    assert store.get(record.id).status is JobStatus.RUNNING


# a job without message


def test_a_job_that_never_reached_its_queue_is_delivered_after_a_while(
    watchdog: Watchdog, clock: Clock, store: JobStore, delivery: Delivery, make_record: MakeRecord
) -> None:
    """The API died between persisting and enqueueing it."""
    record = make_record(stage=Stage.SAMPLING)
    store.create(record, None)
    look(watchdog, clock, BEATS_TO_EXPIRY - 1)
    assert messages(delivery, render_queue("emoji-world")) == []  # it may be on its way
    look(watchdog, clock, 1)
    assert messages(delivery, render_queue("emoji-world")) == [record.id]
    assert (store.get(record.id).attempt, store.get(record.id).delivery) == (1, 2)


def test_a_job_lost_with_the_worker_that_had_just_taken_it(
    watchdog: Watchdog, clock: Clock, store: JobStore, delivery: Delivery, make_record: MakeRecord
) -> None:
    record = make_record()
    store.create(record, None)
    delivery.enqueue(record)
    assert delivery.queue(PLAN_QUEUE).order.take(1) == record.id
    look(watchdog, clock, BEATS_TO_EXPIRY)
    assert messages(delivery) == [record.id]


def test_a_job_for_a_backbone_of_a_newer_version_is_left_to_that_version(
    watchdog: Watchdog, clock: Clock, store: JobStore, delivery: Delivery, make_record: MakeRecord
) -> None:
    record = make_record(stage=Stage.SAMPLING)
    settings = record.settings.model_copy(update={"backbone": "newer"})
    store.create(record.model_copy(update={"settings": settings}), None)
    look(watchdog, clock, BEATS_TO_EXPIRY)
    assert len(delivery.queue(render_queue("newer")).order) == 0
    assert store.get(record.id).delivery == 1


def test_jobs_are_compared_where_their_numbers_differ_and_otherwise_now_and_then(
    watchdog: Watchdog, clock: Clock, store: JobStore, delivery: Delivery, text_client: redis.Redis,
    make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def comparisons() -> int:
        return int(text_client.info("commandstats").get("cmdstat_zdiff", {"calls": 0})["calls"])

    def queued() -> JobRecord:
        record = make_record()
        store.create(record, None)
        delivery.enqueue(record)
        return record

    monkeypatch.setattr(watchdog_module, "THOROUGH", 9)
    waiting = [queued() for _ in range(3)]
    before = comparisons()
    look(watchdog, clock, 8)
    assert comparisons() - before == 1  # the first of nine
    ended = queued()
    store.fail(ended.id, LanguageModelUnavailable("it cannot be withdrawn"), worker=None)
    lost = make_record()
    store.create(lost, None)
    look(watchdog, clock, BEATS_TO_EXPIRY)  # one too many, one too few: the tenth look sees it
    assert comparisons() - before == 1 + BEATS_TO_EXPIRY + 1
    assert messages(delivery)[0] == lost.id
    assert len(messages(delivery)) == len([lost, *waiting, ended])
    look(watchdog, clock, 1)
    assert comparisons() - before == 1 + BEATS_TO_EXPIRY + 3  # one too many
    delivery.withdraw(ended.id)
    look(watchdog, clock, 2)
    assert comparisons() - before == 1 + BEATS_TO_EXPIRY + 3


def test_what_is_delivered_anew_comes_first(
    watchdog: Watchdog, clock: Clock, store: JobStore, delivery: Delivery, make_record: MakeRecord
) -> None:
    lost, waiting = make_record(), make_record()
    for record in (lost, waiting):
        store.create(record, None)
    delivery.enqueue(waiting)
    look(watchdog, clock, BEATS_TO_EXPIRY)
    assert messages(delivery) == [lost.id, waiting.id]
    assert delivery.position(store.get(lost.id)) == 0
    assert store.get(waiting.id).delivery == 1


def test_jobs_that_wait_for_a_part_that_is_gone_take_turns_with_others_and_keep_their_order(
    watchdog: Watchdog, store: JobStore, delivery: Delivery, make_record: MakeRecord
) -> None:
    """Ada's three are tried again and again; between them Bob's are done."""
    adas = [make_record(owner="ada") for _ in range(3)]
    bobs = [make_record(owner="bob") for _ in range(2)]
    for record in adas:
        store.create(record, None)
        store.start(record.id, worker="w1", stage=Stage.PLANNING)
    for record in reversed(adas):
        store.postpone(record.id, LanguageModelUnavailable("no vLLM"), worker="w1", pause=timedelta(0))
    for record in bobs:
        store.create(record, None)
        delivery.enqueue(record)
    watchdog.look()
    waiting = messages(delivery)
    assert [job for job in waiting if job in {record.id for record in adas}] == [record.id for record in adas]
    assert {frozenset(waiting[:2]), frozenset(waiting[2:4])} == {
        frozenset({ada.id, bob.id}) for ada, bob in zip(adas, bobs, strict=False)
    }


@pytest.fixture
def postponed(store: JobStore, make_record: MakeRecord) -> Callable[[timedelta], str]:
    def postponed(pause: timedelta) -> str:
        record = make_record()
        store.create(record, None)
        store.start(record.id, worker="w1", stage=Stage.PLANNING)
        store.postpone(record.id, LanguageModelUnavailable("no vLLM"), worker="w1", pause=pause)
        return record.id

    return postponed


def test_each_look_takes_a_few_of_those_whose_time_has_come_and_reads_no_others(
    watchdog: Watchdog, delivery: Delivery, text_client: redis.Redis, postponed: Callable[[timedelta], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def records_read() -> int:
        stats = text_client.info("commandstats")
        return int(stats.get("cmdstat_hgetall", {"calls": 0})["calls"])

    monkeypatch.setattr(watchdog_module, "AT_ONCE", 2)
    for _ in range(7):
        postponed(timedelta(hours=1))
    before = records_read()
    watchdog.look()
    assert records_read() == before
    due = [postponed(timedelta(0)) for _ in range(5)]
    found = []
    for _ in range(3):
        watchdog.look()
        found.append(messages(delivery))
    assert found == [due[:2], due[:4], due]


def test_a_job_lost_with_the_watchdog_that_had_just_taken_it_from_those_put_aside(
    watchdog: Watchdog, clock: Clock, store: JobStore, delivery: Delivery, postponed: Callable[[timedelta], str]
) -> None:
    job = postponed(timedelta(0))
    assert [record.id for record in store.take_due(5)] == [job]
    look(watchdog, clock, BEATS_TO_EXPIRY - 1)
    assert messages(delivery) == []  # it may be at it
    look(watchdog, clock, 1)
    assert messages(delivery) == [job]
    assert (store.get(job).delivery, store.get(job).retry_at) == (2, None)


# many of them


def test_of_many_watchdogs_one_acts(
    store: JobStore, delivery: Delivery, registry: WorkerRegistry, clock: Clock, make_record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(watchdog_module, "FIRST_PAUSE", timedelta(0))
    pack = [Watchdog(store, delivery, registry, attempts=9) for _ in range(4)]
    for watchdog in pack:
        look(watchdog, clock, 0)
    clock.now += BEATS_TO_EXPIRY * BEAT - 4 * BEAT
    for attempt in range(1, 6):
        record = make_record()
        store.create(record, None)
        store.start(record.id, worker="w1", stage=Stage.PLANNING)
        for watchdog in pack:
            watchdog._watching_since, watchdog._looked_at = clock.now - 100.0, clock.now
        for _ in range(2):  # taken back, then delivered
            at_once([watchdog.look for watchdog in pack])
        assert (store.get(record.id).attempt, store.get(record.id).delivery) == (2, 2)
        assert len(messages(delivery)) == attempt


def at_once(calls: list[Callable[[], None]]) -> None:
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], None]) -> None:
        gate.wait()
        call()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# the thread


def test_it_looks_by_itself_and_outlives_outages(
    store: JobStore,
    delivery: Delivery,
    text_client: redis.Redis,
    refusing_writes: Callable[[], AbstractContextManager[None]],
    running: str,
    wait_until: WaitUntil,
) -> None:
    registry = WorkerRegistry(text_client, heartbeat_seconds=0.05)
    watchdog = Watchdog(store, delivery, registry, attempts=3)
    with capture_logs() as logs, watchdog:
        with refusing_writes():
            wait_until(lambda: [entry["event"] for entry in logs].count("watchdog_blind") > 2)
            assert store.get(running).status is JobStatus.RUNNING
        wait_until(lambda: store.get(running).delivery == 2)
    assert messages(delivery) == [running]
    assert not watchdog._thread.is_alive()


def test_death_is_noticed_within_15_seconds_with_the_default_settings() -> None:
    """A beat may be a moment old as the worker dies, and a look just over as the beats expire."""
    heartbeat = float(Settings.model_fields["heartbeat_seconds"].default)
    assert BEATS_TO_EXPIRY * heartbeat + heartbeat <= 13  # two seconds for whatever is slow


def test_a_plan_of_a_job_taken_back_is_kept(
    watchdog: Watchdog, clock: Clock, store: JobStore, plan: Plan, running: str
) -> None:
    store.hand_over(running, plan, worker="w1", progress=0.05, seconds=1.0)
    store.start(running, worker="r1", stage=Stage.SAMPLING)
    look(watchdog, clock, BEATS_TO_EXPIRY)
    assert store.get(running).stage is Stage.SAMPLING
    assert store.plan(running) == plan
