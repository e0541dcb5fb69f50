"""Whose turn it is, in the real Valkey."""

import random
import threading
from collections import Counter

import pytest
import redis

from generator_service.jobs.fair_order import REMEMBERED, FairOrder


@pytest.fixture
def order(raw_client: redis.Redis) -> FairOrder:
    return FairOrder(raw_client, "plan")


def put(order: FairOrder, *jobs: str) -> None:
    """Named "owner-number" or "owner-number-priority"."""
    for job in jobs:
        owner, _, rest = job.partition("-")
        order.put(job, owner=owner, priority=(rest.partition("-")[2] or "normal"))  # type: ignore[arg-type]


def take_all(order: FairOrder) -> list[str]:
    taken = []
    while len(order):
        job = order.take(1)
        assert job is not None
        taken.append(job)
    return taken


def test_one_owner_is_served_in_the_order_of_asking(order: FairOrder) -> None:
    jobs = [f"a-{number}" for number in range(30)]
    put(order, *jobs)
    assert order.ids() == jobs
    assert [order.position(job) for job in jobs] == list(range(30))
    assert take_all(order) == jobs


def test_owners_take_turns(order: FairOrder) -> None:
    put(order, *(f"a-{number}" for number in range(5)), "b-0", "b-1")
    first, second = order.ids()[:2], order.ids()[2:4]
    assert (sorted(first), sorted(second)) == (["a-0", "b-0"], ["a-1", "b-1"])
    assert order.ids()[4:] == ["a-2", "a-3", "a-4"]


def test_who_comes_late_waits_for_one_turn_and_has_saved_up_nothing(order: FairOrder) -> None:
    put(order, *(f"a-{number}" for number in range(9)))
    for _ in range(4):
        order.take(1)
    put(order, "b-0", "b-1", "b-2")
    owners = [job.partition("-")[0] for job in take_all(order)]
    assert [sorted(owners[turn : turn + 2]) for turn in (0, 2, 4)] == [["a", "b"]] * 3
    assert owners[6:] == ["a", "a"]


def test_who_waited_in_an_empty_queue_is_owed_nothing_and_owes_nothing(
    order: FairOrder, raw_client: redis.Redis
) -> None:
    put(order, *(f"a-{number}" for number in range(9)))
    take_all(order)
    assert raw_client.keys("*") == []  # no trace of an owner stays
    put(order, "a-9", "a-10", "b-0", "b-1")
    assert [sorted(pair) for pair in (order.ids()[:2], order.ids()[2:])] == [["a-9", "b-0"], ["a-10", "b-1"]]


def test_high_before_normal_before_low(order: FairOrder) -> None:
    put(order, "a-0-low", "a-1-normal", "a-2-high")
    assert take_all(order) == ["a-2-high", "a-1-normal", "a-0-low"]


def test_a_high_job_goes_by_its_owners_normal_ones(order: FairOrder) -> None:
    put(order, *(f"a-{number}" for number in range(30)), "a-30-high")
    assert order.position("a-30-high") == 0


def test_who_calls_every_job_high_is_served_no_more_than_others(order: FairOrder) -> None:
    put(order, *(f"a-{number}-high" for number in range(100)), *(f"b-{number}" for number in range(100)))
    put(order, *(f"c-{number}-low" for number in range(100)))
    assert Counter(job[0] for job in take_all(order)[:99]) == {"a": 33, "b": 33, "c": 33}


def test_high_jobs_are_paid_with_the_turns_of_the_same_owners_others(order: FairOrder) -> None:
    put(order, *(f"a-{number}-high" for number in range(10)), *(f"a-{number}" for number in range(10, 20)))
    put(order, *(f"b-{number}" for number in range(20)))
    served = take_all(order)
    assert Counter(job[0] for job in served[:20]) == {"a": 10, "b": 10}
    assert [job for job in served if job[0] == "a"] == [
        *(f"a-{number}-high" for number in range(10)),
        *(f"a-{number}" for number in range(10, 20)),
    ]


def test_what_waits_already_keeps_its_turns(order: FairOrder) -> None:
    for priority in ("low", "normal", "high"):
        put(order, *(f"a-{number}{priority}-{priority}" for number in range(10)))
    put(order, *(f"b-{number}" for number in range(30)))
    assert Counter(job[0] for job in take_all(order)[:40]) == {"a": 30, "b": 10}


def test_but_a_stream_of_jobs_of_all_priorities_is_served_as_any_other(order: FairOrder) -> None:
    put(order, *(f"b-{number}" for number in range(200)))
    served: list[str] = []
    for number in range(200):  # whoever sends them has six of them waiting at most
        if sum(job[0] == "a" for job in order.ids()) < 6:
            put(order, f"a-{number}-{('low', 'normal', 'high')[number % 3]}")
        served.append(str(order.take(1)))
    assert 45 <= sum(job[0] == "a" for job in served[-100:]) <= 55
    assert {job.rpartition("-")[2] for job in served[-100:] if job[0] == "a"} == {"low", "normal", "high"}


def test_low_jobs_do_not_starve(order: FairOrder) -> None:
    put(order, "a-0-low")
    for number in range(1, 10):
        put(order, f"a-{number}-high", f"b-{number}-high")
        if order.take(1) == "a-0-low":
            break
    assert number <= 5


def test_first_is_before_all_others_and_costs_its_owner_no_turn(order: FairOrder) -> None:
    put(order, "a-0", "a-1")
    order.put("b-0", owner="b", priority="low", first=True)
    put(order, "b-1")
    assert order.ids()[0] == "b-0"
    assert sorted(order.ids()[1:3]) == ["a-0", "b-1"]
    assert take_all(order)[0] == "b-0"


def test_the_turns_go_on_after_one_out_of_turn(order: FairOrder) -> None:
    put(order, *(f"a-{number}" for number in range(4)))
    order.take(1), order.take(1)
    order.put("b-0", owner="b", priority="normal", first=True)
    order.take(1)
    put(order, "c-0", "c-1")
    assert sorted(order.ids()[:2]) == ["a-2", "c-0"]  # and not both of c, as if nobody had been served yet


def test_many_hands_take_each_job_once(order: FairOrder) -> None:
    chance = random.Random(4)
    jobs = [f"{chance.choice('abc')}-{number}-{chance.choice(('high', 'normal', 'low'))}" for number in range(200)]
    taken: list[str] = []

    def hand() -> None:
        while (job := order.take(1)) is not None:
            taken.append(job)

    threads = [threading.Thread(target=hand) for _ in range(8)]
    for thread in threads:
        thread.start()
    put(order, *jobs)
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(jobs)


def test_what_is_withdrawn_does_not_wait(order: FairOrder, raw_client: redis.Redis) -> None:
    put(order, "a-0", "a-1", "a-2")
    order.withdraw("a-0")
    assert [order.position(job) for job in ("a-0", "a-1", "a-2")] == [None, 0, 1]
    for job in ("a-2", "a-1", "a-1"):
        order.withdraw(job)
    assert raw_client.keys("*") == []


def test_turns_that_are_past_are_forgotten_and_change_nothing(order: FairOrder, raw_client: redis.Redis) -> None:
    put(order, "a-0", "b-0", "b-1", "b-2")
    order.take(1), order.take(1)  # the turns of a-0 and b-0: now is 1 1/3
    assert set(raw_client.hkeys("turns:plan")) == {b"now", b"normal a", b"low a", b"normal b", b"low b"}
    order.tidy_up()
    assert set(raw_client.hkeys("turns:plan")) == {b"now", b"normal b", b"low b"}  # whose last turn is yet to come
    put(order, "a-1", "b-3")
    assert sorted(order.ids()[:2]) == ["a-1", "b-1"]
    assert order.ids()[2:] == ["b-2", "b-3"]


def test_nothing_is_kept_where_the_last_was_taken_by_a_worker_that_died(
    order: FairOrder, raw_client: redis.Redis
) -> None:
    put(order, "a-0")
    raw_client.bzpopmin(order.key, 1)  # and no more
    assert raw_client.keys("*") == [b"turns:plan"]
    order.tidy_up()
    assert raw_client.keys("*") == []


def test_how_fast_the_queue_moves(order: FairOrder, raw_client: redis.Redis) -> None:
    assert order.seconds_a_job() is None
    put(order, *(f"a-{number}" for number in range(REMEMBERED + 10)))
    for _ in range(REMEMBERED + 5):
        order.take(1)
    assert raw_client.llen("taken:plan") == REMEMBERED
    now = raw_client.time()[0]
    raw_client.delete("taken:plan")
    raw_client.rpush("taken:plan", now - 10, now - 25, now - 60)  # three within a minute, and it goes on
    assert order.seconds_a_job() == pytest.approx(20, abs=1)
    take_all(order)
    assert order.seconds_a_job() is None  # an idle queue measures nothing
