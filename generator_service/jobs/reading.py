"""What nearly every request asks Redis, in one round trip and without a thread: whose key it brings, and what there is
of the job that it is about; a submission is counted as well.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import redis.asyncio

from generator_service.contract.job import JobStatus
from generator_service.contract.keys import ApiKey
from generator_service.jobs.api_keys import USED, KeyRecord, ReadTicket, key_name, verify
from generator_service.jobs.connection import SERVING_SECONDS, redis_errors_as_unavailable
from generator_service.jobs.keyspace import job_key, moment, waiting_key
from generator_service.jobs.queues import QUEUES, queue_of
from generator_service.jobs.rate import LUA_COUNT, Rate
from generator_service.jobs.record import JobRecord, record_of
from shared.errors import Unavailable

USE_SECONDS: Final = 60.0
"""A key's uses are written down this often."""

_READ = (
    LUA_COUNT
    + """
local job_id, hash, owner = unpack(ARGV)
local kept, time = redis.call('GET', KEYS[1]), redis.call('TIME')
local counted, fields, places = {}, {}, {}
if hash and hash ~= '' then
  local is_readable, key = pcall(cjson.decode, kept)
  owner = is_readable and type(key) == 'table' and key.hash == hash and key.owner
end
if owner then counted = count(owner, rate, burst, time[1] * 1000 + time[2] / 1000) end
if job_id ~= '' then
  fields = redis.call('HGETALL', KEYS[2])
  for number, waiting in ipairs(queues) do places[number] = redis.call('ZRANK', waiting, job_id) end
end
return {kept, time, counted, fields, places}
"""
)
"""Rate, burst and queues stand before it: to pack arguments is what a call costs most."""


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
    counted: Sequence[int]
    """What the owner's rate says of a submission; empty where it is none, or nobody's."""

    def look(self) -> Look:
        """Raises NotFound."""
        record = record_of(self.job_id, self.fields)
        waits = record.status is JobStatus.QUEUED
        places = dict(zip(QUEUES, self.places, strict=True))
        return Look(record, places.get(queue_of(record)) if waits else None)  # a newer version may have more queues


NOTHING: Final = Found(datetime.min.replace(tzinfo=UTC), "", {}, (), ())
"""Where Redis was not asked."""


class Reader:
    """`client` must decode responses to text, and is used in one event loop.  Every method raises Unavailable where
    Redis does not answer."""

    def __init__(self, client: redis.asyncio.Redis, rate: Rate) -> None:
        """rate: of submissions."""
        self._redis = client
        queues = ", ".join(f"'{waiting_key(queue)}'" for queue in QUEUES)
        constants = f"local rate, burst, queues = {rate.per_second}, {rate.burst}, {{{queues}}}\n"
        self._read = client.register_script(constants + _READ)
        self._noted: dict[str, float] = {}
        """When a key's use was last written down by this process."""

    async def look(self, job_id: str) -> Look:
        """Raises NotFound."""
        return (await self.find(job_id)).look()

    async def find_as(
        self, proof: ApiKey | ReadTicket, job_id: str, *, submits: bool = False
    ) -> tuple[KeyRecord, Found]:
        """`job_id`: "" where only the key is asked for; submits: one more of its owner's.  Raises Unauthenticated."""
        kept, found = await self._found(
            job_id, proof.id, *([proof.hash] if submits and isinstance(proof, ApiKey) else [])
        )
        key = verify(proof, kept)
        await self._note_use(key.id)
        return key, found

    async def find(self, job_id: str, *, submits: str = "") -> Found:
        """submits: the owner of one more submission, where no keys are asked for."""
        return (await self._found(job_id, "", *(["", submits] if submits else [])))[1]

    async def _found(self, job_id: str, key_id: str, *submits: str) -> tuple[str | None, Found]:
        """submits: the hash of the secret, or "" and an owner."""
        with redis_errors_as_unavailable():
            async with asyncio.timeout(SERVING_SECONDS):
                kept, time, counted, pairs, places = await self._read(
                    keys=[key_name(key_id), job_key(job_id)], args=[job_id, *submits]
                )
        fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
        return kept, Found(moment(*time), job_id, fields, places, counted)

    async def _note_use(self, key_id: str) -> None:
        now = time.monotonic()
        if now - self._noted.get(key_id, float("-inf")) < USE_SECONDS:
            return
        self._noted[key_id] = now
        with suppress(Unavailable), redis_errors_as_unavailable():  # a Redis that takes no writes can still be read
            async with asyncio.timeout(SERVING_SECONDS):
                await self._redis.hset(USED, key_id, datetime.now(UTC).replace(microsecond=0).isoformat())
