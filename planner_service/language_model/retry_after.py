"""`Retry-After` (RFC 9110, 10.2.3): until when a server wants to be left alone."""

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from now; a date is held against the server's own clock, where it says what that shows.

    None where the header is missing or nonsense.
    """
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    until = _moment(said)
    now = _moment(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds()) if until is not None else None


def _moment(written: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(written)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


class Pause:
    """What a server has asked for.  `longest`: seconds, more is not obeyed.  Not locked, as `Circuit`."""

    def __init__(self, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._clock = clock
        self._until = -math.inf

    def ask(self, seconds: float) -> None:
        self._until = max(self._until, self._clock() + min(seconds, self._longest))

    @property
    def remaining(self) -> float:
        """Seconds; 0 where it is over."""
        return max(0.0, self._until - self._clock())
