"""What RQ is given, looked at as it lies in Valkey."""

import json
import pickletools
import zlib

import pytest
import redis

from generator_service.jobs.queues import PLAN_QUEUE
from generator_service.jobs.tickets import FUNCTION, Tickets
from shared.errors import Unavailable


def test_tickets_are_json_never_pickle_and_name_no_job(tickets: Tickets, raw_client: redis.Redis) -> None:
    tickets.add(PLAN_QUEUE)
    (key,) = raw_client.keys("rq:job:*")
    fields = raw_client.hgetall(key)
    assert json.loads(zlib.decompress(fields[b"data"])) == [FUNCTION, None, [], {}]
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


def test_one_is_enough(tickets: Tickets) -> None:
    for _ in range(2):
        tickets.top_up({PLAN_QUEUE: 5, "render.emoji-world": 0})
        assert tickets.queue(PLAN_QUEUE).count == 1
    assert tickets.queue("render.emoji-world").count == 0


def test_redis_is_down(no_redis: redis.Redis) -> None:
    tickets = Tickets(no_redis)
    with pytest.raises(Unavailable):
        tickets.add(PLAN_QUEUE)
    with pytest.raises(Unavailable):
        tickets.top_up({PLAN_QUEUE: 1})
