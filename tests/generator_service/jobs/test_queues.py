"""Whose turn it is, in the real Valkey."""

from collections import Counter
from collections.abc import Callable

import pytest
import redis

from generator_service.contract.request import Priority
from generator_service.jobs import queues
from generator_service.jobs.queues import PLAN_QUEUE, REMEMBERED
from generator_service.jobs.record import JobRecord


class Order:
    """The queue of plans, of jobs that have names alone."""

    def __init__(self, client: redis.Redis, record: JobRecord) -> None:
        self._client = client
        self._record = record

    def _change(self, change: Callable[..., None], *arguments: object) -> None:
        with self._client.pipeline(transaction=True) as pipeline:
            change(pipeline, *arguments)
            pipeline.execute()

    def _job(self, name: str, owner: str = "", priority: Priority = "normal") -> JobRecord:
        return self._record.model_copy(update={"id": name, "owner": owner, "priority": priority})

    def put(self, name: str, *, owner: str, priority: Priority, first: bool = False) -> None:
        self._change(queues.enqueue_first if first else queues.enqueue, self._job(name, owner, priority))

    def take(self) -> str:
        name = self.names()[0]
        self._change(queues.take, self._job(name))
        return name

    def withdraw(self, name: str) -> None:
        self._change(queues.withdraw, PLAN_QUEUE, name)

    def names(self) -> list[str]:
        found: list[str] = self._client.zrange("waiting:plan", 0, -1)
        return found

    def position(self, name: str) -> int | None:
        names = self.names()
        return names.index(name) if name in names else None


@pytest.fixture
def order(text_client: redis.Redis, make_record: Callable[..., JobRecord]) -> Order:
    return Order(text_client, make_record())


def put(order: Order, *jobs: str) -> None:
    """Named "owner-number" or "owner-number-priority"."""
    for job in jobs:
        owner, _, rest = job.partition("-")
        order.put(job, owner=owner, priority=(rest.partition("-")[2] or "normal"))  # type: ignore[arg-type]


def take_all(order: Order) -> list[str]:
    return [order.take() for _ in order.names()]


def test_one_owner_is_served_in_the_order_of_asking(order: Order) -> None:
    jobs = [f"a-{number}" for number in range(30)]
    put(order, *jobs)
    assert order.names() == jobs
    assert [order.position(job) for job in jobs] == list(range(30))
    assert take_all(order) == jobs


def test_owners_take_turns(order: Order) -> None:
    put(order, *(f"a-{number}" for number in range(5)), "b-0", "b-1")
    first, second = order.names()[:2], order.names()[2:4]
    assert (sorted(first), sorted(second)) == (["a-0", "b-0"], ["a-1", "b-1"])
    assert order.names()[4:] == ["a-2", "a-3", "a-4"]


def test_who_comes_late_waits_for_one_turn_and_has_saved_up_nothing(order: Order) -> None:
    put(order, *(f"a-{number}" for number in range(9)))
    for _ in range(4):
        order.take()
    put(order, "b-0", "b-1", "b-2")
    owners = [job.partition("-")[0] for job in take_all(order)]
    assert [sorted(owners[turn : turn + 2]) for turn in (0, 2, 4)] == [["a", "b"]] * 3
    assert owners[6:] == ["a", "a"]


def test_who_waited_in_an_empty_queue_is_owed_nothing_and_owes_nothing(order: Order, text_client: redis.Redis) -> None:
    put(order, *(f"a-{number}" for number in range(9)))
    take_all(order)
    assert text_client.keys("*") == []  # no trace of an owner stays
    put(order, "a-9", "a-10", "b-0", "b-1")
    assert [sorted(pair) for pair in (order.names()[:2], order.names()[2:])] == [["a-9", "b-0"], ["a-10", "b-1"]]


def test_high_before_normal_before_low(order: Order) -> None:
    put(order, "a-0-low", "a-1-normal", "a-2-high")
    assert take_all(order) == ["a-2-high", "a-1-normal", "a-0-low"]


def test_a_high_job_goes_by_its_owners_normal_ones(order: Order) -> None:
    put(order, *(f"a-{number}" for number in range(30)), "a-30-high")
    assert order.position("a-30-high") == 0


def test_who_calls_every_job_high_is_served_no_more_than_others(order: Order) -> None:
    put(order, *(f"a-{number}-high" for number in range(100)), *(f"b-{number}" for number in range(100)))
    put(order, *(f"c-{number}-low" for number in range(100)))
    assert Counter(job[0] for job in take_all(order)[:99]) == {"a": 33, "b": 33, "c": 33}


def test_high_jobs_are_paid_with_the_turns_of_the_same_owners_others(order: Order) -> None:
    put(order, *(f"a-{number}-high" for number in range(10)), *(f"a-{number}" for number in range(10, 20)))
    put(order, *(f"b-{number}" for number in range(20)))
    served = take_all(order)
    assert Counter(job[0] for job in served[:20]) == {"a": 10, "b": 10}
    assert [job for job in served if job[0] == "a"] == [
        *(f"a-{number}-high" for number in range(10)),
        *(f"a-{number}" for number in range(10, 20)),
    ]


def test_what_waits_already_keeps_its_turns(order: Order) -> None:
    for priority in ("low", "normal", "high"):
        put(order, *(f"a-{number}{priority}-{priority}" for number in range(10)))
    put(order, *(f"b-{number}" for number in range(30)))
    assert Counter(job[0] for job in take_all(order)[:40]) == {"a": 30, "b": 10}


def test_but_a_stream_of_jobs_of_all_priorities_is_served_as_any_other(order: Order) -> None:
    put(order, *(f"b-{number}" for number in range(200)))
    served: list[str] = []
    for number in range(200):  # whoever sends them has six of them waiting at most
        if sum(job[0] == "a" for job in order.names()) < 6:
            put(order, f"a-{number}-{('low', 'normal', 'high')[number % 3]}")
        served.append(order.take())
    assert 45 <= sum(job[0] == "a" for job in served[-100:]) <= 55
    assert {job.rpartition("-")[2] for job in served[-100:] if job[0] == "a"} == {"low", "normal", "high"}


def test_low_jobs_do_not_starve(order: Order) -> None:
    put(order, "a-0-low")
    for number in range(1, 10):
        put(order, f"a-{number}-high", f"b-{number}-high")
        if order.take() == "a-0-low":
            break
    assert number <= 5


def test_first_is_before_all_others_and_costs_its_owner_no_turn(order: Order) -> None:
    put(order, "a-0", "a-1")
    order.put("b-0", owner="b", priority="low", first=True)
    put(order, "b-1")
    assert order.names()[0] == "b-0"
    assert sorted(order.names()[1:3]) == ["a-0", "b-1"]
    assert take_all(order)[0] == "b-0"


def test_the_turns_go_on_after_one_out_of_turn(order: Order) -> None:
    put(order, *(f"a-{number}" for number in range(4)))
    order.take(), order.take()
    order.put("b-0", owner="b", priority="normal", first=True)
    order.take()
    put(order, "c-0", "c-1")
    assert sorted(order.names()[:2]) == ["a-2", "c-0"]  # and not both of c, as if nobody had been served yet


def test_what_is_withdrawn_does_not_wait(order: Order, text_client: redis.Redis) -> None:
    put(order, "a-0", "a-1", "a-2")
    order.withdraw("a-0")
    assert [order.position(job) for job in ("a-0", "a-1", "a-2")] == [None, 0, 1]
    for job in ("a-2", "a-1", "a-1"):
        order.withdraw(job)
    assert text_client.keys("*") == []


def test_the_pace_is_measured_while_jobs_wait(order: Order, text_client: redis.Redis) -> None:
    put(order, *(f"a-{number}" for number in range(REMEMBERED + 10)))
    for _ in range(REMEMBERED + 5):
        order.take()
    assert text_client.llen("taken:plan") == REMEMBERED
    assert abs(int(text_client.lindex("taken:plan", 0)) - text_client.time()[0]) <= 2
    take_all(order)
    assert text_client.keys("*") == []  # an idle queue measures nothing
