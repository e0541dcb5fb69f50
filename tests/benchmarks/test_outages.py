"""Each part gone in the middle of a job, as `make outages` has it for half a minute: a short form."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.timeout(400)
def test_no_job_is_lost_to_an_outage() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.outages", "--seconds", "2"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert run.returncode == 0, run.stderr
    seen: dict[str, dict[str, Any]] = json.loads(run.stdout.splitlines()[-1])
    assert list(seen) == ["Redis", "storage", "planner", "language model"]
    for part, its in seen.items():
        assert (its["job"], its["attempts"], its["videos"]) == ("succeeded", 1, 1), part
        assert its["other"] == (None if part == "Redis" else "succeeded"), part
    assert (seen["Redis"]["got"], seen["Redis"]["posted"]) == (503, 503)
    assert {(its["got"], its["posted"]) for part, its in seen.items() if part != "Redis"} == {(200, 202)}
    assert {part: its["waited_for"] for part, its in seen.items()} == {
        "Redis": None,
        "storage": None,
        "planner": "planner_unavailable",
        "language model": "language_model_unavailable",
    }
    for part in ("Redis", "storage"):  # that the planner was ready is believed for a while
        assert part.lower() in seen[part]["ready"]
