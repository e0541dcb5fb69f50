"""The ends of jobs that somebody wishes to be told of, until they are told: entered with the end itself, in one MULTI.

    webhooks:due            sorted set of the ids of the jobs whose event is to be sent, by when, in ms since 1970
    webhooks:targets        hash: what each of these shares with the others that go to the same place
    job:{id}:deliveries     list of `DeliveryAttempt`, as JSON

Whoever sends an event leases it first: its time is set to the end of the lease.  Should the sender die, it is due again
then; and a sender whose lease has ended can change nothing any more.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

import redis
from pydantic import ValidationError
from redis.client import Pipeline

from generator_service.contract.answers import DeliveryAttempt, Overdue
from generator_service.contract.request import EventType
from generator_service.jobs.connection import redis_errors_as_unavailable
from generator_service.jobs.record import JobRecord

PAGE: Final = 500
"""Entries looked at at once."""

_DUE: Final = "webhooks:due"
_TARGETS: Final = "webhooks:targets"

_LEASE = """
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1
"""
"""Only as it was seen: of all who see the same entry, one leases it."""

_SETTLE = """
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then return 0 end
redis.call('RPUSH', KEYS[3], ARGV[3])
if ARGV[4] == '' then
    redis.call('ZREM', KEYS[1], ARGV[1])
    redis.call('HDEL', KEYS[2], ARGV[1])
else
    redis.call('ZADD', KEYS[1], ARGV[4], ARGV[1])
end
return 1
"""


@dataclass(frozen=True)
class Lease:
    job_id: str
    target: str
    """The owner, and what is the same for all of the owner's events that go to one place."""
    until: int
    """Milliseconds since 1970."""

    @property
    def owner(self) -> str:
        return owner_of(self.target)


def owner_of(target: str) -> str:
    return target.partition(" ")[0]


def wished_end(record: JobRecord) -> EventType | None:
    """The job's end, if it has come to one that somebody wishes to be told of."""
    if record.webhook is None or not record.status.is_terminal:
        return None
    event = EventType(f"job.{record.status}")
    return event if event in record.webhook.events else None


def enter(pipeline: Pipeline, record: JobRecord) -> None:
    """To be called for every change of a job, in the MULTI that writes it; wished-for ends alone are entered."""
    if record.webhook is None or wished_end(record) is None:
        return
    url = record.webhook.url
    place = hashlib.blake2s(f"{url.host}:{url.port}".encode(), digest_size=8).hexdigest()
    pipeline.zadd(_DUE, {record.id: _milliseconds(record.updated_at)})
    pipeline.hset(_TARGETS, record.id, f"{record.owner} {place}")


def forget(pipeline: Pipeline, job_id: str) -> None:
    """To be called where the job itself is removed: whoever deletes a job wishes to hear no more of it."""
    pipeline.zrem(_DUE, job_id)
    pipeline.hdel(_TARGETS, job_id)
    pipeline.delete(_log(job_id))


class Outbox:
    """`redis_client` must decode responses to text.  Every method raises Unavailable where Redis does not answer."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self._redis = redis_client
        self._lease = redis_client.register_script(_LEASE)
        self._settle = redis_client.register_script(_SETTLE)

    def lease(
        self,
        now: datetime,
        seconds: float,
        *,
        limit: int,
        per_target: int,
        per_owner: int,
        under_way: Collection[Lease] = (),
    ) -> tuple[Lease, ...]:
        """At most `limit` of the events that are due, the longest due first, to be sent within `seconds`.

        No more than `per_target` for one target and `per_owner` for one owner, those `under_way` included: however many
        events a slow target or an owner of many has, the others' are found behind them.
        """
        until = _milliseconds(now + timedelta(seconds=seconds))
        of_target = Counter(lease.target for lease in under_way)
        of_owner = Counter(lease.owner for lease in under_way)
        found: list[Lease] = []
        passed_over = 0
        while len(found) < limit:
            page = self._due(now, passed_over)
            for job_id, due, target in page:
                owner = owner_of(target)
                has_room = len(found) < limit and of_target[target] < per_target and of_owner[owner] < per_owner
                if has_room and self._won(job_id, due, until):
                    of_target[target] += 1
                    of_owner[owner] += 1
                    found.append(Lease(job_id, target, until))
                else:
                    passed_over += 1
            if len(page) < PAGE:
                break
        return tuple(found)

    def settle(self, lease: Lease, attempt: DeliveryAttempt) -> bool:
        """What came of sending it.  False, and nothing is written, where the lease has ended or the job is gone."""
        again = attempt.next_attempt_at
        with redis_errors_as_unavailable():
            settled = self._settle(
                keys=[_DUE, _TARGETS, _log(lease.job_id)],
                args=[lease.job_id, lease.until, attempt.model_dump_json(), _milliseconds(again) if again else ""],
            )
        return bool(settled)

    def attempts(self, job_id: str) -> tuple[DeliveryAttempt, ...]:
        """The first one first; without those that cannot be read."""
        with redis_errors_as_unavailable():
            texts = cast(list[str], self._redis.lrange(_log(job_id), 0, -1))

        def readable() -> Iterator[DeliveryAttempt]:
            for text in texts:
                with suppress(ValidationError):
                    yield DeliveryAttempt.from_storage(text)

        return tuple(readable())

    def overdue(self, now: datetime) -> Overdue:
        until = _milliseconds(now)
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.zcount(_DUE, "-inf", until)
            pipeline.zrange(_DUE, 0, 0, withscores=True)
            count, first = cast(tuple[int, list[tuple[str, float]]], pipeline.execute())
        return Overdue(events=count, oldest_seconds=(until - first[0][1]) / 1000 if count else None)

    def _due(self, now: datetime, passed_over: int) -> list[tuple[str, int, str]]:
        """Job, when it was due, and target: the next page of them."""
        with redis_errors_as_unavailable():
            page = cast(
                list[tuple[str, float]],
                self._redis.zrangebyscore(_DUE, 0, _milliseconds(now), start=passed_over, num=PAGE, withscores=True),
            )
            ids = [job_id for job_id, _ in page]
            targets = cast(list[str | None], self._redis.hmget(_TARGETS, ids)) if ids else []
        # One without a target has just been settled or forgotten by somebody else, and cannot be leased.
        return [(job_id, int(due), target or "") for (job_id, due), target in zip(page, targets, strict=True)]

    def _won(self, job_id: str, due: int, until: int) -> bool:
        with redis_errors_as_unavailable():
            return bool(self._lease(keys=[_DUE], args=[job_id, due, until]))


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _log(job_id: str) -> str:
    return f"job:{job_id}:deliveries"
