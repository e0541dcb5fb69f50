"""Kills at random, as `make faults` does in its hundreds: a short form."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
KILLS = 4
SEED = 54719
"""Kills one of each kind but a plan worker; the render worker with a job in hand."""


@pytest.mark.timeout(400)
def test_no_job_is_lost_to_random_kills() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", "--kills", str(KILLS), "--seed", str(SEED)],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert run.returncode == 0, run.stderr
    *kinds, last = run.stdout.splitlines()[-6:]
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in kinds]
    assert rows == [
        ["plan worker", "0", "0"],
        ["render worker", "1", "1"],
        ["API", "1", "0"],
        ["API process", "1", "0"],
        ["Valkey", "1", "0"],
    ]
    table = json.loads(last)
    assert table["jobs"] >= KILLS
    assert table["notice_seconds_max"] <= 15.0
    assert {name: table[name] for name in ("kills", "lost", "duplicated", "stuck")} == {
        "kills": KILLS,
        "lost": 0,
        "duplicated": 0,
        "stuck": 0,
    }
