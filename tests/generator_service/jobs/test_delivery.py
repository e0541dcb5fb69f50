"""What RQ is given, looked at as it lies in Valkey."""

import importlib
import json
import pickletools
import zlib
from collections.abc import Callable

import pytest
import redis
from rq.job import Job
from rq.serializers import JSONSerializer

from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.delivery import PLAN_FUNCTION, PLAN_QUEUE, RENDER_FUNCTION, Delivery, render_queue
from generator_service.jobs.record import JobRecord
from shared.errors import Unavailable

MakeRecord = Callable[..., JobRecord]


@pytest.fixture
def delivery(raw_client: redis.Redis) -> Delivery:
    return Delivery(raw_client, job_seconds=600)


def test_a_job_without_plan_goes_to_the_planners(delivery: Delivery, make_record: MakeRecord) -> None:
    record = make_record(stage=Stage.PLANNING)
    delivery.enqueue(record)
    assert delivery.queue(render_queue("emoji-world")).count == 0
    message = delivery.queue(PLAN_QUEUE).take(1)
    assert message is not None
    assert (message.func_name, message.args) == (PLAN_FUNCTION, (record.id,))
    assert message.timeout == 600


def test_a_job_with_plan_goes_to_its_backbones_renderers(delivery: Delivery, make_record: MakeRecord) -> None:
    record = make_record(stage=Stage.SAMPLING)
    delivery.enqueue(record)
    assert delivery.queue(PLAN_QUEUE).count == 0
    message = delivery.queue("render.emoji-world").take(1)
    assert message is not None
    assert (message.func_name, message.args) == (RENDER_FUNCTION, (record.id,))


@pytest.mark.parametrize("path", [PLAN_FUNCTION, RENDER_FUNCTION])
def test_the_dotted_names_exist(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_messages_are_json_and_never_pickle(
    delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    record = make_record()
    delivery.enqueue(record)
    assert raw_client.keys("rq:*") == []  # RQ knows of it once a worker has taken it
    delivery.queue(PLAN_QUEUE).take(1)
    (key,) = raw_client.keys("rq:job:*")
    fields = raw_client.hgetall(key)
    message = json.loads(zlib.decompress(fields[b"data"]))
    assert message == [PLAN_FUNCTION, None, [record.id], {}]
    for value in fields.values():
        for data in (value, decompressed(value)):
            assert not is_pickle(data)
    assert is_pickle(zlib.decompress(zlib.compress(b"\x80\x04]\x94.")))  # this test's own eyes


def decompressed(value: bytes) -> bytes:
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


def is_pickle(data: bytes) -> bool:
    """Protocol 2 and later, which begins with its number."""
    try:
        operations = list(pickletools.genops(data))
    except ValueError:
        return False
    return operations[0][0].name == "PROTO"


def test_positions_in_the_queue(delivery: Delivery, make_record: MakeRecord) -> None:
    records = [make_record() for _ in range(3)]
    other = make_record(stage=Stage.SAMPLING)
    for record in (*records, other):
        delivery.enqueue(record)
    assert [delivery.position(record) for record in records] == [0, 1, 2]
    assert delivery.position(other) == 0


def test_no_position_outside_the_queue(delivery: Delivery, make_record: MakeRecord) -> None:
    record = make_record()
    assert delivery.position(record) is None  # persisted, not yet enqueued
    delivery.enqueue(record)
    running = record.model_copy(update={"status": JobStatus.RUNNING})
    assert delivery.position(running) is None


def test_rq_keeps_nothing_of_a_job_that_is_done(
    delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    delivery.enqueue(make_record())
    message = delivery.queue(PLAN_QUEUE).take(1)
    assert message is not None
    assert Job.fetch(message.id, connection=raw_client, serializer=JSONSerializer).result_ttl == 0


def test_nothing_is_put_where_nobody_looks(delivery: Delivery) -> None:
    with pytest.raises(TypeError):
        delivery.queue(PLAN_QUEUE).enqueue(PLAN_FUNCTION, args=("f" * 32,))


def test_redis_is_down(no_redis: redis.Redis, make_record: MakeRecord) -> None:
    delivery = Delivery(no_redis, job_seconds=600)
    with pytest.raises(Unavailable):
        delivery.enqueue(make_record())
    with pytest.raises(Unavailable):
        delivery.position(make_record())
    with pytest.raises(Unavailable):
        delivery.withdraw("f" * 32)
    with pytest.raises(Unavailable):
        delivery.tidy_up()
    with pytest.raises(Unavailable):
        delivery.messages()
    with pytest.raises(Unavailable):
        delivery.forget("plan-1-1")
    with pytest.raises(Unavailable):
        delivery.worker_of("plan-1-1")


def test_a_job_is_in_its_queue_once(delivery: Delivery, make_record: MakeRecord) -> None:
    waiting, record = make_record(), make_record()
    for each in (waiting, record):
        delivery.enqueue(each)
    delivery.enqueue(record.model_copy(update={"delivery": 2}), first=True)
    assert delivery.queue(PLAN_QUEUE).job_ids == [record.id, waiting.id]


@pytest.mark.parametrize("stage", [Stage.PLANNING, Stage.SAMPLING])
def test_a_withdrawn_job_leaves_the_queue_and_those_behind_it_move_up(
    stage: Stage, delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    first, gone, last = (make_record(stage=stage) for _ in range(3))
    for record in (first, gone, last):
        delivery.enqueue(record)
    delivery.withdraw(gone.id)
    assert [delivery.position(record) for record in (first, gone, last)] == [0, None, 1]
    delivery.withdraw(gone.id)  # again, it is no error
    for record in (first, last):
        delivery.withdraw(record.id)
    assert raw_client.keys("*") == []


def test_a_message_that_a_worker_has_taken_is_not_withdrawn(
    delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    record = make_record()
    delivery.enqueue(record)
    message = delivery.queue(PLAN_QUEUE).take(1)
    assert message is not None
    delivery.withdraw(record.id)
    assert delivery.messages() == {message.id: record.id}
    delivery.forget(message.id)
    assert delivery.messages() == {}
    assert raw_client.keys("*") == []
