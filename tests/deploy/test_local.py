"""The commands, with parts that start in no time: whatever ends them, nothing is left, and it is said why."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.demo import slug
from deploy.servers import LOOPBACK, free_ports

PARTS = 4


class Command:
    """A command that runs, in a terminal's place."""

    def __init__(self, behaviour: str, arguments: list[str], folder: Path) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("tiny_stack.py")), behaviour, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"TMPDIR": str(self.temporary), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        self.parts: list[psutil.Process] = []

    def has_parts(self, count: int = PARTS) -> None:
        """Wait until that many are there."""
        deadline = time.monotonic() + 60
        while len(self.parts) < count:
            assert time.monotonic() < deadline, self.text
            assert self.process.poll() is None, self.text
            self.parts = psutil.Process(self.process.pid).children(recursive=True)
            time.sleep(0.02)

    def says(self, words: str) -> None:
        """Wait until it does."""
        deadline = time.monotonic() + 60
        while words not in self.text:
            assert time.monotonic() < deadline, self.text
            assert self.process.poll() is None, self.text
            time.sleep(0.02)

    def ends(self) -> int:
        return self.process.wait(60)

    def leaves_nothing(self) -> bool:
        _, alive = psutil.wait_procs(self.parts, timeout=20)
        return not [part for part in alive if part.status() != psutil.STATUS_ZOMBIE] and not any(
            self.temporary.iterdir()
        )

    @property
    def text(self) -> str:
        return self.output.read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def commands(folder: Path) -> Iterator[list[Command]]:
    made: list[Command] = []
    yield made
    for command in made:
        command.process.kill()
        command.process.wait()


def up(commands: list[Command], behaviour: str, folder: Path, port: int, name: str = "first") -> Command:
    command = Command(behaviour, ["up", "--port", str(port), "--data", str(folder / "data")], folder / name)
    commands.append(command)
    return command


def test_up_runs_until_ctrl_c_and_keeps_its_data(commands: list[Command], folder: Path, port: int) -> None:
    command = up(commands, "ready", folder, port)
    command.says("Ctrl-C stops everything")
    command.has_parts()
    assert f"API      http://127.0.0.1:{port}" in command.text
    assert f"curl -s http://127.0.0.1:{port}/jobs" in command.text
    command.process.send_signal(signal.SIGINT)
    assert command.ends() == 0
    assert command.leaves_nothing()
    assert (folder / "data" / "valkey" / "data").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_during_the_start_stops_everything(
    commands: list[Command], folder: Path, port: int, number: signal.Signals, code: int
) -> None:
    command = up(commands, "stuck", folder, port)
    command.has_parts()
    command.process.send_signal(number)
    assert command.ends() == code
    assert f"Stopped by {number.name}" in command.text
    assert command.leaves_nothing()


def test_signals_in_a_row_stop_everything_too(commands: list[Command], folder: Path, port: int) -> None:
    command = up(commands, "stuck", folder, port)
    command.has_parts()
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        command.process.send_signal(number)
    assert command.ends() > 0
    assert command.leaves_nothing()


def test_a_demo_leaves_no_temporary_folder(commands: list[Command], folder: Path) -> None:
    command = Command("stuck", ["demo", "--out", str(folder / "out")], folder / "first")
    commands.append(command)
    command.has_parts()
    assert any(command.temporary.iterdir())
    command.process.send_signal(signal.SIGINT)
    assert command.ends() == 130
    assert command.leaves_nothing()


def test_a_prompt_that_no_job_may_have_is_refused_before_anything_starts(commands: list[Command], folder: Path) -> None:
    command = Command("ready", ["demo", "--prompt", " "], folder / "first")
    commands.append(command)
    assert command.ends() == 1
    assert "prompt" in command.text
    assert "ready after" not in command.text
    assert command.leaves_nothing()


def test_a_part_that_dies_ends_the_stack(commands: list[Command], folder: Path, port: int) -> None:
    command = up(commands, "dies", folder, port)
    command.has_parts()
    assert command.ends() == 1
    assert "render worker ended" in command.text
    assert "out of memory" in command.text
    assert command.leaves_nothing()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_kill_leaves_no_process(commands: list[Command], folder: Path, port: int) -> None:
    command = up(commands, "ready", folder, port)
    command.says("Ctrl-C stops everything")
    command.has_parts()
    command.process.kill()
    command.ends()
    assert command.leaves_nothing()


def test_a_port_that_is_taken_is_said_before_anything_starts(commands: list[Command], folder: Path, port: int) -> None:
    with socket.create_server((LOOPBACK, port)):
        command = up(commands, "ready", folder, port)
        assert command.ends() == 1
    assert f"Port {port} is taken" in command.text
    assert command.leaves_nothing()


def test_two_stacks_do_not_share_data(commands: list[Command], folder: Path, port: int) -> None:
    first = up(commands, "ready", folder, port)
    first.says("Ctrl-C stops everything")
    second = up(commands, "ready", folder, free_ports(1)[0], name="second")
    assert second.ends() == 1
    assert "Another stack is running on" in second.text


@pytest.mark.parametrize(
    ("prompt", "name"),
    [("A red car, twice!", "a-red-car-twice"), ("!?", "video"), ("x" * 200, "x" * 80), ("a " * 60, ("a-" * 40)[:-1])],
)
def test_a_folder_is_named_for_the_prompt(prompt: str, name: str) -> None:
    assert slug(prompt) == name
