"""A circuit breaker: what keeps failing is left alone for a while.

    state      a call            it succeeds     it fails
    closed     is let through    closed          closed; the `threshold`-th failure in a row: open
    open       is refused until `rest` seconds have passed; then half-open
    half-open  one is let through, others are refused
                                 closed          open

Not locked: all calls are made by one thread.
"""

import time
from collections.abc import Callable


class CircuitOpen(Exception):
    """The call was refused; for so many seconds the next ones will be."""

    def __init__(self, said: str, seconds: float) -> None:
        super().__init__(said)
        self.seconds = seconds


class Circuit:
    def __init__(self, threshold: int, rest: float, clock: Callable[[], float] = time.monotonic) -> None:
        """rest: seconds."""
        self._threshold = threshold
        self._rest = rest
        self._clock = clock
        self._failures = 0
        self._closed_again_at = 0.0

    def enter(self) -> None:
        """Before a call.  Raises CircuitOpen."""
        if self._failures < self._threshold:
            return
        now = self._clock()
        if now < self._closed_again_at:
            rest = self._closed_again_at - now
            raise CircuitOpen(f"{self._failures} failures in a row, next attempt within {self._rest:g} s", rest)
        self._closed_again_at = now + self._rest  # half-open: this call goes through, the next ones wait for it

    def record_success(self) -> None:
        self._failures = 0

    def record_failure(self) -> None:
        self._failures += 1
        self._closed_again_at = self._clock() + self._rest
