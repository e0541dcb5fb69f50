"""The order of the jobs that wait for one kind of worker: fair between owners, by priority among one owner's jobs,
first come first served within both.

    waiting:{queue}     sorted set of job ids by their turn, the lowest first
    turns:{queue}       hash: the turn served last, as `now`, and the last one given in each line of each owner
    taken:{queue}       list of the times (seconds since 1970) of the latest takes after which some job still waited,
                        the newest first

Self-clocked fair queueing (Golestani 1994), every job of the same weight: its turn is 1 after the later of the turn
served last and the last one of its line.  So owners take turns however many jobs each of them has, and who comes back
has saved up nothing.  An owner has a line for each priority, and a job makes that of its own and those below one
longer: a high job goes by its owner's normal ones, and pays with the turns of those that come after them.  So in the
long run nobody is served more for calling jobs high.  Jobs that waited already keep their turns, though, so that at a
stretch an owner may have a turn in each of its three lines for one of another's.  No job waits for ever.  Within one
turn, high jobs are before normal ones, and those before low ones.
"""

from typing import Any, Final, cast

import redis

from generator_service.contract.request import Priority

PRIORITIES: Final[tuple[Priority, ...]] = ("high", "normal", "low")

REMEMBERED: Final = 64
"""So many of the latest takes tell how fast the queue moves."""

_PUT = """
local id, first, part = unpack(ARGV)
local turn = '-inf'
if first == '0' then
  local now = math.floor(tonumber(redis.call('HGET', KEYS[2], 'now') or 0))
  for number = #ARGV, 4, -1 do
    turn = math.max(now, tonumber(redis.call('HGET', KEYS[2], ARGV[number]) or 0)) + 1
    redis.call('HSET', KEYS[2], ARGV[number], turn)
  end
  turn = string.format('%.17g', turn + part)
end
redis.call('ZADD', KEYS[1], turn, id)
return redis.call('ZRANK', KEYS[1], id)
"""
"""Turns are whole numbers, of which the priority is a part: one turn is high, normal and low, in this order."""

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
        rank = PRIORITIES.index(priority)
        lines = [f"{each} {owner}" for each in PRIORITIES[rank:]]
        part = rank / len(PRIORITIES)
        place = self._redis.eval(_PUT, 2, self.key, self._turns, job_id, str(int(first)), repr(part), *lines)
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
