"""What the service costs a job, as `make overhead` measures it: a short form, whose times say nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "overhead.py"


@pytest.mark.timeout(300)
def test_the_parts_of_a_round_are_the_whole() -> None:
    arguments = ["--rounds", "1", "--steps", "4"]
    run = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    head, _, row = ([cell.strip() for cell in line.strip("| ").split("|")] for line in run.stdout.splitlines()[-3:])
    found = dict(zip(head, row, strict=True))
    here, service, *parts = (
        float(found[name]) for name in ("here", "service", "taken up", "drawing", "storing", "rest")
    )
    assert found["steps"] == "4"
    assert here > 0
    assert service == pytest.approx(here + sum(parts), abs=0.003)  # each is rounded
    assert float(found["overhead"].rstrip("%")) == pytest.approx((service / here - 1) * 100, abs=0.5)
    assert min(float(found[name]) for name in ("taken up", "storing", "told")) > 0
