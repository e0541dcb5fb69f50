"""Whether one more job is taken in: as many as may wait in a queue, as many as an owner may have, as fast as one may.

    rate:{owner}        when the owner will have all of its burst again (milliseconds since 1970); expires then

The rate is the generic cell rate algorithm (ITU-T I.371).  Jobs that are submitted at the very same moment do not see
each other, so that the other two limits may be passed by as many.
"""

import math
from dataclasses import dataclass
from typing import Final, cast

import redis

from generator_service.contract.job import Stage
from generator_service.jobs.connection import answering
from generator_service.jobs.delivery import PLAN_QUEUE, Delivery, render_queue
from generator_service.jobs.fair_order import FairOrder
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from shared.errors import QueueFull, TooFast, TooManyUnfinished

UNMEASURED_SECONDS: Final = 60
"""What a client is told to wait for while nothing is known of how fast a queue moves."""
LONGEST_SECONDS: Final = 3600

_ADMIT = """
local queued, unfinished, rate, burst, queues = unpack(ARGV)
for number = 2, 1 + queues do
  if redis.call('ZCARD', KEYS[number]) >= tonumber(queued) then return {'queued', number - 2} end
end
local count = 0
for number = 2 + queues, #KEYS do count = count + redis.call('ZCARD', KEYS[number]) end
if count >= tonumber(unfinished) then return {'unfinished', count} end
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local each = 1000 / rate
local full = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0)) + each
local left = math.floor((burst * each - (full - now)) / each + 1e-6)
if left < 0 then return {'rate', math.ceil(full - now - burst * each)} end
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil(full - now))
return {'admitted', left}
"""


@dataclass(frozen=True)
class Limits:
    queued: int
    """Jobs that may wait in one queue."""
    unfinished: int
    """Jobs of one owner that have not ended."""
    rate: float
    """Jobs a second that an owner may submit in the long run."""
    burst: int
    """And so many at once."""


@dataclass(frozen=True)
class Quota:
    """What an owner's rate still allows."""

    limit: int
    seconds: int
    """In which a quota that was used up is whole again."""
    left: int


class Admission:
    """`redis_client` must decode responses to text.  Every method raises Unavailable where Redis does not answer."""

    def __init__(self, redis_client: redis.Redis, store: JobStore, delivery: Delivery, limits: Limits) -> None:
        self._admit = redis_client.register_script(_ADMIT)
        self._store = store
        self._delivery = delivery
        self._limits = limits

    def admit(self, record: JobRecord) -> Quota:
        """Raises QueueFull, TooManyUnfinished and TooFast, which say after how many seconds another try makes sense."""
        limits = self._limits
        render = render_queue(record.settings.backbone)
        queues = (PLAN_QUEUE, render) if record.stage is Stage.PLANNING else (render,)
        orders = [self._delivery.queue(queue).order for queue in queues]
        keys = [f"rate:{record.owner}", *(order.key for order in orders), *self._store.unfinished_keys(record.owner)]
        arguments = [limits.queued, limits.unfinished, limits.rate, limits.burst, len(queues)]
        with answering():
            verdict, number = cast(tuple[str, int], self._admit(keys=keys, args=arguments))
        match verdict:
            case "queued":
                wait, pace = self._wait(orders[number])
                reason = f"the queue '{queues[number]}' holds {limits.queued} jobs, as many as it may; {pace}"
                raise QueueFull(reason, retry_after=wait)
            case "unfinished":
                wait, pace = self._wait(orders[-1])
                reason = f"'{record.owner}' has {number} unfinished jobs, of {limits.unfinished} it may have; {pace}"
                raise TooManyUnfinished(reason, retry_after=wait)
            case "rate":
                reason = f"'{record.owner}' may submit {limits.rate:g} jobs a second, and {limits.burst} at once"
                raise TooFast(reason, retry_after=math.ceil(number / 1000))
        return Quota(limits.burst, math.ceil(limits.burst / limits.rate), left=number)

    def _wait(self, order: FairOrder) -> tuple[int, str]:
        """Seconds until a job leaves the queue, as measured, and where they come from."""
        with answering():
            pace = order.seconds_a_job()
        if pace is None:
            return UNMEASURED_SECONDS, "no job has left it since it began to fill, so that the wait is a guess"
        return min(max(math.ceil(pace), 1), LONGEST_SECONDS), f"one leaves it every {pace:.1f} s"
