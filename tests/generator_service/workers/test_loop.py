"""The loop around the jobs, in this process: signals, tickets, outages."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from pydantic import SecretStr
from rq import Queue
from rq.serializers import JSONSerializer
from structlog.testing import capture_logs

from deploy.servers import embedded_valkey, free_ports
from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.connection import connect
from generator_service.jobs.queues import PLAN_QUEUE
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from generator_service.workers import loop
from generator_service.workers.loop import WorkerUnfit, work_until_stopped, worker_name

Submit = Callable[..., JobRecord]


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """RQ installs its own; whatever goes wrong, pytest gets its back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def work(tickets: Tickets, take_turn: Callable[[], object], job_seconds: int = 600) -> None:
    """Work on the queue of plans until stopped."""
    queue, name = tickets.queue(PLAN_QUEUE), worker_name("plan")
    work_until_stopped(queue, name, cast(Callable[[], None], take_turn), job_seconds, threading.Event())


def stop(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_the_job_finish_and_takes_no_other(number: signal.Signals, tickets: Tickets) -> None:
    done: list[str] = []

    def take_turn() -> None:
        stop(number)
        time.sleep(0.1)
        done.append("to its end")

    for _ in range(2):
        tickets.add(PLAN_QUEUE)
    work(tickets, take_turn)
    assert done == ["to its end"]
    assert tickets.queue(PLAN_QUEUE).count == 1


def test_an_idle_worker_stops_at_once(tickets: Tickets) -> None:
    stopped_at: list[float] = []

    def stop_when_idle() -> None:
        time.sleep(1.5)
        stopped_at.append(time.monotonic())
        stop()

    thread = threading.Thread(target=stop_when_idle)
    thread.start()
    work(tickets, lambda: pytest.fail("there is no ticket"))
    assert time.monotonic() - stopped_at[0] < 5
    thread.join()


def test_the_second_signal_ends_the_job(tickets: Tickets, submit: Submit, store: JobStore, attempts: Any) -> None:
    reached: list[str] = []

    def stop_twice(_: JobRecord) -> None:
        stop()
        reached.append("after the first")
        stop()
        time.sleep(2)
        reached.append("after the second")

    job = submit().id
    work(tickets, lambda: attempts(Stage.PLANNING).take_turn(stop_twice))
    assert reached == ["after the first"]
    record = store.get(job)
    assert (record.status, record.attempt, record.error) == (JobStatus.QUEUED, 1, None)


def test_a_job_that_does_not_come_to_an_end_is_hurried(
    tickets: Tickets,
    submit: Submit,
    store: JobStore,
    attempts: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And handed back, which is no error."""
    monkeypatch.setattr(loop, "STOP_SECONDS", 0.1)
    reached: list[str] = []

    def hang(_: JobRecord) -> None:
        stop()
        threading.Event().wait(10)
        reached.append("the end, and nobody hurried")

    job = submit().id
    work(tickets, lambda: attempts(Stage.PLANNING).take_turn(hang))
    assert reached == []
    assert store.get(job).status is JobStatus.QUEUED
    assert [entry for entry in caplog.records if entry.levelno >= logging.ERROR] == []


def test_a_job_that_takes_too_long_fails_and_the_next_one_is_done(
    tickets: Tickets, submit: Submit, store: JobStore, attempts: Any
) -> None:
    long, last = submit().id, submit().id

    def do(record: JobRecord) -> None:
        if record.id == long:
            time.sleep(10)
        stop()

    work(tickets, lambda: attempts(Stage.PLANNING).take_turn(do), job_seconds=1)
    error = store.get(long).error
    assert error is not None
    assert error.message == "the job took longer than it may"
    assert store.get(last).started_at is not None


def test_no_error_ends_the_worker_but_that_it_is_unfit(tickets: Tickets) -> None:
    errors: list[BaseException] = [RuntimeError(), SystemExit(3), WorkerUnfit()]
    for _ in range(5):
        tickets.add(PLAN_QUEUE)

    def take_turn() -> None:
        raise errors.pop(0)

    with pytest.raises(WorkerUnfit) as caught:
        work(tickets, take_turn)
    assert caught.value.code == 1
    assert errors == []
    assert tickets.queue(PLAN_QUEUE).count == 2


def test_a_ticket_chooses_no_code(tickets: Tickets, raw_client: redis.Redis, tmp_path: Path) -> None:
    """A worker takes its turn, whatever a ticket names."""
    touched = tmp_path / "touched"
    Queue(PLAN_QUEUE, connection=raw_client, serializer=JSONSerializer).enqueue("os.mkdir", str(touched))
    turns: list[int] = []
    work(tickets, lambda: (turns.append(1), stop()))
    assert turns == [1]
    assert not touched.exists()


def test_rq_keeps_no_trace_of_work_well_done(tickets: Tickets, raw_client: redis.Redis) -> None:
    tickets.add(PLAN_QUEUE)
    work(tickets, stop)
    assert list(raw_client.scan_iter("rq:job:*")) == []
    assert raw_client.zcard("rq:wip:plan") == 0


def test_a_redis_that_goes_away_and_comes_back_is_waited_for(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    went_away, stopped, turns = threading.Event(), threading.Event(), []
    with connect(SecretStr(f"redis://127.0.0.1:{port}/0"), decode=False) as client:

        def servers() -> None:
            with embedded_valkey(tmp_path, port):
                went_away.wait(20)
            time.sleep(0.5)  # the outage
            with embedded_valkey(tmp_path, port) as server, redis.Redis.from_url(server.url) as other:
                Tickets(other).add(PLAN_QUEUE)
                stopped.wait(20)

        def take_turn() -> None:
            turns.append(1)
            if len(turns) == 1:
                went_away.set()
                silent(client)  # the end of this ticket falls into the outage
            else:
                stop()

        thread = threading.Thread(target=servers)
        thread.start()
        try:
            answers(client)
            tickets = Tickets(client)
            tickets.add(PLAN_QUEUE)
            work(tickets, take_turn)
            assert len(turns) == 2
        finally:
            went_away.set()
            stopped.set()
            thread.join()


@contextmanager
def failed_over(url: str) -> Iterator[None]:
    """The server is another one's replica, which is what a failover makes of it: what waits there is ended."""
    with redis.Redis.from_url(url) as client:
        client.replicaof("127.0.0.1", "1")
        try:
            yield
        finally:
            client.replicaof("NO", "ONE")


@contextmanager
def busy(url: str) -> Iterator[None]:
    """A script does not come to its end."""
    with redis.Redis.from_url(url) as client, redis.Redis.from_url(url) as other:
        client.config_set("busy-reply-threshold", 100)
        endless = threading.Thread(target=lambda: _run_endless_script(other))
        endless.start()
        time.sleep(0.3)
        try:
            yield
        finally:
            client.script_kill()
            endless.join()
            client.config_set("busy-reply-threshold", 5000)


def _run_endless_script(client: redis.Redis) -> None:
    with suppress(redis.ResponseError):
        client.eval("while true do end", 0)


@pytest.mark.parametrize("outage", [failed_over, busy, "refusing_writes"])
def test_a_redis_that_answers_with_errors_is_outlived(
    outage: Any, tickets: Tickets, redis_url: str, refusing_writes: Callable[[], Any]
) -> None:
    """It strikes while a job is worked on, and while the worker waits for the next one."""
    broken = ExitStack()
    threads: list[threading.Thread] = []

    def recover() -> None:
        time.sleep(2.5)  # longer than the worker waits before it asks again
        broken.close()
        tickets.add(PLAN_QUEUE)

    def take_turn() -> None:
        if threads:
            stop()
            return
        broken.enter_context(refusing_writes() if outage == "refusing_writes" else outage(redis_url))
        threads.append(threading.Thread(target=recover))
        threads[-1].start()

    tickets.add(PLAN_QUEUE)
    with broken, capture_logs() as logs:
        work(tickets, take_turn)
    threads[0].join()
    assert "redis_unavailable" in [entry["event"] for entry in logs]


def test_a_worker_that_waits_outlives_a_failover(tickets: Tickets, redis_url: str) -> None:
    """`UNBLOCKED` ends its wait."""

    def fail_over() -> None:
        time.sleep(1.2)
        with failed_over(redis_url):
            time.sleep(1.2)
        tickets.add(PLAN_QUEUE)

    thread = threading.Thread(target=fail_over)
    thread.start()
    turns: list[int] = []
    work(tickets, lambda: (turns.append(1), stop()))
    thread.join()
    assert turns == [1]


def answers(client: redis.Redis) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            assert time.monotonic() < deadline
        else:
            return


def silent(client: redis.Redis) -> None:
    deadline = time.monotonic() + 20
    try:
        while time.monotonic() < deadline:
            client.ping()
    except redis.ConnectionError:
        return
    pytest.fail("Redis still answers")


def test_names_are_never_used_twice() -> None:
    names = {worker_name("plan") for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("plan-") for name in names)
