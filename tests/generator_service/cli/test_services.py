"""A service that cannot start says why in one line, whoever reads it: a person, or a container's log."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from deploy.servers import LOOPBACK, answers, free_ports
from generator_service.cli.services import require_keys_off_loopback
from generator_service.settings import BadSettings

NO_KEYS = "it may listen on 127.0.0.1 and not on '0.0.0.0': set GENERATOR_REQUIRE_KEYS=true"


@pytest.mark.parametrize(
    ("command", "variable", "value", "code", "reason"),
    [
        ("plan-worker", "GENERATOR_REDIS_URL", f"redis://:hunter2@{LOOPBACK}:1/0", 1, "not answer"),
        ("webhook-worker", "GENERATOR_REDIS_URL", f"redis://:hunter2/horse@{LOOPBACK}:6379/0", 2, "URL must be"),
        ("render-worker", "GENERATOR_RENDER_WEIGHTS", "no/such/folder", 1, "weights are not on this machine"),
        ("serve", "GENERATOR_STORAGE_URL", "gs://videos", 2, "'gs://videos' but expected s3://bucket"),
        ("serve", "GENERATOR_HOST", "0.0.0.0", 2, NO_KEYS),  # noqa: S104
        ("serve --host 0.0.0.0", "GENERATOR_HOST", LOOPBACK, 2, NO_KEYS),
    ],
)
def test_a_service_that_cannot_start_says_why(
    command: str, variable: str, value: str, code: int, reason: str, tmp_path: Path
) -> None:
    secret = {"GENERATOR_WEBHOOK_SECRET": "a secret of twenty-four letters"}
    environment = {"GENERATOR_STORAGE_URL": f"file://{tmp_path}"} | secret | {variable: value}
    ended = subprocess.run(
        [sys.executable, "-m", "generator_service", *command.split()],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ended.returncode == code
    *log, told = ended.stderr.splitlines()
    assert reason in told
    assert len(log) <= 1  # what it was about to do
    assert [word for word in ("hunter2", "horse", "twenty-four", "Traceback") if word in ended.stderr] == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "", "api.internal", "127.0.0.1.example.org"])  # noqa: S104
def test_beyond_loopback_the_api_listens_only_where_keys_are_required(host: str) -> None:
    with pytest.raises(BadSettings, match="GENERATOR_REQUIRE_KEYS=true"):
        require_keys_off_loopback(host, keys_required=False)
    require_keys_off_loopback(host, keys_required=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
def test_on_loopback_it_asks_for_none(host: str) -> None:
    require_keys_off_loopback(host, keys_required=False)


def test_with_keys_required_it_listens_and_answers_strangers_with_401(
    redis_url: str, wait_until: Callable[..., None]
) -> None:
    (port,) = free_ports(1)
    environment = {
        "GENERATOR_STORAGE_URL": "memory://",
        "GENERATOR_REDIS_URL": redis_url,
        "GENERATOR_HOST": "0.0.0.0",  # noqa: S104
        "GENERATOR_PORT": str(port),
        "GENERATOR_REQUIRE_KEYS": "true",
    }
    process = subprocess.Popen([sys.executable, "-m", "generator_service", "serve"], env=os.environ | environment)
    try:
        wait_until(lambda: answers(f"http://{LOOPBACK}:{port}/health"), 100)
        assert httpx.get(f"http://{LOOPBACK}:{port}/jobs", trust_env=False).status_code == 401
    finally:
        process.terminate()
        process.wait(20)
