"""What a process does again and again beside its work."""

import threading
from abc import ABC, abstractmethod
from typing import ClassVar, Final, Self

import structlog

from shared.errors import Unavailable

LEAVING_SECONDS: Final = 2.0
"""How long the end of the block waits for a look under way."""

log = structlog.get_logger(__name__)


class Routine(ABC):
    """Looks after something, in a thread of its own while the `with` block runs; outages are logged and outlived."""

    name: ClassVar[str]

    def __init__(self, seconds: float) -> None:
        """seconds: from the end of one look to the next."""
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    @abstractmethod
    def look(self) -> None:
        """Raises Unavailable."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(LEAVING_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Unavailable as outage:
                log.warning(f"{self.name}_blind", reason=outage.detail)
            except Exception:  # whatever it is, nobody else does what this does
                log.exception(f"{self.name}_blind")
            self._stopping.wait(self._seconds)
