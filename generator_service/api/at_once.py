"""What an owner may have going on at one process of the API."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from shared.errors import LimitReached

ENDS_SECONDS: Final = 5
"""After so long one of an owner's many may have ended."""


class AtOnce:
    """How many each owner has, of one event loop."""

    def __init__(self, of_an_owner: int, what: str, refusal: type[LimitReached] = LimitReached) -> None:
        """what: in the plural, as the refusal says it."""
        self._of_an_owner, self._what, self._refusal = of_an_owner, what, refusal
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_more(self, owner: str) -> Iterator[None]:
        """Raises `refusal`."""
        if self._open[owner] >= self._of_an_owner:
            reason = f"'{owner}' has {self._open[owner]} {self._what} here, as many as it may"
            raise self._refusal(reason, retry_after=ENDS_SECONDS)
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]
