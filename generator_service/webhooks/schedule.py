"""The retry schedule of webhooks."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=3),
    timedelta(hours=6),
    timedelta(hours=12),
)
"""After the first attempt, the second, …: nine attempts in about 22 hours."""
JITTER: Final = 0.2
"""Each pause varies by up to this share, so that retries do not come all at once."""


def next_attempt(attempts: int, now: datetime, chance: Callable[[], float] = random.random) -> datetime | None:
    """After so many failed attempts; None where that was the last.  `chance`: uniform in [0, 1)."""
    if attempts > len(PAUSES):
        return None
    return now + PAUSES[attempts - 1] * (1 + JITTER * (2 * chance() - 1))
