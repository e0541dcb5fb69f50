"""Whatever a command cannot do, it says so in one line on stderr, with an exit code and without a traceback; a defect
keeps its own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NoReturn

import pytest
import redis
import typer
from typer.testing import CliRunner, Result

from deploy.servers import LOOPBACK, free_ports
from generator_service.__main__ import app
from generator_service.cli import services as cli_services
from generator_service.settings import BadSettings, Settings, StorageSettings
from shared.errors import Unavailable

JOB = "0" * 32
ASKING = (
    ("submit", "a red car"),
    ("status", JOB),
    ("cancel", JOB),
    ("deliveries", JOB),
    ("webhook-secret",),
    ("jobs",),
    ("backbones",),
    ("overview",),
)
"""Every command that talks to an API."""


@pytest.fixture
def address() -> str:
    """Nobody listens there."""
    return f"{LOOPBACK}:{free_ports(1)[0]}"


def told(result: Result, code: int = 1) -> str:
    """The one line."""
    assert result.exit_code == code
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("command", ASKING, ids=lambda command: command[0])
def test_an_api_that_does_not_answer(command: tuple[str, ...], address: str) -> None:
    line = told(run(*command, "--url", f"http://somebody:hunter2@{address}"))
    assert f"http://{address}/" in line
    assert "does not answer" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("url", ["http://[::1", "http://localhost:port"])
def test_an_address_that_is_none(url: str) -> None:
    assert "the API's address is none" in told(run("overview", "--url", url), code=2)


@pytest.fixture
def another_service(served: Any) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>\x1b[2J")

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield url


def test_a_service_that_is_another_one(another_service: str) -> None:
    assert told(run("jobs", "--url", another_service)).endswith("answered with something that is no JobPage")


def test_what_somebody_else_wrote_moves_no_cursor(address: str) -> None:
    line = told(run("status", "\x1b[2J\r", "--url", f"http://{address}"))
    assert line.isprintable()


@pytest.mark.parametrize("command", [("list",), ("create", "ann"), ("rotate", "x"), ("revoke", "x")])
@pytest.mark.parametrize("password", ["horse/battery#staple", "horse#battery/staple", "1/horse#2", "horse?battery"])
def test_a_redis_url_with_a_password_that_is_not_escaped(
    command: tuple[str, ...], password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENERATOR_REDIS_URL", f"redis://:{password}@{LOOPBACK}:6379/0")
    line = told(run("keys", *command), code=2)
    assert "in a password, / is written %2F, # %23" in line
    assert [part for part in ("horse", "battery", "staple", password) if part in line] == []


@pytest.fixture
def limited(text_client: redis.Redis, redis_url: str) -> Iterator[str]:
    """The URL of a user of Redis who may do nothing."""
    text_client.acl_setuser("limited", enabled=True, passwords=["+hunter2"])
    yield redis_url.replace("redis://", "redis://limited:hunter2@")
    text_client.acl_deluser("limited")


def test_a_redis_that_refuses(limited: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATOR_REDIS_URL", limited)
    line = told(run("keys", "list"))
    assert line.startswith("Redis refuses: ")
    assert "hunter2" not in line


# defects

DEFECTS = [ValueError("cannot reshape tensor"), OSError(5, "Input/output error"), RuntimeError("anything")]


@pytest.fixture(params=DEFECTS, ids=lambda defect: type(defect).__name__)
def break_down(request: pytest.FixtureRequest) -> Callable[..., NoReturn]:
    def break_down(*_: object, **__: object) -> NoReturn:
        raise request.param

    return break_down


def test_a_defect_of_the_rendering_is_not_swallowed(
    break_down: Callable[..., NoReturn], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generator_service.cli.render._render", break_down)
    result = run("render", "--prompt", "a red car", "--out", str(tmp_path / "a.mp4"))
    assert result.exception in DEFECTS
    assert result.stderr == ""


def test_nor_is_one_of_the_running_api(break_down: Callable[..., NoReturn], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(storage=StorageSettings(url="memory://"))
    monkeypatch.setattr(cli_services, "read_settings", lambda: settings)  # it would set up logging as well
    monkeypatch.setattr("generator_service.api.server.serve", break_down)
    assert run("serve").exception in DEFECTS


@contextmanager
def worker(work: Callable[[], None], start: Callable[[], None] = lambda: None) -> Iterator[Callable[[], None]]:
    start()
    yield work


def test_nor_one_of_a_running_worker(break_down: Callable[..., NoReturn]) -> None:
    with pytest.raises(tuple(map(type, DEFECTS))) as ended:
        cli_services.run(worker(break_down))
    assert ended.value in DEFECTS  # typer.Exit is a RuntimeError


@pytest.mark.parametrize(
    ("refusal", "code"), [(BadSettings("none"), 2), (Unavailable("Redis"), 1), (PermissionError(13, "no"), 1)]
)
def test_but_what_keeps_it_from_its_start_is_told(refusal: Exception, code: int) -> None:
    def start() -> NoReturn:
        raise refusal

    with pytest.raises(typer.Exit) as ended:
        cli_services.run(worker(work=pytest.fail, start=start))
    assert ended.value.exit_code == code
