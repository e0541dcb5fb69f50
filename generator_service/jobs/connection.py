"""How this service talks to Redis: no call without a timeout, one translation of its outages."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import redis
import redis.asyncio
from pydantic import SecretStr
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from generator_service.settings import BadSettings
from shared.errors import Unavailable

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 15.0
"""Longer than any blocking call that a worker makes."""
SERVING_SECONDS: Final = 2.0
"""The patience of what somebody waits for: twice as long, at the worst, for a connection and then for an answer."""
ASYNC_CONNECTIONS: Final = 32
"""Of one event loop; who wants more waits."""

BROKEN_TEXT: Final = "replace"
"""What bytes that are no text are read as: what has them cannot be read, as one thing among many."""

_BROKEN: Final = (redis.ConnectionError,)
"""Is tried again at once, since a restart breaks connections; silence is not."""
_SILENT: Final = (redis.ConnectionError, redis.TimeoutError, TimeoutError)
_NO_WRITES: Final = (redis.exceptions.OutOfMemoryError, redis.ReadOnlyError, redis.exceptions.ClusterDownError)
_NO_WRITES_TEXT: Final = re.compile(r"(^|caused error: )(MISCONF|NOREPLICAS|READONLY|OOM)\b")
_AWAY_TEXT: Final = re.compile(r"(^|caused error: )(UNBLOCKED|BUSY|LOADING|MASTERDOWN)\b")
"""For these the client has no exceptions, or none where a pipeline or a script ran into them.  A failover makes a
server read-only and ends what waits there; a script that does not end keeps it busy."""


def connect(url: SecretStr, *, decode: bool) -> redis.Redis:
    """A worker's client, which outlasts a server that hangs; for as many threads as wanted, connects when first used.

    `decode`: text for our own records and heartbeats, bytes for RQ.
    """
    with _understood(url) as address:
        return redis.Redis.from_url(
            address,
            decode_responses=decode,
            encoding_errors=BROKEN_TEXT,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            health_check_interval=30,
        )


def connect_serving(url: SecretStr, *, decode: bool) -> redis.Redis:
    """The same for the API, which soon gives up a server that hangs."""
    with _understood(url) as address:
        return redis.Redis.from_url(
            address,
            decode_responses=decode,
            encoding_errors=BROKEN_TEXT,
            socket_connect_timeout=SERVING_SECONDS,
            socket_timeout=SERVING_SECONDS,
            retry=Retry(NoBackoff(), 1, _BROKEN),
        )


def connect_async(url: SecretStr) -> redis.asyncio.Redis:
    """The same for the API's event loop; decodes to text.

    Without a timeout of its own for answers, for which it would need a task each: put `asyncio.timeout` around.
    """
    with _understood(url) as address:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            address,
            decode_responses=True,
            encoding_errors=BROKEN_TEXT,
            socket_connect_timeout=SERVING_SECONDS,
            retry=AsyncRetry(NoBackoff(), 1, _BROKEN),
            max_connections=ASYNC_CONNECTIONS,
            timeout=SERVING_SECONDS,
        )
    return redis.asyncio.Redis.from_pool(pool)


@contextmanager
def _understood(url: SecretStr) -> Iterator[str]:
    """The address.  Raises BadSettings for one that cannot be, and shows nothing of it: the errors of those who read it
    quote the password's first half as a port, where a character in it has to be escaped and is not."""
    address = url.get_secret_value()
    try:
        parts = urlsplit(address)
        if "@" in parts.path + parts.query + parts.fragment:
            raise ValueError
        yield address
    except ValueError:
        raise BadSettings(
            "the Redis URL must be redis://[user]:[password]@host:port/number, or rediss:// or unix://; "
            "in a password, / is written %2F, # %23, ? %3F, @ %40 and % %25"
        ) from None


@contextmanager
def redis_errors_as_unavailable() -> Iterator[None]:
    """Raises Unavailable where Redis cannot be reached, is failing over, or cannot take a write."""
    try:
        yield
    except redis.AuthenticationError as error:
        raise Unavailable("Redis refuses the service's password") from error
    except _SILENT as error:
        is_pool_used_up = "No connection available" in str(error)
        raise Unavailable("too many requests wait for Redis" if is_pool_used_up else "Redis does not answer") from error
    except _NO_WRITES as error:
        raise Unavailable("Redis takes no writes") from error
    except redis.ResponseError as error:
        text = str(error)
        if _NO_WRITES_TEXT.search(text):
            raise Unavailable("Redis takes no writes") from error
        if _AWAY_TEXT.search(text):
            raise Unavailable("Redis is busy, or another server takes its place") from error
        raise
