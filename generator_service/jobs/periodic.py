"""What a process does again and again beside its work."""

import threading
from abc import ABC, abstractmethod
from typing import ClassVar, Final, Self

import structlog

from shared.errors import Unavailable

LEAVING_SECONDS: Final = 2.0
"""How long the end of the block waits for a run under way."""

log = structlog.get_logger(__name__)


class PeriodicTask(ABC):
    """Runs in a thread of its own while the `with` block lasts; outages are logged and outlived."""

    name: ClassVar[str]

    def __init__(self, seconds: float) -> None:
        """seconds: from the end of one run to the next."""
        self._seconds = seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=self.name, daemon=True)

    @abstractmethod
    def run_once(self) -> None:
        """Raises Unavailable."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(LEAVING_SECONDS)

    def _repeat(self) -> None:
        while not self._stopping.is_set():
            try:
                self.run_once()
            except Unavailable as outage:
                log.warning(f"{self.name}_interrupted", reason=outage.detail)
            except Exception:  # whatever it is, nobody else does what this does
                log.exception(f"{self.name}_interrupted")
            self._stopping.wait(self._seconds)
