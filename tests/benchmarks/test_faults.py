"""Kills at random, as `make faults` does in its hundreds: a short form."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "faults.py"
KILLS = 4
SEED = 88
"""Kills one of each kind."""


@pytest.mark.timeout(400)
def test_no_job_is_lost_to_random_kills() -> None:
    run = subprocess.run(
        [sys.executable, SCRIPT, "--kills", str(KILLS), "--seed", str(SEED)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    *kinds, last = run.stdout.splitlines()[-5:]
    assert [line.split("|")[2].strip() for line in kinds] == ["1", "1", "1", "1"]
    table = json.loads(last)
    assert table["jobs"] >= KILLS
    assert table["notice_seconds_max"] is not None, "another seed would kill workers that are at work"
    assert table["notice_seconds_max"] <= 15.0
    assert {name: table[name] for name in ("kills", "lost", "duplicated", "stuck")} == {
        "kills": KILLS,
        "lost": 0,
        "duplicated": 0,
        "stuck": 0,
    }
