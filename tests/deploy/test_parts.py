"""Parts with trivial commands: order of start and stop, deaths that are reported, nothing left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.parts import Part, PartError, PartState, Stack, running, started

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


def always() -> bool:
    return True


def never() -> bool:
    return False


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", textwrap.dedent(code))


def eventually(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def advance_until_ready(stack: Stack) -> None:
    while not stack.ready:
        stack.advance()
        time.sleep(0.02)


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_part_begins_once_those_it_needs_are_ready(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    base = Part("base", SLEEP, gate.exists)
    alone = Part("alone", SLEEP, always)
    upper = Part("upper", SLEEP, always, needs=("base",))
    with running([base, alone, upper], tmp_path / "logs") as stack:
        for _ in range(3):
            stack.advance()
        assert [part.state for part in stack.parts.values()] == [
            PartState.STARTING,
            PartState.READY,
            PartState.WAITING,
        ]
        gate.touch()
        for _ in range(3):
            stack.advance()
        assert stack.ready


def test_parts_stop_after_those_that_need_or_use_them(tmp_path: Path) -> None:
    order = tmp_path / "order"
    up = tmp_path / "up"
    up.mkdir()

    def part(name: str, needs: tuple[str, ...] = (), uses: tuple[str, ...] = ()) -> Part:
        code = f"""
            import pathlib, signal, sys, time
            def stop(*_):
                with open({str(order)!r}, "a") as file:
                    file.write("{name} ")
                sys.exit()
            signal.signal(signal.SIGTERM, stop)
            pathlib.Path({str(up)!r}, "{name}").touch()
            time.sleep(600)
        """
        return Part(name, python(code), (up / name).exists, needs=needs, uses=uses)

    with started([part("database"), part("storage"), part("worker", ("database",), ("storage",))], tmp_path):
        pass
    first, *others = order.read_text().split()
    assert first == "worker"
    assert sorted(others) == ["database", "storage"]


def test_a_part_that_ends_as_it_starts_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    lines = "for k in range(40): print('line', k)"
    bad = Part("storage", python(f"{lines}\nraise SystemExit(3)"), never)
    good = Part("database", SLEEP, always)
    with running([good, bad], tmp_path) as stack, pytest.raises(PartError) as error:
        advance_until_ready(stack)
    message = str(error.value)
    assert message.startswith("storage ended as it started, with code 3.")
    assert "line 39" in message
    assert "line 20" not in message
    assert ended(stack.pid("database"))


def test_a_part_that_dies_later_is_reported(tmp_path: Path) -> None:
    with started([Part("worker", SLEEP, always)], tmp_path) as stack:
        os.kill(stack.pid("worker"), signal.SIGKILL)
        assert eventually(lambda: ended(stack.pid("worker")))
        with pytest.raises(PartError, match=r"^worker ended by itself, by SIGKILL. Its log is empty.$"):
            stack.advance()


def test_a_part_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    slow = Part("slow", SLEEP, never, start_seconds=0.2)
    with pytest.raises(PartError, match=r"slow was not ready within 0 s"), started([slow], tmp_path):
        pytest.fail("it cannot be ready")


def test_children_of_a_part_end_with_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"""
        import os, pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))
        time.sleep(600)
    """
    with started([Part("mother", python(code), lambda: pid_file.exists() and pid_file.read_text() != "")], tmp_path):
        child = int(pid_file.read_text())
        assert not ended(child)
    assert eventually(lambda: ended(child))


def test_a_part_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.parts.LAST_SECONDS", 0.1)
    deaf_file = tmp_path / "deaf"
    code = f"""
        import pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path({str(deaf_file)!r}).touch()
        time.sleep(600)
    """
    with started([Part("deaf", python(code), deaf_file.exists, stop_seconds=0.1)], tmp_path) as stack:
        pass
    assert ended(stack.pid("deaf"))


def test_to_hurry_is_to_ask_again_at_once(tmp_path: Path) -> None:
    """A worker brings its job to an end at the first SIGTERM and hands it back at once at the second."""
    up = tmp_path / "up"
    code = f"""
        import pathlib, signal, sys, time
        asked = []
        def stop(*_):
            asked.append(1)
            if len(asked) == 2:
                sys.exit()
        signal.signal(signal.SIGTERM, stop)
        pathlib.Path({str(up)!r}).touch()
        while True:
            time.sleep(0.01)
    """
    begin = time.monotonic()
    with started([Part("worker", python(code), up.exists, stop_seconds=600.0)], tmp_path) as stack:
        stack.hurry()
    assert ended(stack.pid("worker"))
    assert time.monotonic() - begin < 30


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"""
        import pathlib, sys, time
        from deploy.parts import Part, started
        part = Part("part", {SLEEP!r}, lambda: True)
        with started([part], pathlib.Path({str(tmp_path)!r})) as stack:
            pathlib.Path({str(pid_file)!r}).write_text(str(stack.pid("part")))
            time.sleep(600)
    """
    with subprocess.Popen(python(code)) as parent:
        assert eventually(lambda: pid_file.exists() and pid_file.read_text() != "")
        child = int(pid_file.read_text())
        assert not ended(child)
        parent.kill()
    assert eventually(lambda: ended(child))
