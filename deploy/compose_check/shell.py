"""Commands, and what is said of them."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

BEGIN: Final = time.monotonic()
POLL_SECONDS: Final = 0.2


class CheckFailed(Exception):
    """Says what was expected and what was seen."""


def expect(holds: object, complaint: str) -> None:
    if not holds:
        raise CheckFailed(complaint)


def say(text: str) -> None:
    sys.stdout.write(f"{time.monotonic() - BEGIN:6.0f} s  {text}\n")
    sys.stdout.flush()


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    seconds: float = 120.0,
    given: bytes | None = None,
    log: Path | None = None,
) -> str:
    """What it wrote to stdout.  Raises CheckFailed where it fails, or takes longer.

    given: its stdin.  log: a file that gets all it writes, line by line; nothing is returned then.
    """
    words = " ".join(map(str, command))
    try:
        with ExitStack() as stack:
            out = subprocess.PIPE if log is None else stack.enter_context(log.open("ab"))
            done = subprocess.run(  # noqa: S603
                command, env=environment, cwd=folder, timeout=seconds, input=given, stdout=out, stderr=out
            )
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"{words}: not done after {seconds:.0f} s") from error
    except FileNotFoundError as error:
        raise CheckFailed(f"{words}: there is no '{command[0]}'") from error
    if done.returncode:
        wrong = (done.stderr or done.stdout) if log is None else log.read_bytes()
        raise CheckFailed(f"{words}: exit status {done.returncode}\n{wrong.decode(errors='replace')[-3000:]}")
    return (done.stdout or b"").decode(errors="replace")


def until(what: str, condition: Callable[[], bool], seconds: float = 120.0) -> float:
    """How long it took.  Raises CheckFailed where it takes longer than `seconds`."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise CheckFailed(f"after {seconds:.0f} s not yet: {what}")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - begin
