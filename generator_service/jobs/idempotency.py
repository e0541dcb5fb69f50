"""One job for each key that a client gives, however often it sends its request.

    idempotency:{owner}:{SHA-256 of the key}    hash: the request's `fingerprint`, the `job` it makes, the `holder` at
                                                work on it until `until` (milliseconds since 1970), "" once it is made

The semantics are those of the IETF's draft-ietf-httpapi-idempotency-key-header.  The job's id is chosen with the
reservation, so that whoever takes over from a holder that died makes the very same job.  `JobStore.create` makes the
job and writes down that it is made, in one: a key that has made its job makes no other, also when that is deleted.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Final, cast

import redis

from generator_service.contract.request import JobRequest
from generator_service.jobs.connection import answering
from shared.errors import KeyReused, StillSubmitting

KEPT_SECONDS: Final = 24 * 3600
LEASE_SECONDS: Final = 10.0
"""What a holder may take: a thousand times what it needs, or thrice where a webhook's name is slow to look up."""

_RESERVE = """
local fingerprint, job, holder, till = unpack(redis.call('HMGET', KEYS[1], 'fingerprint', 'job', 'holder', 'until'))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if fingerprint then
  if fingerprint ~= ARGV[1] then return {'reused', job} end
  if holder == '' then return {'made', job} end
  if holder ~= ARGV[2] and tonumber(till) > now then return {'busy', job} end
end
job = job or ARGV[2]
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'job', job, 'holder', ARGV[2], 'until', now + ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4], 'NX')
return {'reserved', job}
"""
_FREE = """
local job, holder = unpack(redis.call('HMGET', KEYS[1], 'job', 'holder'))
if holder ~= ARGV[1] then return end
if job == holder then redis.call('DEL', KEYS[1]) else redis.call('HSET', KEYS[1], 'until', 0) end
"""
"""One that took the job over is not the only one who may make it: the first may be slow, and not dead."""


@dataclass(frozen=True)
class Reservation:
    name: str
    """The Redis key."""
    holder: str
    job_id: str
    """The job that this key makes, or has made."""
    made: bool


class Idempotency:
    """`redis_client` must decode responses to text.  Every method raises Unavailable where Redis does not answer."""

    def __init__(self, redis_client: redis.Redis, lease_seconds: float = LEASE_SECONDS) -> None:
        self._lease = round(lease_seconds * 1000)
        self._reserve = redis_client.register_script(_RESERVE)
        self._free = redis_client.register_script(_FREE)

    def reserve(self, owner: str, key: str, request: JobRequest, job_id: str) -> Reservation:
        """Of all who ask at once, one may make the job.  `job_id`: never used before; the new job's, if there is to be
        one.

        Raises KeyReused where the key belongs to another request, StillSubmitting while another is at work on this one.
        """
        name = f"idempotency:{owner}:{hashlib.sha256(key.encode()).hexdigest()}"
        with answering():
            answer = self._reserve(keys=[name], args=[fingerprint(request), job_id, self._lease, KEPT_SECONDS])
        state, reserved = cast(tuple[str, str], answer)
        match state:
            case "reused":
                raise KeyReused("this Idempotency-Key came with another request within the last 24 hours")
            case "busy":
                raise StillSubmitting("another request with this Idempotency-Key is being worked on", retry_after=1)
        return Reservation(name, job_id, reserved, made=state == "made")

    def free(self, reservation: Reservation) -> None:
        """The job was refused: the same request may be sent again at once, and where nobody else had begun with it, the
        key may be another's."""
        with answering():
            self._free(keys=[reservation.name], args=[reservation.holder])


def fingerprint(request: JobRequest) -> str:
    """The same for all ways to write the same request: SHA-256 of its JSON, names in order, without what is default."""
    text = json.dumps(request.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
