"""The README's examples, as they are written, against the running stack."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.stack import LocalStack

pytestmark = pytest.mark.timeout(300)  # the first test waits for the start of everything

WRITTEN_ADDRESS = "http://127.0.0.1:8080"


@pytest.fixture(scope="module")
def examples(repository: Path, stack: LocalStack) -> dict[str, list[str]]:
    """Blocks of code by the language they are marked with, "" for none, with this stack's address in them."""
    readme = (repository / "README.md").read_text().replace(WRITTEN_ADDRESS, stack.addresses.api)
    found: dict[str, list[str]] = {}
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", readme, flags=re.MULTILINE | re.DOTALL):
        found.setdefault(language, []).append(block)
    return found


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_rest_examples_make_a_video(examples: dict[str, list[str]], tmp_path: Path) -> None:
    submit, follow = (block for block in examples[""] if block.startswith("curl"))
    job = json.loads(run(["bash", "-euc", submit], tmp_path))
    assert job["status"] == "queued"
    poll, events, content = follow.replace("JOB_ID", job["id"]).splitlines()
    assert json.loads(run(["bash", "-euc", poll], tmp_path))["id"] == job["id"]
    assert '"status":"succeeded"' in run(["bash", "-euc", events], tmp_path)  # it ends when the job has ended
    run(["bash", "-euc", content], tmp_path)
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_python_example_makes_a_video(examples: dict[str, list[str]], tmp_path: Path) -> None:
    (block,) = examples["python"]
    printed = run([sys.executable, "-W", "error", "-c", block], tmp_path)
    assert printed
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_shell_examples_do_what_they_say(examples: dict[str, list[str]], stack: LocalStack, tmp_path: Path) -> None:
    commands = next(block for block in examples[""] if block.startswith("python -m")).splitlines()
    for command in commands:
        words = command.replace("python", sys.executable, 1)
        run(["bash", "-euc", f"export GENERATOR_URL={stack.addresses.api}; {words}"], tmp_path)
    assert (tmp_path / "cat.mp4").exists()
    assert (tmp_path / "sheep.mp4").exists()
    assert list((tmp_path / "plans").glob("*.png"))
