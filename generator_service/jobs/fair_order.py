"""The order of the jobs that wait for one kind of worker: fair between owners, by priority, first come first served
within both.

    waiting:{queue}     sorted set of job ids by their turn, the lowest first
    turns:{queue}       hash: the turn served last, as `now`, and the last turn given to each priority of each owner
    taken:{queue}       list of the times (seconds since 1970) of the latest takes after which some job still waited,
                        the newest first

Self-clocked fair queueing (Golestani 1994): a job's turn is 1 / weight after the later of the turn served last and the
turn of the job before it, of the same owner and priority.  So owners take turns however many jobs each of them has,
who comes back has saved up nothing, and no job waits for ever: before a low one are served at most ten normal and a
hundred high ones of each owner.
"""

from typing import Any, Final, cast

import redis

from generator_service.request import Priority

WEIGHTS: Final[dict[Priority, int]] = {"high": 100, "normal": 10, "low": 1}

REMEMBERED: Final = 64
"""So many of the latest takes tell how fast the queue moves."""

_PUT = """
local turn = '-inf'
if ARGV[4] == '0' then
  local now = tonumber(redis.call('HGET', KEYS[2], 'now') or 0)
  local last = tonumber(redis.call('HGET', KEYS[2], ARGV[2]) or 0)
  turn = string.format('%.17g', math.max(now, last) + 1 / ARGV[3])
  redis.call('HSET', KEYS[2], ARGV[2], turn)
end
redis.call('ZADD', KEYS[1], turn, ARGV[1])
return redis.call('ZRANK', KEYS[1], ARGV[1])
"""

_BEGIN_ANEW = """
if redis.call('EXISTS', KEYS[1]) == 0 then return redis.call('DEL', KEYS[2], KEYS[3]) end
"""
"""Where nobody waits any more, nobody is owed anything and nothing is measured."""

_WITHDRAW = f"redis.call('ZREM', KEYS[1], ARGV[1]) {_BEGIN_ANEW}"

_TAKEN = f"""
{_BEGIN_ANEW}
if tonumber(ARGV[1]) > tonumber(redis.call('HGET', KEYS[2], 'now') or 0) then
  redis.call('HSET', KEYS[2], 'now', ARGV[1])
end
redis.call('LPUSH', KEYS[3], redis.call('TIME')[1])
redis.call('LTRIM', KEYS[3], 0, ARGV[2] - 1)
"""

_TIDY_UP = f"""
{_BEGIN_ANEW}
local now = tonumber(redis.call('HGET', KEYS[2], 'now') or 0)
local turns = redis.call('HGETALL', KEYS[2])
for number = 1, #turns, 2 do
  if turns[number] ~= 'now' and tonumber(turns[number + 1]) <= now then redis.call('HDEL', KEYS[2], turns[number]) end
end
"""


def waiting_key(queue: str) -> str:
    return f"waiting:{queue}"


class FairOrder:
    """`redis_client` must not decode responses.  Every method raises redis' errors."""

    def __init__(self, redis_client: redis.Redis, queue: str) -> None:
        self._redis = redis_client
        self.key = waiting_key(queue)
        """Of the sorted set of those who wait."""
        self._turns = f"turns:{queue}"
        self._taken = f"taken:{queue}"

    def put(self, job_id: str, *, owner: str, priority: Priority, first: bool = False) -> int:
        """How many jobs are before it now.  A job is in once at most, however often it is put.

        `first`: before all others, out of turn.
        """
        flow, weight = f"{priority} {owner}", WEIGHTS[priority]
        place = self._redis.eval(_PUT, 2, self.key, self._turns, job_id, flow, str(weight), str(int(first)))
        return cast(int, place)

    def take(self, seconds: int) -> str | None:
        """The job whose turn it is, and out it goes; None where for so many seconds there is none."""
        popped = cast(tuple[bytes, bytes, float] | None, self._redis.bzpopmin(self.key, seconds))
        if popped is None:
            return None
        _, job_id, turn = popped
        self._redis.eval(_TAKEN, 3, self.key, self._turns, self._taken, repr(turn), str(REMEMBERED))
        return job_id.decode(errors="replace")

    def withdraw(self, job_id: str) -> None:
        self._redis.eval(_WITHDRAW, 3, self.key, self._turns, self._taken, job_id)

    def tidy_up(self) -> None:
        """A turn that is past tells nothing any more, nor does any where nobody waits."""
        self._redis.eval(_TIDY_UP, 3, self.key, self._turns, self._taken)

    def position(self, job_id: str) -> int | None:
        """How many jobs are before it now; None where it does not wait.  Later ones may yet come before it."""
        return cast(int | None, self._redis.zrank(self.key, job_id))

    def ids(self) -> list[str]:
        """In order."""
        return [job_id.decode(errors="replace") for job_id in cast(list[bytes], self._redis.zrange(self.key, 0, -1))]

    def __len__(self) -> int:
        return self._redis.zcard(self.key)

    def seconds_a_job(self) -> float | None:
        """How often a job is taken while others wait, measured over the latest `REMEMBERED`; None before the first."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.time()
        pipeline.llen(self._taken)
        pipeline.lindex(self._taken, -1)
        (now, microseconds), count, oldest = cast(Any, pipeline.execute())
        return (now + microseconds / 1e6 - int(oldest)) / count if count else None
