"""Ctrl-C as a wish that is looked at, not as an exception that may strike anywhere, least of all during a clean-up."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Somebody asked this process to stop."""

    def __init__(self, by: signal.Signals) -> None:
        super().__init__(f"stopped by {by.name}")
        self.by = by


class StopRequest:
    """Whether a signal asked for the end, and what to do when more of them ask to hurry."""

    def __init__(self) -> None:
        self._first: signal.Signals | None = None
        self.on_more: Callable[[], None] = lambda: None

    def check(self) -> None:
        """Raises Stopped once a signal has come."""
        if self._first is not None:
            raise Stopped(self._first)

    def receive(self, number: int, _frame: FrameType | None) -> None:
        if self._first is None:
            self._first = signal.Signals(number)
        else:
            self.on_more()


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Signals that end a program only set a `StopRequest` while the block runs.  For the main thread."""
    request = StopRequest()
    before = {number: signal.signal(number, request.receive) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
