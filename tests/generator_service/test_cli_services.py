"""A service that cannot start says why in one line, whoever reads it: a person, or a container's log."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.servers import LOOPBACK, free_ports


@pytest.mark.parametrize(
    ("command", "variable", "value", "reason"),
    [
        ("plan-worker", "GENERATOR_REDIS_URL", f"redis://:hunter2@{LOOPBACK}:{free_ports(1)[0]}/0", "does not answer"),
        ("render-worker", "GENERATOR_RENDER_BACKBONE", "sora", "'sora' but expected one of: emoji-world"),
        ("render-worker", "GENERATOR_RENDER_WEIGHTS", "no/such/folder", "weights are not on this machine"),
        ("serve", "GENERATOR_STORAGE_URL", "gs://videos", "'gs://videos' but expected s3://bucket"),
        ("serve", "GENERATOR_REDIS_URL", "http://nowhere", "Redis URL must specify"),
    ],
)
def test_a_service_that_cannot_start_says_why(
    command: str, variable: str, value: str, reason: str, tmp_path: Path
) -> None:
    environment = {"GENERATOR_STORAGE_URL": f"file://{tmp_path}"} | {variable: value}
    ended = subprocess.run(
        [sys.executable, "-m", "generator_service", command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 1
    *log, told = ended.stderr.splitlines()
    assert reason in told
    assert len(log) <= 1  # what it was about to do
    assert "hunter2" not in ended.stderr
    assert "Traceback" not in ended.stderr
