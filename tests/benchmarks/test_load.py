"""The API under load, as `make load` measures it: a short form, whose times say nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "load.py"


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load (nghttp2-client) is not installed")
def test_no_request_fails_under_load() -> None:
    small = {"queued": 30, "streams": 3, "posts": 10, "gets": 40, "seconds": 2, "processes": 1, "compared": 300}
    arguments = [part for name, value in small.items() for part in (f"--{name}", str(value))]
    run = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in run.stdout.splitlines()]
    table = {row[0]: row[1:] for row in rows}
    assert table["GET /jobs/{id}"][-1] == "0 of 80"
    assert table["POST /jobs"][-1] == "0 of 20"
    assert table["GET"][-1].endswith(" ×")
    assert table["Valkey"][0].endswith("MiB")
