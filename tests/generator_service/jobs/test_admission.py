"""Who is let in, in the real Valkey, whose clock it goes by."""

from collections.abc import Callable

import pytest
import redis

from generator_service.contract.job import Stage
from generator_service.jobs.admission import UNMEASURED_SECONDS, Admission, Limits, Quota
from generator_service.jobs.delivery import PLAN_QUEUE, Delivery, render_queue
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from shared.errors import QueueFull, TooFast, TooManyUnfinished

MakeRecord = Callable[..., JobRecord]
Admit = Callable[..., Admission]

SLOW = 0.001
"""Jobs a second: no test takes so long that one more is let in."""


@pytest.fixture
def delivery(raw_client: redis.Redis) -> Delivery:
    return Delivery(raw_client, job_seconds=600)


@pytest.fixture
def admission(text_client: redis.Redis, store: JobStore, delivery: Delivery) -> Admit:
    def admission(*, queued: int = 100, unfinished: int = 100, rate: float = 100.0, burst: int = 100) -> Admission:
        return Admission(text_client, store, delivery, Limits(queued, unfinished, rate, burst))

    return admission


@pytest.fixture
def submit(store: JobStore, delivery: Delivery, make_record: MakeRecord) -> Callable[..., JobRecord]:
    def submit(**changes: object) -> JobRecord:
        record = make_record(**changes)
        store.create(record, None)
        delivery.enqueue(record)
        return record

    return submit


def test_a_full_queue(admission: Admit, submit: Callable[..., JobRecord], make_record: MakeRecord) -> None:
    gate = admission(queued=2)
    for _ in range(2):
        gate.admit(make_record())
        submit()
    with pytest.raises(QueueFull, match="'plan' holds 2 jobs, as many as it may"):
        gate.admit(make_record())
    gate.admit(make_record(stage=Stage.SAMPLING))  # the render queue is empty


def test_a_job_to_be_planned_needs_room_among_the_renders_too(
    admission: Admit, submit: Callable[..., JobRecord], make_record: MakeRecord
) -> None:
    gate = admission(queued=1)
    submit(stage=Stage.SAMPLING)
    for stage in (Stage.PLANNING, Stage.SAMPLING):
        with pytest.raises(QueueFull, match=r"'render\.emoji-world' holds 1"):
            gate.admit(make_record(stage=stage))


def test_the_wait_is_what_was_measured(
    admission: Admit, submit: Callable[..., JobRecord], make_record: MakeRecord, text_client: redis.Redis
) -> None:
    gate = admission(queued=1)
    submit()
    with pytest.raises(QueueFull, match="the wait is a guess") as caught:
        gate.admit(make_record())
    assert caught.value.retry_after == UNMEASURED_SECONDS
    now = text_client.time()[0]
    text_client.rpush("taken:plan", now - 1, now - 36)  # two in 36 seconds
    with pytest.raises(QueueFull, match=r"one leaves it every 18\.\d s") as caught:
        gate.admit(make_record())
    assert caught.value.retry_after in (18, 19)


def test_work_makes_room(
    admission: Admit, submit: Callable[..., JobRecord], make_record: MakeRecord, delivery: Delivery
) -> None:
    gate = admission(queued=1)
    submit()
    delivery.queue(PLAN_QUEUE).order.take(1)
    gate.admit(make_record())


def test_an_owner_has_so_many_unfinished_jobs(
    admission: Admit, submit: Callable[..., JobRecord], make_record: MakeRecord, store: JobStore
) -> None:
    gate = admission(unfinished=3)
    queued, running, canceling = (submit(owner="ada") for _ in range(3))
    for record in (running, canceling):
        store.start(record.id, worker="w1", stage=Stage.PLANNING)
    store.cancel(canceling.id)
    with pytest.raises(TooManyUnfinished, match="'ada' has 3 unfinished jobs, of 3 it may have"):
        gate.admit(make_record(owner="ada"))
    gate.admit(make_record(owner="bob"))
    store.cancel(queued.id)
    gate.admit(make_record(owner="ada"))


def test_an_owner_may_burst_and_then_goes_by_the_rate(admission: Admit, make_record: MakeRecord) -> None:
    gate = admission(rate=SLOW, burst=3)
    lefts = [gate.admit(make_record(owner="ada")) for _ in range(3)]
    assert lefts == [Quota(limit=3, seconds=3000, left=left) for left in (2, 1, 0)]
    with pytest.raises(TooFast, match=r"'ada' may submit 0\.001 jobs a second, and 3 at once") as caught:
        gate.admit(make_record(owner="ada"))
    assert caught.value.retry_after in (999, 1000)
    assert gate.admit(make_record(owner="bob")).left == 2


def test_what_is_refused_costs_nothing(admission: Admit, make_record: MakeRecord, text_client: redis.Redis) -> None:
    gate = admission(rate=SLOW, burst=1)
    gate.admit(make_record())
    before = text_client.get("rate:anyone")
    for _ in range(3):
        with pytest.raises(TooFast):
            gate.admit(make_record())
    assert text_client.get("rate:anyone") == before


def test_time_gives_the_burst_back(admission: Admit, make_record: MakeRecord, text_client: redis.Redis) -> None:
    gate = admission(rate=SLOW, burst=3)
    for _ in range(3):
        gate.admit(make_record())
    used_up = float(text_client.get("rate:anyone"))
    assert 2_900_000 < text_client.pttl("rate:anyone") <= 3_000_000
    text_client.set("rate:anyone", used_up - 1_500_000)  # 1500 s later: one and a half of a job
    assert gate.admit(make_record()).left == 0
    text_client.set("rate:anyone", used_up - 9_000_000)  # no more than the burst is ever saved up
    assert gate.admit(make_record()).left == 2


def test_each_backbone_has_a_queue_of_its_own(
    admission: Admit, submit: Callable[..., JobRecord], make_record: MakeRecord
) -> None:
    gate = admission(queued=1)
    submit(stage=Stage.SAMPLING)
    other = make_record(stage=Stage.SAMPLING)
    settings = other.settings.model_copy(update={"backbone": "cogvideox-2b"})
    gate.admit(other.model_copy(update={"settings": settings}))
    assert render_queue("cogvideox-2b") != render_queue("emoji-world")
