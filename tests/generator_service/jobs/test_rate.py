"""Submissions are counted in the real Valkey, by its clock, together with the look at who submits."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from generator_service.contract.keys import ApiKey
from generator_service.jobs.api_keys import ApiKeys, Scope, key_name
from generator_service.jobs.connection import connect_async
from generator_service.jobs.rate import Quota, Rate
from generator_service.jobs.reading import Found, Reader
from shared.errors import TooFast, Unauthenticated

SLOW = Rate(per_second=0.001, burst=3)
"""No test takes so long that one more is let in."""

Count = Callable[[str], Quota]


def ask(url: str, question: Callable[[Reader], Any]) -> Any:
    async def answer() -> Any:
        async with connect_async(SecretStr(url)) as client:
            return await question(Reader(client, SLOW))

    return asyncio.run(answer())


@pytest.fixture
def count(redis_url: str) -> Count:
    def count(owner: str) -> Quota:
        found: Found = ask(redis_url, lambda reader: reader.find("", submits=owner))
        return SLOW.quota(owner, found.counted)

    return count


def test_an_owner_may_burst_and_then_goes_by_the_rate(count: Count, text_client: redis.Redis) -> None:
    assert [count("ada") for _ in range(3)] == [Quota(limit=3, seconds=3000, left=left) for left in (2, 1, 0)]
    used_up = text_client.get("rate:ada")
    with pytest.raises(TooFast, match=r"'ada' may submit 0\.001 jobs a second, and 3 at once") as caught:
        count("ada")
    assert caught.value.retry_after in (999, 1000)
    assert text_client.get("rate:ada") == used_up  # to be refused costs nothing
    assert count("bob").left == 2


def test_time_gives_the_burst_back(count: Count, text_client: redis.Redis) -> None:
    for _ in range(3):
        count("ada")
    used_up = float(text_client.get("rate:ada"))
    assert 2_900_000 < text_client.pttl("rate:ada") <= 3_000_000
    text_client.set("rate:ada", used_up - 1_500_000)  # 1500 s later: one and a half of a job
    assert count("ada").left == 0
    text_client.set("rate:ada", used_up - 9_000_000)  # no more than the burst is ever saved up
    assert count("ada").left == 2


def test_a_key_counts_for_its_owner_and_only_where_something_is_submitted(
    redis_url: str, text_client: redis.Redis
) -> None:
    key = ApiKeys(text_client).create("ada", [Scope.SUBMIT])
    _, looked = ask(redis_url, lambda reader: reader.find_as(key, ""))
    assert list(looked.counted) == []
    assert text_client.get("rate:ada") is None
    _, submitted = ask(redis_url, lambda reader: reader.find_as(key, "", submits=True))
    assert SLOW.quota("ada", submitted.counted).left == 2


@pytest.mark.parametrize("kept", ["as it is", None, "no JSON", "null", "[]", "{}"])
def test_who_knows_no_secret_uses_up_nobodys_rate(redis_url: str, text_client: redis.Redis, kept: str | None) -> None:
    key = ApiKeys(text_client).create("ada", [Scope.SUBMIT])
    if kept is None:
        text_client.delete(key_name(key.id))
    elif kept != "as it is":
        text_client.set(key_name(key.id), kept)
    with pytest.raises(Unauthenticated):
        ask(redis_url, lambda reader: reader.find_as(ApiKey(key.id, "0" * 64), "", submits=True))
    assert text_client.keys("rate:*") == []
