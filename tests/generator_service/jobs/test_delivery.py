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

from generator_service.jobs.delivery import PLAN_FUNCTION, PLAN_QUEUE, RENDER_FUNCTION, Delivery, render_queue
from generator_service.jobs.record import JobRecord
from generator_service.jobs.states import JobStatus, Stage
from shared.errors import Unavailable

MakeRecord = Callable[..., JobRecord]


@pytest.fixture
def delivery(raw_client: redis.Redis) -> Delivery:
    return Delivery(raw_client, job_seconds=600)


def test_a_job_without_plan_goes_to_the_planners(delivery: Delivery, make_record: MakeRecord) -> None:
    record = make_record(stage=Stage.PLANNING)
    delivery.enqueue(record)
    (message,) = delivery.queue(PLAN_QUEUE).jobs
    assert (message.func_name, message.args) == (PLAN_FUNCTION, [record.id])
    assert message.timeout == 600
    assert delivery.queue(render_queue("emoji-world")).count == 0


def test_a_job_with_plan_goes_to_its_backbones_renderers(delivery: Delivery, make_record: MakeRecord) -> None:
    record = make_record(stage=Stage.SAMPLING)
    delivery.enqueue(record)
    (message,) = delivery.queue("render.emoji-world").jobs
    assert (message.func_name, message.args) == (RENDER_FUNCTION, [record.id])
    assert delivery.queue(PLAN_QUEUE).count == 0


@pytest.mark.parametrize("path", [PLAN_FUNCTION, RENDER_FUNCTION])
def test_the_dotted_names_exist(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_messages_are_json_and_never_pickle(
    delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    record = make_record()
    delivery.enqueue(record)
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
    record = make_record()
    delivery.enqueue(record)
    (identifier,) = delivery.queue(PLAN_QUEUE).job_ids
    assert Job.fetch(identifier, connection=raw_client, serializer=JSONSerializer).result_ttl == 0


def test_both_stages_of_one_job_have_messages_of_their_own(delivery: Delivery, make_record: MakeRecord) -> None:
    record = make_record()
    delivery.enqueue(record)
    delivery.enqueue(record.model_copy(update={"stage": Stage.SAMPLING}))
    (first,), (second,) = delivery.queue(PLAN_QUEUE).job_ids, delivery.queue("render.emoji-world").job_ids
    assert first != second


def test_redis_is_down(no_redis: redis.Redis, make_record: MakeRecord) -> None:
    delivery = Delivery(no_redis, job_seconds=600)
    with pytest.raises(Unavailable):
        delivery.enqueue(make_record())
    with pytest.raises(Unavailable):
        delivery.position(make_record())
    with pytest.raises(Unavailable):
        delivery.waiting()
    with pytest.raises(Unavailable):
        delivery.withdraw(make_record())
    with pytest.raises(Unavailable):
        delivery.messages()
    with pytest.raises(Unavailable):
        delivery.forget("plan-1-1")
    with pytest.raises(Unavailable):
        delivery.worker_of("plan-1-1")


def test_the_jobs_that_a_message_speaks_of(
    delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    assert delivery.waiting() == frozenset()
    planning, rendering, taken = make_record(), make_record(stage=Stage.SAMPLING), make_record()
    for record in (taken, planning, rendering):
        delivery.enqueue(record)
    raw_client.lpop(delivery.queue(PLAN_QUEUE).key)
    delivery.queue(PLAN_QUEUE).enqueue("somebody.elses")
    assert delivery.waiting() >= {planning.id, rendering.id}
    assert taken.id not in delivery.waiting()


def test_each_delivery_has_a_message_of_its_own(delivery: Delivery, make_record: MakeRecord) -> None:
    """RQ deletes the message of a job that is handed back after that job was delivered anew."""
    record = make_record()
    delivery.enqueue(record)
    delivery.enqueue(record.model_copy(update={"delivery": 2}), first=True)
    second, first = delivery.queue(PLAN_QUEUE).job_ids
    assert first != second
    assert delivery.position(record) == 1


@pytest.mark.parametrize("stage", [Stage.PLANNING, Stage.SAMPLING])
def test_a_withdrawn_job_leaves_the_queue_and_those_behind_it_move_up(
    stage: Stage, delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    first, gone, last = (make_record(stage=stage) for _ in range(3))
    for record in (first, gone, last):
        delivery.enqueue(record)
    delivery.withdraw(gone.model_copy(update={"status": JobStatus.CANCELED, "stage": None}))
    assert [delivery.position(record) for record in (first, gone, last)] == [0, None, 1]
    assert list(raw_client.scan_iter(f"*{gone.id}*")) == []
    delivery.withdraw(gone)  # again, it is no error


def test_a_message_that_a_worker_has_taken_is_not_withdrawn(
    delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    record = make_record()
    delivery.enqueue(record)
    queue = delivery.queue(PLAN_QUEUE)
    queue.dequeue_any([queue], 1, connection=queue.connection, serializer=JSONSerializer)
    delivery.withdraw(record)
    assert delivery.messages() == {f"plan-{record.id}-1": record.id}
    delivery.forget(f"plan-{record.id}-1")
    assert delivery.messages() == {}
    assert list(raw_client.scan_iter(f"*{record.id}*")) == []
