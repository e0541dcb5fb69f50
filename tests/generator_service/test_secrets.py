"""What is secret stands in no log, answer, error or repr, whatever goes wrong.

The real processes are given passwords that can be recognised, and everything that they say is searched for them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis
from pydantic import SecretStr

import shared.environment
from deploy.parts import started
from deploy.servers import LOOPBACK, RedisServer, answers, free_ports, valkey
from generator_service.client import Client
from generator_service.contract.keys import ApiKey
from generator_service.jobs.api_keys import ApiKeys, Scope
from generator_service.jobs.connection import connect
from generator_service.planner_client import PlannerClient
from generator_service.settings import Settings, StorageSettings
from planner_service.settings import Settings as PlannerSettings
from shared.errors import ServiceError, Unavailable

REDIS_PASSWORD = "correcthorsebattery"
WRONG_PASSWORD = "wronghorsebattery"
S3_SECRET = "staplesecretofs3"
PLANNER_TOKEN = "tokenbetweenparts"
SECRETS = (REDIS_PASSWORD, WRONG_PASSWORD, S3_SECRET, PLANNER_TOKEN)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey that asks for a password; its URL."""
    folder = tmp_path_factory.mktemp("locked")
    (port,) = free_ports(1)
    with started([valkey(folder, port)], logs=folder), redis.Redis(host=LOOPBACK, port=port) as client:
        client.config_set("requirepass", REDIS_PASSWORD)
        yield f"redis://:{REDIS_PASSWORD}@{LOOPBACK}:{port}/0"


@pytest.fixture
def environment(locked: str) -> dict[str, str]:
    return {
        "GENERATOR_REDIS_URL": locked,
        "GENERATOR_STORAGE_ENDPOINT": f"http://{LOOPBACK}:{free_ports(1)[0]}",
        "GENERATOR_STORAGE_ACCESS_KEY": "videos",
        "GENERATOR_STORAGE_SECRET_KEY": S3_SECRET,
        "GENERATOR_PLANNER_URL": f"http://{LOOPBACK}:{free_ports(1)[0]}",
        "GENERATOR_PLANNER_TOKEN": PLANNER_TOKEN,
        "GENERATOR_REQUIRE_KEYS": "true",
        "GENERATOR_HEARTBEAT_SECONDS": "0.1",
    }


@contextmanager
def api(environment: dict[str, str], log: Path, wait_until: Callable[..., None]) -> Iterator[str]:
    """The API as a process; its address."""
    (port,) = free_ports(1)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "generator_service", "serve", "--port", str(port)],
            env=os.environ | environment,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: answers(f"http://{LOOPBACK}:{port}/health"), 60)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        process.terminate()
        process.wait(20)


def secrets_in(text: str, *more: str) -> list[str]:
    return [secret for secret in (*SECRETS, *more) if secret in text]


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_the_api_whatever_goes_wrong(
    environment: dict[str, str], locked: str, log_format: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """Good keys and bad ones, a surprise (500), a storage and a planner that are away."""
    log = tmp_path / "log"
    said: list[str] = []
    with connect(SecretStr(locked), decode=True) as client:
        keys = ApiKeys(client)
        key, reader, gone = (keys.create("a", scopes) for scopes in ([*Scope], [Scope.READ], [Scope.READ]))
        keys.revoke(gone.id)
        stranger = ApiKey.new()
        with api(environment | {"GENERATOR_LOG_FORMAT": log_format}, log, wait_until) as url:

            def ask(method: str, path: str, shown: str, **content: object) -> int:
                headers = {"Authorization": f"Bearer {shown}"}
                answer = httpx.request(method, url + path, headers=headers, trust_env=False, timeout=60, **content)  # type: ignore[arg-type]
                said.append(f"{answer.headers} {answer.text}")
                return answer.status_code

            assert ask("POST", "/jobs", key.text, json={"prompt": "a red car"}) == 202
            job = json.loads(said[-1][said[-1].index('{"id"') :])["id"]
            assert ask("POST", "/jobs", key.text, json={"prompt": "a red car", "key": 1}) == 422
            assert ask("POST", "/jobs", reader.text, json={"prompt": "a red car"}) == 403
            for shown in (gone.text, stranger.text, key.text + "0", f"{key.text}\\u0000"):
                assert ask("GET", "/jobs", shown) == 401
            for path in ("/metrics", "/ready", "/backbones", "/openapi.json"):
                ask("GET", path, key.text)
            client.set(f"job:{'0' * 32}", "no record, but a text")
            assert ask("GET", f"/jobs/{'0' * 32}", key.text) == 500
            client.hset(f"job:{job}", mapping={"status": '"canceled"', "stage": "null"})
            assert ask("DELETE", f"/jobs/{job}", key.text) == 204  # the storage is away: the janitor goes on asking it
            client.config_set("requirepass", WRONG_PASSWORD)  # from now on, ours is the wrong one
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            try:
                assert ask("GET", "/jobs", key.text) == 503
                assert "refuses the service's password" in said[-1]
                ask("GET", "/metrics", key.text)
                wait_until(lambda: "recovery_interrupted" in log.read_text())
            finally:
                client.config_set("requirepass", REDIS_PASSWORD)
    secret = (key.secret, reader.secret, gone.secret, stranger.secret)
    text = log.read_text()
    assert "request_failed" in text
    assert "Traceback" in text
    for each in (text, *said):
        assert secrets_in(each, *secret) == []


def test_settings_that_make_no_sense(environment: dict[str, str], tmp_path: Path) -> None:
    """Neither what was given nor what stands beside it is repeated."""
    for module, wrong in (
        ("generator_service", {"GENERATOR_PORT": S3_SECRET}),
        ("generator_service", {"GENERATOR_STORAGE_URL_SECONDS": S3_SECRET}),
        ("planner_service", {"PLANNER_PORT": PLANNER_TOKEN, "PLANNER_TOKEN": PLANNER_TOKEN}),
    ):
        ended = subprocess.run(
            [sys.executable, "-m", module, "serve"],
            env=os.environ | environment | wrong,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert ended.returncode != 0
        assert "valid integer" in ended.stderr
        assert secrets_in(ended.stdout + ended.stderr) == []


def test_what_holds_secrets_does_not_show_them(locked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = StorageSettings(secret_key=SecretStr(S3_SECRET))
    settings = Settings(redis_url=SecretStr(locked), planner_token=SecretStr(PLANNER_TOKEN), storage=storage)
    planner = PlannerSettings(token=SecretStr(PLANNER_TOKEN), language_model_key=SecretStr(S3_SECRET))
    with connect(settings.redis_url, decode=True) as client:
        key = ApiKeys(client).create("a", [Scope.READ])
        record = ApiKeys(client)._record(key.id)
    assert key.hash == record.hash
    own = PlannerClient("http://x", 1.0, token=settings.planner_token)
    with Client("http://127.0.0.1:9", key.text) as http:
        holders = (
            settings,
            planner,
            key,
            record,
            client,
            client.connection_pool,
            http,
            http._http.headers,
            own,
            vars(own),
        )
        for holder in holders:
            for shown in (repr(holder), str(holder)):
                assert secrets_in(shown, key.secret, key.hash) == [], type(holder)
    for shown in (settings.model_dump_json(), planner.model_dump_json(), str(settings.model_dump())):
        assert secrets_in(shown) == []


def test_an_api_that_does_not_answer_is_told_without_the_key() -> None:
    key = ApiKey.new()
    with Client(f"http://{LOOPBACK}:{free_ports(1)[0]}", key.text) as client, pytest.raises(ServiceError) as refusal:
        client.jobs()
    assert isinstance(refusal.value, Unavailable)
    assert key.secret not in f"{refusal.value} {refusal.value!r} {refusal.value.__cause__!r}"


def test_secrets_are_read_from_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, valkey: RedisServer) -> None:
    monkeypatch.setattr(shared.environment, "SECRETS", tmp_path)
    assert Settings().redis_url == SecretStr("redis://127.0.0.1:6379/0")
    (tmp_path / "generator_redis_url").write_text(f"{valkey.url}\n")
    (tmp_path / "generator_storage_secret_key").write_text(S3_SECRET)
    (tmp_path / "planner_token").write_text(PLANNER_TOKEN)
    (tmp_path / "unrelated").mkdir()
    settings = Settings()
    assert settings.redis_url.get_secret_value() == valkey.url
    assert settings.storage.secret_key == SecretStr(S3_SECRET)
    assert PlannerSettings().token == SecretStr(PLANNER_TOKEN)
    monkeypatch.setenv("GENERATOR_REDIS_URL", "redis://elsewhere")
    assert Settings().redis_url == SecretStr("redis://elsewhere")
