"""The queues: one for planning, and one for each backbone, since a worker keeps one backbone's model in memory.

The order in each is fair between owners, by priority among one owner's jobs, first come first served within both:
self-clocked fair queueing (Golestani 1994), every job of the same weight.  A job's turn is 1 after the later of the
turn served last and the last one of its line.  So owners take turns however many jobs each of them has, and who comes
back has saved up nothing.  An owner has a line for each priority, and a job makes that of its own and those below one
longer: a high job goes by its owner's normal ones, and pays with the turns of those that come after them.  So in the
long run nobody is served more for calling jobs high.  Jobs that waited already keep their turns, though, so that at a
stretch an owner may have a turn in each of its three lines for one of another's.  No job waits for ever.  Within one
turn, high jobs are before normal ones, and those before low ones.

What changes an order is a Lua script for the transaction that changes the job.
"""

from typing import Any, Final

from redis.client import Pipeline

from generator_service.contract.backbones import BACKBONES
from generator_service.contract.job import Stage
from generator_service.contract.request import Priority
from generator_service.jobs.keyspace import taken_key, turns_key, waiting_key
from generator_service.jobs.record import JobRecord

PLAN_QUEUE: Final = "plan"
PRIORITIES: Final[tuple[Priority, ...]] = ("high", "normal", "low")
REMEMBERED: Final = 64
"""So many of the latest starts tell how fast a queue moves."""


def render_queue(backbone: str) -> str:
    return f"render.{backbone}"


QUEUES: Final = (PLAN_QUEUE, *map(render_queue, BACKBONES))


def queue_of(record: JobRecord) -> str:
    """The queue for a job's stage."""
    return PLAN_QUEUE if record.stage is Stage.PLANNING else render_queue(record.settings.backbone)


def lines(record: JobRecord) -> dict[str, Any]:
    """What `LUA_ENQUEUE` has to know of a job: its priority as a part of a turn, and the lines that it makes longer."""
    rank = PRIORITIES.index(record.priority)
    return {"part": rank / len(PRIORITIES), "lines": [f"{each} {record.owner}" for each in PRIORITIES[rank:]]}


LUA_ENQUEUE: Final = """
local function enqueue(waiting, turns, id, part, lines)
  local now = math.floor(tonumber(redis.call('HGET', turns, 'now') or 0))
  local turn
  for number = #lines, 1, -1 do
    turn = math.max(now, tonumber(redis.call('HGET', turns, lines[number]) or 0)) + 1
    redis.call('HSET', turns, lines[number], turn)
  end
  redis.call('ZADD', waiting, string.format('%.17g', turn + part), id)
  return redis.call('ZRANK', waiting, id)
end
"""
"""Turns are whole numbers, of which the priority is a part: one turn is high, normal and low, in this order."""

_ENQUEUE: Final = f"{LUA_ENQUEUE} return enqueue(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), {{unpack(ARGV, 3)}})"

_BEGIN_ANEW: Final = "if redis.call('EXISTS', KEYS[1]) == 0 then return redis.call('DEL', KEYS[2], KEYS[3]) end"
"""Where nobody waits any more, nobody is owed anything and nothing is measured."""

_WITHDRAW: Final = f"redis.call('ZREM', KEYS[1], ARGV[1]) {_BEGIN_ANEW}"

_TAKE: Final = f"""
local turn = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]))
{_WITHDRAW}
if turn < math.huge and turn > tonumber(redis.call('HGET', KEYS[2], 'now') or 0) then
  redis.call('HSET', KEYS[2], 'now', turn)
end
redis.call('LPUSH', KEYS[3], redis.call('TIME')[1])
redis.call('LTRIM', KEYS[3], 0, ARGV[2] - 1)
"""


def enqueue(pipeline: Pipeline, record: JobRecord) -> None:
    """The job gets the next turn of its owner, in the pipeline's transaction."""
    queue, its = queue_of(record), lines(record)
    pipeline.eval(_ENQUEUE, 2, waiting_key(queue), turns_key(queue), record.id, repr(its["part"]), *its["lines"])


def enqueue_first(pipeline: Pipeline, record: JobRecord) -> None:
    """The job is before all others, out of turn."""
    pipeline.zadd(waiting_key(queue_of(record)), {record.id: float("-inf")})


def take(pipeline: Pipeline, record: JobRecord) -> None:
    """The job is served: its turn is what the next ones are reckoned from."""
    pipeline.eval(_TAKE, 3, *_keys(queue_of(record)), record.id, str(REMEMBERED))


def withdraw(pipeline: Pipeline, queue: str, job_id: str) -> None:
    """The job waits no more."""
    pipeline.eval(_WITHDRAW, 3, *_keys(queue), job_id)


def _keys(queue: str) -> tuple[str, str, str]:
    return waiting_key(queue), turns_key(queue), taken_key(queue)
