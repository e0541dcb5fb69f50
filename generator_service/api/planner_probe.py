"""Is the planner ready?  With a language model its answer costs a completion, so it is asked for now and then only."""

import threading
import time
from typing import Final, Self

import httpx

from shared.errors import PlannerUnavailable

TIMEOUT: Final = httpx.Timeout(10.0, connect=2.0)
"""A completion of a few tokens takes seconds where the model is busy."""
READY_SECONDS: Final = 10.0
"""How long its word is taken."""
UNREADY_SECONDS: Final = 2.0
"""The same where it is not ready: whoever waits for it should not wait long."""


class PlannerProbe:
    """Thread-safe; those who ask at the same time share one answer.  Closes its connections at the end of `with`."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT, trust_env=False)  # no proxy between our own parts
        self._asking = threading.Lock()
        self._ready = False
        self._good_until = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def check(self) -> None:
        """Raises PlannerUnavailable."""
        with self._asking:
            if time.monotonic() >= self._good_until:
                self._ready = self._ask()
                self._good_until = time.monotonic() + (READY_SECONDS if self._ready else UNREADY_SECONDS)
            if not self._ready:
                raise PlannerUnavailable("does not say that it is ready")

    def _ask(self) -> bool:
        try:
            return self._http.get("/ready").is_success
        except httpx.HTTPError:
            return False
