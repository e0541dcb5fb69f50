"""The loop around the jobs, in this process: signals, broken messages, outages."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from pydantic import SecretStr

from deploy.servers import embedded_valkey, free_ports
from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.connection import connect
from generator_service.jobs.queues import PLAN_QUEUE
from generator_service.jobs.delivery import Delivery
from generator_service.jobs.message import PLAN_FUNCTION
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.workers import plan_worker, resident
from generator_service.workers.plan_worker import PlanWorker
from generator_service.workers.loop import work_until_stopped, worker_name
from shared.errors import PlanningFailed

Submit = Callable[..., JobRecord]


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """RQ installs its own; whatever goes wrong, pytest gets its back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Runner:
    """Stands for a plan worker; `do` is called for each job."""

    def __init__(self, do: Callable[[str], object]) -> None:
        self.do = do
        self.done: list[str] = []

    def run(self, job_id: str) -> None:
        self.do(job_id)
        self.done.append(job_id)


def work(delivery: Delivery, do: Callable[[str], object]) -> list[str]:
    """Work on the queue of plans until stopped; the jobs whose work came to its end."""
    runner = Runner(do)
    with plan_worker.serving(cast(PlanWorker, runner)):
        work_until_stopped(delivery.queue(PLAN_QUEUE), worker_name("plan"), threading.Event())
    return runner.done


def stop(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_the_job_finish_and_takes_no_other(
    number: signal.Signals, delivery: Delivery, submit: Submit
) -> None:
    first, second = submit().id, submit().id
    assert work(delivery, lambda _: stop(number)) == [first]
    assert delivery.queue(PLAN_QUEUE).job_ids == [second]


def test_an_idle_worker_stops_at_once(
    delivery: Delivery, raw_client: redis.Redis, wait_until: Callable[..., None]
) -> None:
    def is_idle() -> bool:
        return any(raw_client.hget(key, "state") == b"idle" for key in raw_client.scan_iter("rq:worker:*"))

    stopped_at: list[float] = []

    def stop_when_idle() -> None:
        wait_until(is_idle)
        stopped_at.append(time.monotonic())
        stop()

    thread = threading.Thread(target=stop_when_idle)
    thread.start()
    assert work(delivery, lambda _: None) == []
    assert time.monotonic() - stopped_at[0] < 5
    thread.join()


def test_the_second_signal_ends_the_job(delivery: Delivery, submit: Submit, store: JobStore, attempts: Any) -> None:
    reached: list[str] = []

    def stop_twice(_: JobRecord) -> None:
        stop()
        reached.append("after the first")
        stop()
        time.sleep(2)
        reached.append("after the second")

    job = submit().id
    assert work(delivery, lambda job_id: attempts(Stage.PLANNING).run(job_id, stop_twice)) == []
    assert reached == ["after the first"]
    record = store.get(job)
    assert (record.status, record.attempt, record.error) == (JobStatus.QUEUED, 1, None)


def test_a_job_that_does_not_come_to_an_end_is_hurried(
    delivery: Delivery, submit: Submit, store: JobStore, attempts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident, "STOP_SECONDS", 0.1)

    reached: list[str] = []

    def hang(_: JobRecord) -> None:
        stop()
        threading.Event().wait(10)
        reached.append("the end, and nobody hurried")

    job = submit().id
    assert work(delivery, lambda job_id: attempts(Stage.PLANNING).run(job_id, hang)) == []
    assert reached == []
    assert store.get(job).status is JobStatus.QUEUED


def test_no_job_ends_the_worker(delivery: Delivery, submit: Submit, store: JobStore, attempts: Any) -> None:
    failing, raising, last = submit().id, submit().id, submit().id

    def planning_fails(_: JobRecord) -> None:
        raise PlanningFailed("nothing to draw")

    def do(job_id: str) -> None:
        if job_id == failing:
            attempts(Stage.PLANNING).run(job_id, planning_fails)
        elif job_id == raising:
            raise MemoryError
        else:
            stop()

    assert work(delivery, do) == [failing, last]
    assert store.get(failing).status is JobStatus.FAILED


def test_no_message_that_cannot_be_read_ends_the_worker(
    delivery: Delivery, submit: Submit, raw_client: redis.Redis
) -> None:
    damaged: dict[str, tuple[str, str]] = {
        "date": ("created_at", "yesterday"),
        "time": ("enqueued_at", "nonsense"),
        "timeout": ("timeout", "soon"),
        "status": ("status", "nonsense"),
        "lifetime": ("result_ttl", "x"),
        "dependencies": ("dependency_ids", "{"),
    }
    queue = delivery.queue(PLAN_QUEUE)
    for name, (field, text) in damaged.items():
        raw_client.hset(f"rq:job:{name}", mapping={"data": json.dumps([PLAN_FUNCTION, None, [], {}]), field: text})
        raw_client.zadd(queue.started_job_registry.key, {f"{name}:1": 1})  # RQ tidies up after it
        raw_client.rpush(queue.intermediate_queue_key, name)
    raw_client.zadd(queue.order.key, {b"\xff\xfe": 0, b"a name with spaces": 0})
    last = submit().id
    assert work(delivery, lambda _: stop()) == [last]
    assert queue.count == 0


def test_rq_keeps_no_trace_of_work_well_done(delivery: Delivery, submit: Submit, raw_client: redis.Redis) -> None:
    submit()
    work(delivery, lambda _: stop())
    assert list(raw_client.scan_iter("rq:job:*")) == []
    assert raw_client.zcard("rq:wip:plan") == 0


def test_a_redis_that_goes_away_and_comes_back_is_waited_for(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with connect(SecretStr(f"redis://127.0.0.1:{port}/0"), decode=False) as client:
        delivery = Delivery(client, job_seconds=600)
        went_away = threading.Event()

        def servers() -> None:
            with embedded_valkey(tmp_path, port):
                went_away.wait(20)
            time.sleep(0.5)  # the outage
            with embedded_valkey(tmp_path, port) as server, redis.Redis.from_url(server.url) as other:
                put(Delivery(other, job_seconds=600), "after")
                stopped.wait(20)

        stopped = threading.Event()
        thread = threading.Thread(target=servers)
        thread.start()
        answers(client)
        put(delivery, "before")

        def do(job_id: str) -> None:
            if job_id == "before":
                went_away.set()
                silent(client)  # the end of this job's message falls into the outage
            else:
                stop()

        try:
            assert work(delivery, do) == ["before", "after"]
        finally:
            went_away.set()
            stopped.set()
            thread.join()


def test_a_redis_that_takes_no_writes_is_outlived(
    delivery: Delivery,
    submit: Submit,
    refusing_writes: Callable[[], AbstractContextManager[None]],
) -> None:
    """It strikes while a job is worked on, and while the worker waits for the next one."""
    before, after = submit().id, "f" * 32
    refused = ExitStack()
    threads: list[threading.Thread] = []

    def recover() -> None:
        time.sleep(1.5)  # longer than the worker waits before it asks again
        refused.close()
        put(delivery, after)

    def do(job_id: str) -> None:
        if job_id == before:
            refused.enter_context(refusing_writes())
            threads.append(threading.Thread(target=recover))
            threads[-1].start()
        else:
            stop()

    with refused:
        assert work(delivery, do) == [before, after]
    threads[0].join()


def put(delivery: Delivery, job_id: str) -> None:
    delivery.queue(PLAN_QUEUE).order.put(job_id, owner="anyone", priority="normal")


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
