"""One look at a job and a key: what the store, the queue and the keys say of them, in one answer."""

import asyncio
from collections.abc import Callable

import pytest
import redis
from pydantic import SecretStr

from deploy.servers import free_ports
from generator_service.contract.job import Stage
from generator_service.contract.keys import ApiKey
from generator_service.jobs import connection
from generator_service.jobs.api_keys import ApiKeys, Scope
from generator_service.jobs.connection import connect_async
from generator_service.jobs.rate import Rate
from generator_service.jobs.reading import Look, Reader
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from shared.errors import NotFound, Unauthenticated, Unavailable

MakeRecord = Callable[..., JobRecord]
RATE = Rate(per_second=1.0, burst=1)


def look_at(url: str, job_id: str, times: int = 1) -> list[Look]:
    async def looks() -> list[Look]:
        async with connect_async(SecretStr(url)) as client:
            reader = Reader(client, RATE)
            return await asyncio.gather(*(reader.look(job_id) for _ in range(times)))

    return asyncio.run(looks())


@pytest.mark.parametrize("stage", [Stage.PLANNING, Stage.SAMPLING])
def test_the_record_and_its_place(
    redis_url: str, store: JobStore, make_record: MakeRecord, start: Callable[..., JobRecord], stage: Stage
) -> None:
    first, second = make_record(stage=stage), make_record(stage=stage)
    for record in (first, second):
        store.create(record, None)
    assert look_at(redis_url, second.id) == [Look(second, 1)]
    running = start(second.id)
    assert look_at(redis_url, second.id) == [Look(running, None)]


def test_a_job_for_a_backbone_that_a_newer_version_has_added(
    redis_url: str, store: JobStore, make_record: MakeRecord
) -> None:
    record = make_record(stage=Stage.SAMPLING)
    record = record.model_copy(update={"settings": record.settings.model_copy(update={"backbone": "newer"})})
    store.create(record, None)
    assert look_at(redis_url, record.id) == [Look(record, None)]


def test_an_unknown_job(redis_url: str) -> None:
    with pytest.raises(NotFound):
        look_at(redis_url, "0" * 32)


def test_many_looks_at_once_use_a_few_connections(
    redis_url: str, store: JobStore, text_client: redis.Redis, make_record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(connection, "ASYNC_CONNECTIONS", 3)
    record = make_record()
    store.create(record, None)
    before = text_client.info("stats")["total_connections_received"]
    assert look_at(redis_url, record.id, times=100) == [Look(record, 0)] * 100
    assert text_client.info("stats")["total_connections_received"] - before <= 3


def test_redis_is_down() -> None:
    with pytest.raises(Unavailable):
        look_at(f"redis://127.0.0.1:{free_ports(1)[0]}/0", "0" * 32)


def test_key_and_job_are_one_question_and_a_use_is_written_once_a_minute(
    redis_url: str, store: JobStore, text_client: redis.Redis, make_record: MakeRecord
) -> None:
    record = make_record()
    store.create(record, None)
    key = ApiKeys(text_client).create("a", [Scope.READ])

    def calls() -> dict[str, int]:
        names = ("evalsha", "hset")
        return {name: text_client.info("commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names}

    async def look_seven_times_more() -> dict[str, int]:
        async with connect_async(SecretStr(redis_url)) as client:
            reader = Reader(client, RATE)
            await reader.find_as(key, record.id)
            before = calls()
            for _ in range(7):
                info, found = await reader.find_as(key, record.id)
                assert (info.owner, found.look()) == ("a", Look(record, 0))
            return {name: after - before[name] for name, after in calls().items()}

    assert asyncio.run(look_seven_times_more()) == {"evalsha": 7, "hset": 0}
    assert ApiKeys(text_client).all()[0].used_at is not None


def test_a_refused_key_is_not_noted_as_used(redis_url: str, text_client: redis.Redis) -> None:
    key = ApiKeys(text_client).create("a", [Scope.READ])

    async def knock() -> None:
        async with connect_async(SecretStr(redis_url)) as client:
            await Reader(client, RATE).find_as(ApiKey(key.id, "0" * 64), "")

    with pytest.raises(Unauthenticated):
        asyncio.run(knock())
    assert ApiKeys(text_client).all()[0].used_at is None
