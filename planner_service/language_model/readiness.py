"""Whether a server can be planned with: asked now and then, by one at a time, whoever wants to know."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from shared.errors import LanguageModelUnavailable


class Verdict(NamedTuple):
    stale_at: float
    error: LanguageModelUnavailable | None


class Readiness:
    def __init__(self, ask: Callable[[], None], fresh: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`ask` raises LanguageModelUnavailable where it is not; what it says holds for `fresh` seconds."""
        self._ask = ask
        self._fresh = fresh
        self._clock = clock
        self._verdict: Verdict | None = None
        self._asking = threading.Lock()

    def record(self, error: LanguageModelUnavailable | None = None) -> None:
        """Somebody has seen it work; or not, as the error says."""
        self._verdict = Verdict(self._clock() + self._fresh, error)

    def check(self) -> None:
        """Raises LanguageModelUnavailable where it is not ready.  While somebody asks, the last verdict holds."""
        if self._asking.acquire(blocking=self._verdict is None):
            try:
                if self._verdict is None or self._clock() >= self._verdict.stale_at:
                    self._find_out()
            finally:
                self._asking.release()
        if self._verdict is not None and (error := self._verdict.error) is not None:
            raise type(error)(error.detail, retry_after=error.retry_after) from error

    def _find_out(self) -> None:
        try:
            self._ask()
        except LanguageModelUnavailable as error:
            self.record(error)
        else:
            self.record()
