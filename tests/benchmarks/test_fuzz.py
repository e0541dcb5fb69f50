"""What `make fuzz` does in its thousands: a short form."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(400)
@pytest.mark.parametrize("options", [("--cases", "100", "--malformed", "0"), ("--cases", "0", "--malformed", "40")])
def test_the_services_stand_what_nobody_should_send(repository: Path, options: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "benchmarks.fuzz", "--seed", "1", *options]
    run = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("nothing went wrong\n")
