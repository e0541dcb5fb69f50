"""The benchmark of guided attention runs, and all its methods do what the dense reference does."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "guided_attention.py"


def test_every_method_is_exact_on_a_tiny_grid() -> None:
    run = subprocess.run([sys.executable, SCRIPT, "--quick"], capture_output=True, text=True, check=True)
    first, second = (table.splitlines() for table in run.stdout.split("\n\n")[1:])
    names = [row.split(" | ")[3] for row in first[2:]]
    assert names == [
        "plain",
        "guided, multiplicative",
        "guided, additive",
        "regional, multiplicative",
        "regional, additive",
        "naive, multiplicative",
        "FlexAttention, multiplicative",
    ]
    errors = [float(re.split(r"[|\s]+", row)[-2]) for row in first[2:]]
    assert max(errors) < 1e-5
    assert [row.split(" | ")[0].removeprefix("| ") for row in second[2:]] == names
