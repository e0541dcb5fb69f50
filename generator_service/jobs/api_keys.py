"""API keys in Redis: who may call, and as whom.

    key:{id}            a `KeyRecord` as JSON, with the SHA-256 of the secret; one that was rotated expires by itself
    keys                set of ids, the expired ones included until somebody lists them
    keys:used           hash from id to the time of a recent use

A key is `mfv_<id>_<secret>`.  The id is no secret; of the secret, 256 random bits, only the hash is kept, and a plain
one is enough: nobody can go through that many guesses, however fast each is.
"""

import hmac
import math
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final, Self, cast

import redis
import structlog
from pydantic import Field, StringConstraints, ValidationError

from generator_service.contract.keys import ApiKey
from generator_service.jobs.connection import redis_errors_as_unavailable
from shared.errors import NotFound, Unauthenticated
from shared.wire import WireModel

_KEYS: Final = "keys"
USED: Final = "keys:used"
_NO_HASH: Final = "0" * 64
"""No secret is known to have it."""

log = structlog.get_logger(__name__)

Owner = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Part of the names of Redis keys, and so without a colon."""
KeyId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]


class Scope(StrEnum):
    SUBMIT = "submit"
    """Submit, cancel and delete jobs of one's own."""
    READ = "read"
    """Look at jobs of one's own and at their results."""
    ADMIN = "admin"
    """Both, with everybody's jobs."""


class KeyInfo(WireModel):
    """What may be told of a key."""

    id: KeyId
    owner: Owner
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    """None: good until somebody revokes it."""
    used_at: datetime | None = None
    """When it was last used, to the minute; None if never, and wherever nobody asks."""


class KeyRecord(KeyInfo):
    """What is kept of a key."""

    hash: Annotated[str, Field(repr=False)]


class ApiKeys:
    """`redis_client` must decode responses to text.  Every method raises Unavailable where Redis does not answer."""

    def __init__(self, redis_client: redis.Redis) -> None:
        self._redis = redis_client

    def create(self, owner: str, scopes: Collection[Scope]) -> ApiKey:
        """Raises ValidationError for a name that no owner may have."""
        key = ApiKey.new()
        granted = tuple(sorted(set(scopes)))
        record = KeyRecord(id=key.id, owner=owner, scopes=granted, hash=key.hash, created_at=datetime.now(UTC))
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.set(key_name(key.id), record.model_dump_json())
            pipeline.sadd(_KEYS, key.id)
            pipeline.execute()
        return key

    def rotate(self, key_id: str, grace: timedelta) -> ApiKey:
        """A new key for the same owner, with the same scopes; the old one is good for `grace` more.  Raises NotFound.

        One that ends sooner anyway still does.
        """
        old = self._record(key_id)
        key = self.create(old.owner, old.scopes)
        if grace <= timedelta(0):
            self.revoke(old.id)
            return key
        end = datetime.now(UTC) + grace
        if old.expires_at is None or old.expires_at > end:
            ending = old.model_copy(update={"expires_at": end})
            with redis_errors_as_unavailable():
                self._redis.set(
                    key_name(old.id), ending.model_dump_json(), px=math.ceil(grace.total_seconds() * 1000), xx=True
                )
        return key

    def revoke(self, key_id: str) -> None:
        """No longer good, from now on.  Raises NotFound."""
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.delete(key_name(key_id))
            pipeline.srem(_KEYS, key_id)
            pipeline.hdel(USED, key_id)
            found = pipeline.execute()[0]
        if not found:
            raise _unknown(key_id)

    def all(self) -> tuple[KeyInfo, ...]:
        """Every key that is good now, by owner and age."""
        with redis_errors_as_unavailable():
            # Uses first: a key that is made and used while this is read has not expired.
            used = cast(dict[str, str], self._redis.hgetall(USED))
            ids = sorted(cast(set[str], self._redis.smembers(_KEYS)))
            found = cast(list[str | None], self._redis.mget([key_name(key_id) for key_id in ids])) if ids else []
            kept = {key_id: text for key_id, text in zip(ids, found, strict=True) if text is not None}
            expired = {*ids, *used} - kept.keys()
            if expired:
                self._redis.srem(_KEYS, *expired)
                self._redis.hdel(USED, *expired)
        told = (
            KeyInfo(**record.model_dump(exclude={"hash", "used_at"}), used_at=_time(used.get(record.id)))
            for record in map(_read, kept.values())
            if record is not None
        )
        return tuple(sorted(told, key=lambda info: (info.owner, info.created_at)))

    def _record(self, key_id: str) -> KeyRecord:
        with redis_errors_as_unavailable():
            kept = cast(str | None, self._redis.get(key_name(key_id)))
        record = _read(kept)
        if record is None:
            raise _unknown(key_id)
        return record


@dataclass(frozen=True)
class ReadTicket:
    """Lets its bearer follow one job and read its files for a while, in the name of a key: browsers can send no header
    with an event stream, a video or a picture, and a URL is no place for the key itself.

    It is signed with what is kept of the key, so that there is no other secret, and it ends with the key.
    """

    id: str
    """The key's."""
    job_id: str
    until: int
    """Seconds since 1970."""
    signature: str

    @classmethod
    def sign(cls, key: KeyRecord, job_id: str, until: int) -> Self:
        return cls(key.id, job_id, until, _signature(key.hash, job_id, until))

    @classmethod
    def parse(cls, text: str, job_id: str) -> Self:
        """Raises Unauthenticated."""
        match = re.fullmatch(r"([0-9a-f]{12})-([0-9]{1,12})-([0-9a-f]{64})", text)
        if match is None:
            raise Unauthenticated("the ticket is none of ours")
        return cls(match[1], job_id, int(match[2]), match[3])

    @property
    def text(self) -> str:
        return f"{self.id}-{self.until}-{self.signature}"


def _signature(key_hash: str, job_id: str, until: int) -> str:
    return hmac.digest(key_hash.encode(), f"read {job_id} {until}".encode(), "sha256").hex()


def verify(proof: ApiKey | ReadTicket, kept: str | None) -> KeyRecord:
    """Whose key this is, where `kept` is what stands in Redis under `key_name(proof.id)`.

    Raises Unauthenticated, whatever is wrong with it.
    """
    record = _read(kept)
    key_hash = _NO_HASH if record is None else record.hash
    if isinstance(proof, ReadTicket):
        expected = _signature(key_hash, proof.job_id, proof.until)
        is_good = hmac.compare_digest(proof.signature, expected) and time.time() < proof.until
    else:
        is_good = hmac.compare_digest(proof.hash, key_hash)
    if record is None or not is_good:
        raise Unauthenticated("the key is not known here, or no longer good")
    return record


@lru_cache
def _read(kept: str | None) -> KeyRecord | None:
    """None where there is none, and where it cannot be read."""
    try:
        return None if kept is None else KeyRecord.from_storage(kept)
    except ValidationError:
        log.warning("key_unreadable")
        return None


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def key_name(key_id: str) -> str:
    return f"key:{key_id}"


def _unknown(key_id: str) -> NotFound:
    return NotFound(f"there is no key '{key_id}'")
