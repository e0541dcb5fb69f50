"""Processes that are started together, watched, and stopped together, whatever happens.

Every part begins as soon as those it needs are ready, so independent parts start at the same time; they stop in the
opposite order.  One loop in one thread does all of it.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 0.05
LOG_LINES: Final = 15
LAST_SECONDS: Final = 3.0
"""From the second SIGTERM to SIGKILL."""


class PartError(Exception):
    """A part ended by itself, or did not get ready in time; the message holds the end of its log."""


@dataclass(frozen=True)
class Part:
    """How to run one process."""

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    """Asked again and again, so it should answer within a second or so."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to this process's own."""
    folder: Path | None = None
    """Its working directory; None: this process's own."""
    needs: tuple[str, ...] = ()
    """Names of the parts that must be ready before this one is started, and are stopped after it."""
    uses: tuple[str, ...] = ()
    """Names of more parts that are stopped after it."""
    start_seconds: float = 60.0
    stop_seconds: float = 10.0
    """From the first SIGTERM to the second, which to a worker means: let go of the job at once."""
    leaves: tuple[Path, ...] = ()
    """Files that it may leave outside its folder; removed once it has ended."""


class PartState(StrEnum):
    WAITING = "waiting"
    """for those it needs"""
    STARTING = "starting"
    READY = "ready"


class Running:
    """One part and its process."""

    def __init__(self, part: Part, log: Path) -> None:
        self.part = part
        self.log = log
        self.state = PartState.WAITING
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.seconds = 0.0
        """From start to ready."""
        self._asked: float | None = None
        self._asked_again: float | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def spawn(self) -> None:
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603  (our own command lines)
                self.part.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | dict(self.part.environment),
                cwd=self.part.folder,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        self.started = time.monotonic()
        self.state = PartState.STARTING

    def look(self) -> None:
        """Raises PartError."""
        assert self.process is not None  # noqa: S101
        code = self.process.poll()
        if code is not None:
            how = f"with code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
            when = "as it started" if self.state is PartState.STARTING else "by itself"
            raise PartError(f"{self.part.name} ended {when}, {how}.{self._end_of_log()}")
        if self.state is PartState.READY:
            return
        self.seconds = time.monotonic() - self.started
        if self.part.ready():
            self.state = PartState.READY
        elif self.seconds > self.part.start_seconds:
            limit = f"{self.part.start_seconds:.0f} s"
            raise PartError(f"{self.part.name} was not ready within {limit}.{self._end_of_log()}")

    def urge(self, patience: float) -> None:
        """Ask it to stop; ask again after `patience` seconds; in the end, make it."""
        assert self.process is not None  # noqa: S101
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            self.process.terminate()
        elif self._asked_again is None:
            if now - self._asked >= patience:
                self._asked_again = now
                self.process.terminate()
        elif now - self._asked_again > LAST_SECONDS:
            self.kill()

    def kill(self) -> None:
        """End the process and all its children."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _end_of_log(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return f" The end of its log:\n{chr(10).join(lines)}" if lines else " Its log is empty."


class Stack:
    """Parts that run; made by `running`."""

    def __init__(self, parts: Sequence[Part], logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.parts = {part.name: Running(part, logs / f"{part.name.lower().replace(' ', '-')}.log") for part in parts}
        self._hurried = False

    @property
    def ready(self) -> bool:
        return all(running.state is PartState.READY for running in self.parts.values())

    def pid(self, name: str) -> int:
        process = self.parts[name].process
        if process is None:
            raise ValueError(f"'{name}' has not been started")
        return process.pid

    def advance(self) -> None:
        """Start what can be started, look at what runs.  Raises PartError."""
        for running in self.parts.values():
            if running.state is PartState.WAITING:
                if all(self.parts[name].state is PartState.READY for name in running.part.needs):
                    running.spawn()
            else:
                running.look()

    def stop(self) -> None:
        """Stop each part after those that need it.  Afterwards no process is left."""
        while alive := [running for running in self.parts.values() if running.alive]:
            needed = {name for running in alive for name in running.part.needs + running.part.uses}
            for running in alive:
                if running.part.name not in needed:
                    running.urge(0.0 if self._hurried else running.part.stop_seconds)
            time.sleep(POLL_SECONDS / 5)
        self.kill()
        for part in self.parts.values():
            for path in part.part.leaves:
                path.unlink(missing_ok=True)

    def hurry(self) -> None:
        """Let `stop` wait for no job in hand; called again, for nothing at all."""
        if self._hurried:
            self.kill()
        self._hurried = True

    def kill(self) -> None:
        """End every part and all its children, at once."""
        for running in self.parts.values():
            running.kill()


@contextmanager
def running(parts: Sequence[Part], logs: Path, *, patient: bool = True) -> Iterator[Stack]:
    """A stack of parts, none started yet: call `advance` until it is `ready`.  None is left when the block ends.

    `patient`: they may end in good order, as for every part that keeps data.
    """
    stack = Stack(parts, logs)
    try:
        yield stack
    finally:
        if not patient:
            stack.kill()
        stack.stop()


@contextmanager
def started(parts: Sequence[Part], logs: Path) -> Iterator[Stack]:
    """The same, yielded once every part is ready.  Raises PartError."""
    with running(parts, logs) as stack:
        while not stack.ready:
            stack.advance()
            time.sleep(POLL_SECONDS)
        yield stack


def _die_with(parent: int) -> Callable[[], None] | None:
    """What a child runs before its program, so that the kernel kills it when this process is gone, kill -9 included.

    The signal comes at the end of the *thread* that started the child, one more reason to have only one.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    set_parent_death_signal = 1

    def before_exec() -> None:
        prctl(set_parent_death_signal, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel was told
            os._exit(1)

    return before_exec
