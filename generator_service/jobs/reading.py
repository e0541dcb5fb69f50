"""What nearly every request asks Redis, in one round trip and without a thread: whose key it brings, and what there is
of the job that it is about.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

import redis.asyncio

from generator_service.contract.job import JobStatus
from generator_service.contract.keys import ApiKey
from generator_service.jobs.api_keys import USED, KeyRecord, StreamTicket, key_name, verified
from generator_service.jobs.connection import SERVING_SECONDS, redis_errors_as_unavailable
from generator_service.jobs.keyspace import job_key, moment, waiting_key
from generator_service.jobs.queues import QUEUES, queue_of
from generator_service.jobs.record import JobRecord, record_of
from shared.errors import Unavailable

USE_SECONDS: Final = 60.0
"""A key's uses are written down this often."""

_ORDERS = tuple(map(waiting_key, QUEUES))
_READ = """
local found = {redis.call('GET', KEYS[1]), redis.call('TIME'), {}}
if ARGV[1] ~= '' then
  found[3] = redis.call('HGETALL', KEYS[2])
  for number = 3, #KEYS do found[number + 1] = redis.call('ZRANK', KEYS[number], ARGV[1]) end
end
return found
"""


@dataclass(frozen=True)
class Look:
    record: JobRecord
    position: int | None
    """How many jobs are before it in its queue; None where it does not wait."""


@dataclass(frozen=True)
class Found:
    """What Redis holds of a job."""

    at: datetime
    """By Redis' own clock."""
    job_id: str
    """Empty where none was asked for."""
    fields: dict[str, str]
    places: Sequence[int | None]
    """In each queue."""

    def look(self) -> Look:
        """Raises NotFound."""
        record = record_of(self.job_id, self.fields)
        waits = record.status is JobStatus.QUEUED
        places = dict(zip(QUEUES, self.places, strict=True))
        return Look(record, places.get(queue_of(record)) if waits else None)  # a newer version may have more queues


NOTHING: Final = Found(datetime.min.replace(tzinfo=UTC), "", {}, ())
"""Where Redis was not asked."""


class Reader:
    """`client` must decode responses to text, and is used in one event loop.  Every method raises Unavailable where
    Redis does not answer."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis = client
        self._read = client.register_script(_READ)
        self._noted: dict[str, float] = {}
        """When a key's use was last written down by this process."""

    async def look(self, job_id: str) -> Look:
        """Raises NotFound."""
        return (await self.find(job_id)).look()

    async def find_as(self, proof: ApiKey | StreamTicket, job_id: str) -> tuple[KeyRecord, Found]:
        """`job_id`: "" where only the key is asked for.  Raises Unauthenticated."""
        kept, found = await self._found(proof.id, job_id)
        key = verified(proof, kept)
        await self._note_use(key.id)
        return key, found

    async def find(self, job_id: str) -> Found:
        _, found = await self._found("", job_id)
        return found

    async def _found(self, key_id: str, job_id: str) -> tuple[str | None, Found]:
        with redis_errors_as_unavailable():
            async with asyncio.timeout(SERVING_SECONDS):
                answer = await self._read(keys=[key_name(key_id), job_key(job_id), *_ORDERS], args=[job_id])
        kept, time, pairs, *places = cast(tuple[str | None, list[str], list[str], *tuple[int | None, ...]], answer)
        return kept, Found(moment(*time), job_id, dict(zip(pairs[::2], pairs[1::2], strict=True)), places)

    async def _note_use(self, key_id: str) -> None:
        now = time.monotonic()
        if now - self._noted.get(key_id, float("-inf")) < USE_SECONDS:
            return
        self._noted[key_id] = now
        with suppress(Unavailable), redis_errors_as_unavailable():  # a Redis that takes no writes can still be read
            async with asyncio.timeout(SERVING_SECONDS):
                await self._redis.hset(USED, key_id, datetime.now(UTC).replace(microsecond=0).isoformat())
