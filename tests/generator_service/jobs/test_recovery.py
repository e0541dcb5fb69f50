"""What died with its worker goes on, by one hand, and nobody is judged too soon; what waits has tickets."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest
import redis
from structlog.testing import capture_logs

from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs import recovery as recovery_module
from generator_service.jobs.queues import PLAN_QUEUE, render_queue
from generator_service.jobs.record import JobRecord
from generator_service.jobs.recovery import Recovery
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from generator_service.jobs.workers import BEATS_TO_EXPIRY, WorkerInfo, WorkerRegistry
from generator_service.settings import Settings
from shared.errors import LanguageModelUnavailable
from shared.plan import Plan

MakeRecord = Callable[..., JobRecord]
Start = Callable[..., JobRecord]
WaitUntil = Callable[..., None]

BEAT = 4.0
"""Seconds; they pass on the `Clock` alone."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class EveryRound(JobStore):
    """Each round is for whoever asks: the tests' clock is faster than Redis'."""

    def claim_round(self, task: str, seconds: float) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(recovery_module, "time", clock)
    return clock


@pytest.fixture
def store(text_client: redis.Redis) -> JobStore:
    return EveryRound(text_client)


@pytest.fixture
def registry(text_client: redis.Redis) -> WorkerRegistry:
    return WorkerRegistry(text_client, BEAT)


@pytest.fixture
def recovery(store: JobStore, tickets: Tickets, registry: WorkerRegistry, clock: Clock) -> Recovery:
    return Recovery(store, tickets, registry, attempts=3)


def run(recovery: Recovery, clock: Clock, beats: int) -> None:
    """Once a heartbeat, for so long."""
    for _ in range(beats + 1):
        recovery.run_once()
        clock.now += BEAT


def beat(registry: WorkerRegistry, job: str | None) -> None:
    registry.beat(WorkerInfo(name="w1", kind="plan", job=job, started_at=datetime.now(UTC)))


@pytest.fixture
def running(store: JobStore, make_record: MakeRecord) -> str:
    """A job in the hands of a worker that does not beat."""
    record = make_record()
    store.create(record, None)
    store.start(PLAN_QUEUE, worker="w1")
    return record.id


# a silent worker


def test_a_silent_workers_job_waits_for_another_attempt(
    recovery: Recovery, clock: Clock, store: JobStore, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery_module, "FIRST_PAUSE", timedelta(0))
    run(recovery, clock, BEATS_TO_EXPIRY)
    again = store.get(running)
    assert (again.status, again.attempt, again.retry_at) == (JobStatus.QUEUED, 2, None)
    assert store.positions([again]) == (0,)


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (5, 16), (40, 60)])
def test_the_pause_doubles_with_every_attempt(
    attempt: int, seconds: int, store: JobStore, tickets: Tickets, registry: WorkerRegistry, make_record: MakeRecord,
    clock: Clock,
) -> None:  # fmt: skip
    record = make_record(attempt=attempt)
    store.create(record, None)
    store.start(PLAN_QUEUE, worker="w1")
    run(Recovery(store, tickets, registry, attempts=99), clock, BEATS_TO_EXPIRY)
    again = store.get(record.id)
    assert again.retry_at is not None
    assert again.retry_at - again.updated_at == timedelta(seconds=seconds)
    assert store.positions([again]) == (None,)  # not yet


def test_attempts_used_up(recovery: Recovery, clock: Clock, store: JobStore, make_record: MakeRecord) -> None:
    record = make_record(attempt=3)
    store.create(record, None)
    store.start(PLAN_QUEUE, worker="w1")
    run(recovery, clock, BEATS_TO_EXPIRY)
    failed = store.get(record.id)
    assert failed.error is not None
    assert (failed.status, failed.error.retryable) == (JobStatus.FAILED, True)
    assert failed.error.message == "its worker fell silent, in attempt 3 of 3"


def test_a_wish_to_cancel_outlives_the_worker(recovery: Recovery, clock: Clock, store: JobStore, running: str) -> None:
    store.cancel(running)
    run(recovery, clock, BEATS_TO_EXPIRY)
    assert store.get(running).status is JobStatus.CANCELED


def test_the_job_of_a_worker_that_beats_is_left_alone(
    recovery: Recovery, clock: Clock, store: JobStore, registry: WorkerRegistry, running: str
) -> None:
    beat(registry, running)
    before = store.get(running)
    run(recovery, clock, 3 * BEATS_TO_EXPIRY)
    assert store.get(running) == before


def test_a_job_that_its_living_worker_knows_nothing_of_is_reclaimed_after_a_while(
    recovery: Recovery, clock: Clock, store: JobStore, registry: WorkerRegistry, make_record: MakeRecord
) -> None:
    """The answer to its start, or the note of its end, was lost in an outage."""
    beat(registry, None)
    run(recovery, clock, BEATS_TO_EXPIRY)  # it has watched for long
    record = make_record()
    store.create(record, None)
    store.start(PLAN_QUEUE, worker="w1")
    run(recovery, clock, BEATS_TO_EXPIRY - 1)
    assert store.get(record.id).status is JobStatus.RUNNING  # it may only just have begun
    recovery.run_once()
    assert store.get(record.id).status is JobStatus.QUEUED


def test_the_plan_of_a_reclaimed_job_is_kept(
    recovery: Recovery, clock: Clock, store: JobStore, plan: Plan, running: str
) -> None:
    store.hand_over(running, plan, worker="w1", progress=0.05, seconds=1.0)
    store.start(render_queue("emoji-world"), worker="r1")
    run(recovery, clock, BEATS_TO_EXPIRY)
    assert store.get(running).stage is Stage.SAMPLING
    assert store.plan(running) == plan


# no hasty judgement


def test_nobody_is_judged_by_the_first_looks(recovery: Recovery, clock: Clock, store: JobStore, running: str) -> None:
    run(recovery, clock, BEATS_TO_EXPIRY - 1)
    assert store.get(running).status is JobStatus.RUNNING


def test_after_a_gap_everybody_has_time_to_beat_again(
    recovery: Recovery, clock: Clock, store: JobStore, registry: WorkerRegistry, running: str
) -> None:
    beat(registry, running)
    run(recovery, clock, BEATS_TO_EXPIRY)
    registry.forget("w1")
    clock.now += 10 * BEAT  # nobody could look, and nobody could beat
    run(recovery, clock, BEATS_TO_EXPIRY - 1)
    assert store.get(running).status is JobStatus.RUNNING
    beat(registry, running)
    run(recovery, clock, BEATS_TO_EXPIRY)
    assert store.get(running).status is JobStatus.RUNNING


def test_a_worker_that_begins_during_the_look_is_not_missed(
    store: JobStore, tickets: Tickets, text_client: redis.Redis, clock: Clock, make_record: MakeRecord
) -> None:
    record = make_record()
    store.create(record, None)
    begins: list[Callable[[], object]] = []

    class Registry(WorkerRegistry):
        def alive(self) -> tuple[WorkerInfo, ...]:
            found = super().alive()
            while begins:
                begins.pop()()
            return found

    registry = Registry(text_client, BEAT)
    recovery = Recovery(store, tickets, registry, attempts=3)
    run(recovery, clock, BEATS_TO_EXPIRY)

    def begin() -> None:
        beat(registry, record.id)
        store.start(PLAN_QUEUE, worker="w1")

    begins.append(begin)
    recovery.run_once()
    assert store.get(record.id).status is JobStatus.RUNNING


# delayed jobs


def test_jobs_that_wait_for_a_part_that_is_gone_take_turns_with_others_and_keep_their_order(
    recovery: Recovery, store: JobStore, text_client: redis.Redis, make_record: MakeRecord, start: Start
) -> None:
    """Ada's three are tried again and again; between them Bob's are done."""
    adas = [make_record(owner="ada") for _ in range(3)]
    bobs = [make_record(owner="bob") for _ in range(2)]
    for record in adas:
        store.create(record, None)
        start(record.id)
    for record in reversed(adas):
        store.retry_later(record.id, LanguageModelUnavailable("no vLLM"), worker="w1", pause=timedelta(0))
    for record in bobs:
        store.create(record, None)
    recovery.run_once()
    waiting = text_client.zrange("waiting:plan", 0, -1)
    assert [job for job in waiting if job in {record.id for record in adas}] == [record.id for record in adas]
    assert {frozenset(waiting[:2]), frozenset(waiting[2:4])} == {
        frozenset({ada.id, bob.id}) for ada, bob in zip(adas, bobs, strict=False)
    }


def test_each_round_promotes_a_few_of_those_whose_time_has_come_and_reads_no_others(
    recovery: Recovery, store: JobStore, text_client: redis.Redis, make_record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def records_read() -> int:
        stats = text_client.info("commandstats")
        return int(stats.get("cmdstat_hgetall", {"calls": 0})["calls"])

    def delayed(pause: timedelta) -> str:
        record = make_record()
        store.create(record, None)
        store.start(PLAN_QUEUE, worker="w1")
        store.retry_later(record.id, LanguageModelUnavailable("no vLLM"), worker="w1", pause=pause)
        return record.id

    monkeypatch.setattr(recovery_module, "AT_ONCE", 2)
    for _ in range(7):
        delayed(timedelta(hours=1))
    before = records_read()
    recovery.run_once()
    assert records_read() == before
    due = [delayed(timedelta(0)) for _ in range(5)]
    found = []
    for _ in range(3):
        recovery.run_once()
        found.append(text_client.zrange("waiting:plan", 0, -1))
    assert found == [due[:2], due[:4], due]


# tickets


def test_there_is_a_ticket_wherever_jobs_wait(
    recovery: Recovery, store: JobStore, tickets: Tickets, make_record: MakeRecord
) -> None:
    """Lost ones are replaced; too many are left to the workers."""
    for stage in (Stage.PLANNING, Stage.PLANNING, Stage.SAMPLING):
        store.create(make_record(stage=stage), None)
    tickets.add("render.cogvideox-2b")
    for _ in range(2):
        recovery.run_once()
        counts = {name: tickets.queue(name).count for name in (PLAN_QUEUE, "render.emoji-world", "render.cogvideox-2b")}
        assert counts == {PLAN_QUEUE: 1, "render.emoji-world": 1, "render.cogvideox-2b": 1}


# many of them


def test_of_many_processes_one_acts(
    store: JobStore, tickets: Tickets, registry: WorkerRegistry, clock: Clock, make_record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(recovery_module, "FIRST_PAUSE", timedelta(0))
    pack = [Recovery(store, tickets, registry, attempts=9) for _ in range(4)]
    for recovery in pack:
        run(recovery, clock, 0)
    for number in range(1, 6):
        record = make_record()
        store.create(record, None)
        store.start(PLAN_QUEUE, worker=f"w{number}")
        for recovery in pack:
            recovery._watching_since, recovery._looked_at = clock.now - 100.0, clock.now
        at_once([recovery.run_once for recovery in pack])
        for recovery in pack:
            recovery.run_once()
        assert store.get(record.id).attempt == 2
        assert store.count_waiting()[PLAN_QUEUE] == 1
        store.cancel(record.id)


def test_of_many_processes_one_promotes_and_adds_tickets_in_each_round(
    text_client: redis.Redis, tickets: Tickets, registry: WorkerRegistry, make_record: MakeRecord
) -> None:
    store = JobStore(text_client)
    store.create(make_record(), None)
    at_once([Recovery(store, tickets, registry, attempts=9).run_once for _ in range(4)])
    assert tickets.queue(PLAN_QUEUE).count == 1


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


def test_it_runs_by_itself_and_outlives_outages(
    store: JobStore,
    tickets: Tickets,
    text_client: redis.Redis,
    refusing_writes: Callable[[], AbstractContextManager[None]],
    running: str,
    wait_until: WaitUntil,
) -> None:
    registry = WorkerRegistry(text_client, heartbeat_seconds=0.05)
    recovery = Recovery(store, tickets, registry, attempts=3)
    with capture_logs() as logs, recovery:
        with refusing_writes():
            wait_until(lambda: [entry["event"] for entry in logs].count("recovery_interrupted") > 2)
            assert store.get(running).status is JobStatus.RUNNING
        wait_until(lambda: store.positions([store.get(running)]) == (0,))
    assert not recovery._thread.is_alive()


def test_death_is_noticed_within_15_seconds_with_the_default_settings() -> None:
    """A beat may be a moment old as the worker dies, and a look just over as the beats expire."""
    heartbeat = float(Settings.model_fields["heartbeat_seconds"].default)
    assert BEATS_TO_EXPIRY * heartbeat + heartbeat <= 13  # two seconds for whatever is slow
