"""One translation of Redis's silence, for everything that talks to it."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from shared.errors import Unavailable


@contextmanager
def answering() -> Iterator[None]:
    """Raises Unavailable where Redis cannot be reached."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Unavailable("Redis does not answer") from error
