"""The commands for keys, as processes where what they print matters, in this process elsewhere."""

import json
from collections.abc import Callable

import pytest
import redis
from typer.testing import CliRunner, Result

from deploy.servers import LOOPBACK, free_ports
from generator_service.__main__ import app
from generator_service.contract.keys import ApiKey
from generator_service.jobs.api_keys import ApiKeys, KeyInfo, Scope

Run = Callable[..., Result]
Verified = Callable[[str], KeyInfo]


@pytest.fixture
def keys(text_client: redis.Redis) -> ApiKeys:
    return ApiKeys(text_client)


@pytest.fixture
def run(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("GENERATOR_REDIS_URL", redis_url)
    return lambda *arguments: CliRunner().invoke(app, ["keys", *arguments])


def test_a_key_is_printed_once_and_alone(run: Run, keys: ApiKeys, verified: Verified) -> None:
    made = run("create", "backend")
    assert made.exit_code == 0, made.output
    key = ApiKey.parse(made.stdout.strip())
    assert set(verified(key.text).scopes) == {Scope.SUBMIT, Scope.READ}
    assert key.secret not in made.stderr + run("list").output + run("list", "--json").output


def test_scopes_are_chosen(run: Run, keys: ApiKeys, verified: Verified) -> None:
    made = run("create", "ops", "--scope", "admin")
    assert verified(made.stdout.strip()).scopes == (Scope.ADMIN,)


def test_a_list_for_people_and_one_for_programs(run: Run, keys: ApiKeys) -> None:
    key = keys.create("backend", [Scope.SUBMIT, Scope.READ])
    head, line = run("list").stdout.splitlines()
    assert head.split("\t")[:3] == ["id", "owner", "scopes"]
    assert line.split("\t")[:3] == [key.id, "backend", "read,submit"]
    assert line.split("\t")[-2:] == ["-", "-"]  # never used, ends never
    assert json.loads(run("list", "--json").stdout)["id"] == key.id


def test_rotate_and_revoke(run: Run, keys: ApiKeys, verified: Verified) -> None:
    old = keys.create("backend", [Scope.READ])
    new = ApiKey.parse(run("rotate", old.id, "--grace", "0.5").stdout.strip())
    assert verified(new.text).owner == verified(old.text).owner == "backend"
    assert run("revoke", old.id).exit_code == 0
    assert [info.id for info in keys.all()] == [new.id]


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_an_unknown_key_is_said_to_be_unknown(run: Run, command: str) -> None:
    result = run(command, "0123456789ab")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "Not found: there is no key '0123456789ab'"


@pytest.mark.parametrize(
    "arguments", [("create", "a:b"), ("create", "a", "--scope", "root"), ("rotate", "x", "--grace", "-1")]
)
def test_what_makes_no_sense_is_refused(run: Run, keys: ApiKeys, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
    assert keys.all() == ()


def test_without_redis_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATOR_REDIS_URL", f"redis://:hunter2@{LOOPBACK}:{free_ports(1)[0]}/0")
    result = run("list")
    assert result.exit_code == 1
    assert "Redis does not answer" in result.stderr
    assert "hunter2" not in result.output
