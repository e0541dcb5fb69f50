"""How a job comes to be: within the limits, once for each Idempotency-Key, and waiting for its turn, all in one script.

An Idempotency-Key makes one job within `KEPT_SECONDS`, also when that job is deleted; the semantics are those of the
IETF's draft-ietf-httpapi-idempotency-key-header, but that who sends a request twice at once waits for no answer: the
second finds what the first has made.
"""

import asyncio
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio
from pydantic_core import to_json

from generator_service.contract.job import JobStatus
from generator_service.contract.request import JobRequest
from generator_service.jobs.connection import SERVING_SECONDS, redis_errors_as_unavailable
from generator_service.jobs.keyspace import (
    BYTES,
    OWNERS,
    index_key,
    job_key,
    plan_key,
    score,
    taken_key,
    tickets_key,
    turns_key,
    waiting_key,
)
from generator_service.jobs.queues import LUA_ENQUEUE, lines, queue_of, render_queue
from generator_service.jobs.record import JobRecord, fields_of
from shared.errors import (
    Conflict,
    KeyReused,
    QueueFull,
    ServiceError,
    TooManyUnfinished,
    TooMuchKept,
    Unavailable,
)
from shared.plan import Plan

KEPT_SECONDS: Final = 24 * 3600
UNMEASURED_SECONDS: Final = 60
"""What a client is told to wait for while nothing is known of how fast a queue moves."""
LONGEST_SECONDS: Final = 3600
SHARE: Final = 0.9
"""Of Redis' `maxmemory`: the rest is for the jobs that are there, to be planned, rendered and canceled."""

SUBMIT: Final = (
    LUA_ENQUEUE
    + """
local its, plan = cjson.decode(ARGV[1]), ARGV[2]
local job, plan_key, owners, bytes, waiting, turns, tickets = unpack(its.names)
local idempotency, used = its.idempotency, its.used
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local size = #plan
for _, text in pairs(its.fields) do size = size + #text end

local function pace(taken)  -- seconds between two jobs that leave the queue; '' where nothing is known
  local count = redis.call('LLEN', taken)
  return count == 0 and '' or tostring((now / 1000 - redis.call('LINDEX', taken, -1)) / count)
end

local created_at = redis.call('HGET', job, 'created_at')
if created_at then
  return {created_at == its.created_at and 'created' or 'exists', redis.call('ZRANK', waiting, its.id), 0}
end
if idempotency then
  local fingerprint, made = unpack(redis.call('HMGET', idempotency, 'fingerprint', 'job'))
  if fingerprint then return {fingerprint == its.fingerprint and 'made' or 'reused', made} end
end
if its.queues then
  for number, queue in ipairs(its.queues) do
    if redis.call('ZCARD', queue.waiting) >= its.queued then
      return {'queued', number, pace(queue.taken)}
    end
  end
  local count = 0
  for _, unfinished in ipairs(its.unfinished_keys) do count = count + redis.call('ZCARD', unfinished) end
  if count >= its.unfinished then return {'unfinished', count, pace(its.queues[#its.queues].taken)} end
  if redis.call('ZCARD', its.of_owner) >= its.kept then return {'kept'} end
  if tonumber(redis.call('HGET', bytes, its.owner) or 0) + size > its.bytes then return {'bytes'} end
  if used and redis.call('ZCOUNT', used, now, '+inf') >= its.kept then return {'keys'} end
  local memory = redis.call('INFO', 'memory')
  local most = tonumber(string.match(memory, 'maxmemory:(%d+)'))
  if most > 0 and tonumber(string.match(memory, 'used_memory:(%d+)')) > most * its.share then return {'full'} end
end
if its.admit then return {'admitted'} end

if idempotency then
  redis.call('HSET', idempotency, 'fingerprint', its.fingerprint, 'job', its.id)
  redis.call('EXPIRE', idempotency, its.key_seconds)
  redis.call('ZREMRANGEBYSCORE', used, '-inf', now)
  redis.call('ZADD', used, now + 1000 * its.key_seconds, its.key)
  redis.call('EXPIRE', used, its.key_seconds)
end
local fields = {'bytes', size}
for name, text in pairs(its.fields) do table.insert(fields, name); table.insert(fields, text) end
redis.call('HSET', job, unpack(fields))
if plan ~= '' then redis.call('SET', plan_key, plan) end
redis.call('SADD', owners, its.owner)
redis.call('HINCRBY', bytes, its.owner, size)
for _, index in ipairs(its.indexes) do redis.call('ZADD', index, its.score, its.id) end
return {'created', enqueue(waiting, turns, its.id, its.part, its.lines), redis.call('LLEN', tickets)}
"""
)
"""A record that is there may be this very one: the connection broke before the answer, and it was sent again."""


@dataclass(frozen=True)
class Limits:
    queued: int
    """Jobs that may wait in one queue."""
    unfinished: int
    """Jobs of one owner that have not ended."""
    kept: int
    """Jobs of one owner that there are, the ended ones included, and its Idempotency-Keys."""
    bytes: int
    """Of one owner's requests and plans that are kept."""


@dataclass(frozen=True)
class IdempotencyKey:
    text: str
    fingerprint: str
    """Of the request that came with it."""


@dataclass(frozen=True)
class Created:
    position: int | None
    """Jobs before it in its queue."""
    needs_ticket: bool
    """No ticket waits in its queue: no worker will look for it."""


@dataclass(frozen=True)
class MadeBefore:
    """The Idempotency-Key has made this job."""

    job_id: str


class Submissions:
    """`client` must decode responses to text, and is used in one event loop.  Raises Unavailable where Redis does not
    answer."""

    def __init__(self, client: redis.asyncio.Redis, limits: Limits) -> None:
        self._submit = client.register_script(SUBMIT)
        self._limits = limits

    async def find(self, record: JobRecord, key: IdempotencyKey | None = None) -> MadeBefore | None:
        """What the key has made, for those who have more to find out before they submit the job; None where the job
        would be taken.  Raises what `submit` raises.
        """
        verdict, facts = await self._run(*submission(record, None, key, self._limits, admit=True))
        match verdict, facts:
            case "made", [str(job_id)]:
                return MadeBefore(job_id)
            case "admitted", []:
                return None
        raise self._refusal(record, verdict, facts)

    async def submit(
        self, record: JobRecord, plan: Plan | None, key: IdempotencyKey | None = None
    ) -> Created | MadeBefore:
        """Raises QueueFull, TooManyUnfinished and TooMuchKept, which say after how many seconds another try makes
        sense; KeyReused where the key belongs to another request.
        """
        verdict, facts = await self._run(*submission(record, plan, key, self._limits))
        match verdict, facts:
            case "made", [str(job_id)]:
                return MadeBefore(job_id)
            case "created", [position, tickets]:
                return Created(position, tickets == 0)
        raise self._refusal(record, verdict, facts)

    async def _run(self, *arguments: str) -> tuple[str, list[Any]]:
        with redis_errors_as_unavailable():
            async with asyncio.timeout(SERVING_SECONDS):
                verdict, *facts = await self._submit(args=arguments)
        return verdict, facts

    def _refusal(self, record: JobRecord, verdict: str, facts: list[Any]) -> ServiceError:
        limits = self._limits
        match verdict, facts:
            case "queued", [number, pace]:
                wait, how = _wait(pace)
                queue = _queues(record)[number - 1]
                reason = f"the queue '{queue}' holds {limits.queued} jobs, as many as it may; {how}"
                return QueueFull(reason, retry_after=wait)
            case "unfinished", [count, pace]:
                wait, how = _wait(pace)
                reason = f"'{record.owner}' has {count} unfinished jobs, of {limits.unfinished} it may have; {how}"
                return TooManyUnfinished(reason, retry_after=wait)
            case "kept", _:
                return self._too_much(record, f"has {limits.kept} jobs here, as many as it may: delete some")
            case "bytes", _:
                reason = f"may have {limits.bytes} bytes of requests and plans here: delete some jobs"
                return self._too_much(record, reason)
            case "keys", _:
                return self._too_much(record, f"has used {limits.kept} Idempotency-Keys within 24 hours")
            case "full", _:
                return Unavailable("Redis is full, but for what the present jobs need", retry_after=UNMEASURED_SECONDS)
            case "reused", _:
                return KeyReused("this Idempotency-Key came with another request within the last 24 hours")
        return Conflict(f"there is a job '{record.id}'")

    def _too_much(self, record: JobRecord, reason: str) -> TooMuchKept:
        return TooMuchKept(f"'{record.owner}' {reason}", retry_after=LONGEST_SECONDS)


def submission(
    record: JobRecord,
    plan: Plan | None,
    key: IdempotencyKey | None = None,
    limits: Limits | None = None,
    *,
    admit: bool = False,
) -> tuple[str, str]:
    """The arguments of `SUBMIT`; the names of its keys are among them, since each argument costs the client as much.

    admit: and no more.
    """
    queue, status, owner = queue_of(record), record.status, record.owner
    fields = fields_of(record.model_dump(mode="json"))
    its: dict[str, Any] = {
        "id": record.id,
        "owner": owner,
        "created_at": fields["created_at"],
        "fields": fields,
        "score": str(score(record.created_at)),
        "admit": admit,
        "names": [
            job_key(record.id),
            plan_key(record.id),
            OWNERS,
            BYTES,
            waiting_key(queue),
            turns_key(queue),
            tickets_key(queue),
        ],
        "indexes": [index_key(), index_key(status), index_key(None, owner), index_key(status, owner)],
        "key_seconds": KEPT_SECONDS,
        **lines(record),
    }
    if key is not None:
        hashed = hashlib.sha256(key.text.encode()).hexdigest()
        its |= {
            "key": hashed,
            "fingerprint": key.fingerprint,
            "idempotency": f"idempotency:{owner}:{hashed}",
            "used": f"idempotency:{owner}",
        }
    if limits is not None:
        unfinished = [index_key(status, owner) for status in JobStatus if not status.is_terminal]
        its |= {
            "queued": limits.queued,
            "unfinished": limits.unfinished,
            "kept": limits.kept,
            "bytes": limits.bytes,
            "share": SHARE,
            "unfinished_keys": unfinished,
            "of_owner": index_key(None, owner),
            "queues": [{"waiting": waiting_key(name), "taken": taken_key(name)} for name in _queues(record)],
        }
    text = "" if plan is None else plan.model_dump_json()
    return to_json(its).decode(), text


def fingerprint(request: JobRequest) -> str:
    """The same for all ways to write the same request: SHA-256 of its JSON, names in order, without what is default."""
    text = json.dumps(request.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _queues(record: JobRecord) -> tuple[str, ...]:
    """Those that the job goes through, each of which must have room for it."""
    return tuple(dict.fromkeys((queue_of(record), render_queue(record.settings.backbone))))


def _wait(pace: str) -> tuple[int, str]:
    """Seconds until a job leaves the queue, as measured, and where they come from."""
    if not pace:
        return UNMEASURED_SECONDS, "no job has left it since it began to fill, so that the wait is a guess"
    seconds = float(pace)
    return min(max(math.ceil(seconds), 1), LONGEST_SECONDS), f"one leaves it every {seconds:.1f} s"
