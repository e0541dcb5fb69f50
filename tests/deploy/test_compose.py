"""docker-compose.yml, Dockerfiles and env.example: valid, and true of the code.  No container engine is needed."""

import ast
import importlib.resources
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jsonschema
import pytest
import typer
import yaml
from fastapi import FastAPI
from pydantic_settings import BaseSettings

import shared.environment
from deploy.compose_check.stack import readme_lines
from generator_service import __main__ as generator_cli
from generator_service.api.app import create_app as create_generator
from generator_service.cli.services import require_keys_off_loopback
from generator_service.settings import Settings as GeneratorSettings
from generator_service.settings import StorageSettings, WebhookSettings, WorkerSettings
from generator_service.webhooks.sending import DEADLINE_SECONDS
from generator_service.workers.loop import STOP_SECONDS
from planner_service import __main__ as planner_cli
from planner_service.api import create_app as create_planner
from planner_service.language_model.client import MAXIMUM_TOKENS, READY_SECONDS
from planner_service.language_model.planner import COMPLETIONS
from planner_service.reasoning import ATTEMPTS
from planner_service.settings import Settings as PlannerSettings

OURS = ("planner", "generator-api", "plan-worker", "render-worker", "webhook-worker")
SETTINGS: tuple[type[BaseSettings], ...] = (
    PlannerSettings,
    GeneratorSettings,
    StorageSettings,
    WorkerSettings,
    WebhookSettings,
)
CLIS = {"planner_service": planner_cli.app, "generator_service": generator_cli.app}

OTHERS = {
    "AWS_ACCESS_KEY_ID",
    "BUCKET",
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "GF_ANALYTICS_REPORTING_ENABLED",
    "GF_AUTH_ANONYMOUS_ENABLED",
    "GF_AUTH_BASIC_ENABLED",
    "GF_AUTH_DISABLE_LOGIN_FORM",
    "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH",
    "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "VALKEY_MEMORY",
    "VLLM_NO_USAGE_STATS",
}
"""Variables that programs read which are not ours."""

VARIABLE = re.compile(r"\$\{(\w+)(?:[:?+-][^}]*)?\}")


@pytest.fixture(scope="module")
def compose_text() -> str:
    return (Path(__file__).parents[2] / "docker-compose.yml").read_text()


@pytest.fixture(scope="module")
def example() -> dict[str, str]:
    """env.example."""
    lines = (Path(__file__).parents[2] / "deploy" / "env.example").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return dict(pairs)


@pytest.fixture(scope="module")
def compose(compose_text: str, example: dict[str, str]) -> dict[str, Any]:
    """The file as Compose reads it with env.example."""

    def value(match: re.Match[str]) -> str:
        found = example[match[1]]
        if ":?" in match[0]:
            assert found, f"{match[1]} must not be empty"
        return found

    loaded = yaml.safe_load(VARIABLE.sub(value, compose_text))
    assert isinstance(loaded, dict)
    return loaded


class Mounted(NamedTuple):
    source: str
    target: str


def mounted(secret: str | dict[str, str]) -> Mounted:
    """A secret of a service, in the short form or the long one."""
    return Mounted(secret, secret) if isinstance(secret, str) else Mounted(secret["source"], secret["target"])


def environment_names(settings: type[BaseSettings]) -> set[str]:
    prefix = settings.model_config["env_prefix"]
    return {f"{prefix}{name}".upper() for name in settings.model_fields}


def modules_run(command: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each `python -m MODULE ARGUMENTS…` of a command line, one of which may run the next."""
    rest = command
    while "-m" in rest:
        start = rest.index("-m")
        assert rest[start - 1] == "python"
        rest = rest[start + 1 :]
        yield rest[0], rest[1:]


def paths_of(app: FastAPI) -> set[str]:
    return set(app.openapi()["paths"])


def copied_by(dockerfile: Path) -> set[str]:
    return {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(), re.MULTILINE)
        for source in shlex.split(line)[:-1]
    }


def imported_by(file: Path) -> Iterator[str]:
    """Modules, the lazily imported ones too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


@pytest.fixture(scope="module")
def secrets(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what make_secrets.sh makes."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "deploy").mkdir()
    script = shutil.copy(repository / "deploy" / "make_secrets.sh", folder / "deploy")
    for _ in range(2):  # the second time it changes nothing
        before = {path.name: path.read_text() for path in folder.glob("secrets/*")}
        subprocess.run(["sh", script], check=True)
        assert before.items() <= {path.name: path.read_text() for path in folder.glob("secrets/*")}.items()
    return folder / "secrets"


@pytest.fixture
def environment(compose: dict[str, Any], secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What all of our containers get: variables, and secrets as files."""
    monkeypatch.setattr(shared.environment, "SECRETS", tmp_path)
    for name in OURS:
        for secret in map(mounted, compose["services"][name]["secrets"]):
            (tmp_path / secret.target).write_text(
                (secrets / Path(compose["secrets"][secret.source]["file"]).name).read_text()
            )
        for key, value in compose["services"][name]["environment"].items():
            monkeypatch.setenv(key, str(value))


def test_it_is_a_compose_file(compose: dict[str, Any]) -> None:
    vendored = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(vendored.read_text())
    jsonschema.Draft7Validator(schema).validate(compose)


def test_every_variable_is_in_the_example_and_the_other_way_round(compose_text: str, example: dict[str, str]) -> None:
    assert set(VARIABLE.findall(compose_text)) == set(example)


def test_every_variable_stands_below_a_comment(repository: Path) -> None:
    explained = False
    for line in (repository / "deploy" / "env.example").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            assert explained, line
            explained = False
        else:
            explained = line.startswith("# ") and not line.startswith("# ---")


def test_every_service_restarts_is_checked_and_is_not_root(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert "/tmp" in [mount.split(":")[0] for mount in service["tmpfs"]], name  # noqa: S108
        assert not {"privileged", "cap_add", "pid", "ipc", "network_mode"} & set(service), name
        if name not in OURS:
            assert service["user"].split(":")[0] not in ("root", "0"), name


def test_our_images_are_not_root(repository: Path) -> None:
    for dockerfile in (repository / "deploy").glob("*.Dockerfile"):
        users = re.findall(r"^USER (.+)$", dockerfile.read_text(), re.MULTILINE)
        assert set(users) == {"app"}


def test_only_the_api_the_storage_and_the_dashboard_are_published(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {
        "generator-api": ["127.0.0.1:8080:8080"],
        "seaweedfs": ["127.0.0.1:8333:8333"],
        "grafana": ["127.0.0.1:3000:3000"],
    }
    assert compose["networks"]["inside"] == {"internal": True}


def test_whoever_reaches_the_storage_holds_its_key(compose: dict[str, Any]) -> None:
    (network,) = compose["services"]["seaweedfs"]["networks"]
    there = {name for name, service in compose["services"].items() if network in service["networks"]}
    holders = {
        name
        for name, service in compose["services"].items()
        if "storage_secret_key" in {mounted(secret).source for secret in service.get("secrets", ())}
    }
    assert there == holders == {"seaweedfs", "generator-api", "render-worker"}


def test_what_is_waited_for_is_there_and_has_a_health_check(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for other, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "healthcheck" in compose["services"][other]


def test_every_command_exists(compose: dict[str, Any]) -> None:
    for name in OURS:
        service = compose["services"][name]
        runs = list(modules_run(service["command"]))
        assert runs, service["command"]
        for module, arguments in runs:
            assert importlib.util.find_spec(module) is not None
            if module in CLIS:
                group = typer.main.get_command(CLIS[module])
                assert arguments[0] in group.commands  # type: ignore[attr-defined]
                assert len(arguments) == 1


def test_dockerfiles_run_commands_that_exist(repository: Path) -> None:
    for dockerfile in (repository / "deploy").glob("*.Dockerfile"):
        for command in re.findall(r"^CMD (.+)$", dockerfile.read_text(), re.MULTILINE):
            ((module, arguments),) = modules_run(ast.literal_eval(command))
            assert arguments[0] in typer.main.get_command(CLIS[module]).commands  # type: ignore[attr-defined]


def test_the_readme_has_the_lines_that_the_compose_check_runs(repository: Path) -> None:
    settings, secrets, up, key = (shlex.split(line, comments=True) for line in readme_lines(repository))
    assert (settings[:2], secrets[0], up[:3]) == (["cp", "deploy/env.example"], "sh", ["docker", "compose", "up"])
    assert (repository / secrets[1]).is_file()
    ((module, (group, _, owner)),) = modules_run(key)
    assert group in typer.main.get_command(CLIS[module]).commands  # type: ignore[attr-defined]
    assert re.fullmatch("[a-z]+", owner)


def test_every_variable_of_a_container_is_read_by_somebody(compose: dict[str, Any], repository: Path) -> None:
    ours = {name for settings in SETTINGS for name in environment_names(settings)}
    claims = (repository / "deploy" / "container" / "claim_gpu.py").read_text()
    for name, service in compose["services"].items():
        for variable in service.get("environment", {}):
            if variable == "RENDER_GPUS":
                assert f'os.environ["{variable}"]' in claims
            elif name in OURS and variable not in OTHERS:
                assert variable in ours, f"{name}: {variable}"
            else:
                assert variable in OTHERS, f"{name}: {variable}"


@pytest.mark.usefixtures("environment")
def test_the_settings_take_the_values_and_find_each_other(compose: dict[str, Any], secrets: Path) -> None:
    planner, generator = PlannerSettings(), GeneratorSettings()
    services = compose["services"]

    def address(url: str) -> tuple[str | None, int | None]:
        parts = urlsplit(url)
        assert parts.hostname in services
        return parts.hostname, parts.port

    assert address(generator.planner_url) == ("planner", planner.port)
    assert address(generator.redis_url.get_secret_value()) == ("valkey", 6379)
    assert address(generator.storage.endpoint or "") == ("seaweedfs", 8333)
    assert address(planner.language_model_url or "") == ("vllm", 8000)
    assert planner.language_model_name == services["vllm"]["command"][0]
    assert "--port=8000" in services["vllm"]["command"]
    assert services["seaweedfs"]["environment"] == {
        "AWS_ACCESS_KEY_ID": generator.storage.access_key,
        "BUCKET": urlsplit(generator.storage.url).hostname,
    }
    assert generator.storage.secret_key is not None
    assert generator.storage.secret_key.get_secret_value() == (secrets / "storage_secret_key").read_text()
    password = (secrets / "valkey_password").read_text()
    assert generator.redis_url.get_secret_value() == f"redis://service:{password}@valkey:6379/0"
    assert planner.token == generator.planner_token is not None
    assert (planner.host, generator.host) == ("0.0.0.0", "0.0.0.0")  # noqa: S104
    assert services["generator-api"]["ports"][0].endswith(f":{generator.port}")
    checks = ATTEMPTS * READY_SECONDS  # after each answer that is none, whether the server is to blame
    assert generator.planner_timeout > COMPLETIONS * planner.language_model_seconds + checks


@pytest.mark.usefixtures("environment")
def test_what_listens_to_others_asks_who_calls() -> None:
    generator = GeneratorSettings()
    require_keys_off_loopback(generator.host, generator.require_keys)
    assert PlannerSettings().token is not None


def test_secrets_are_random_and_others_cannot_reach_them(secrets: Path) -> None:
    values = {path.name: path.read_text() for path in secrets.iterdir()}
    for name in ("valkey_password", "storage_secret_key", "planner_token", "webhook_secret"):
        assert re.fullmatch("[0-9a-f]{64}", values[name])
    assert len(set(values.values())) == len(values) == 5
    assert secrets.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in secrets.iterdir())  # for the containers' own users


def test_secrets_are_given_as_files_to_those_who_need_them_and_never_as_variables(compose: dict[str, Any]) -> None:
    given = {
        name: {mounted(entry).source for entry in service.get("secrets", [])}
        for name, service in compose["services"].items()
    }
    of_generator = {"redis_url", "storage_secret_key"}
    assert given == {
        "vllm": set(),
        "valkey": {"valkey_password"},
        "seaweedfs": {"storage_secret_key"},
        "planner": {"planner_token"},
        "generator-api": of_generator | {"webhook_secret", "planner_token"},
        "plan-worker": {"redis_url", "planner_token"},
        "webhook-worker": {"redis_url", "webhook_secret"},
        "render-worker": of_generator,
        "prometheus": set(),
        "grafana": set(),
    }
    assert all(list(secret) == ["file"] for secret in compose["secrets"].values())
    names = {variable for service in compose["services"].values() for variable in service.get("environment", {})}
    assert {name for name in names if re.search("PASSWORD|SECRET|REDIS_URL", name)} == set()


def test_scripts_in_containers_read_the_secrets_they_are_given(compose: dict[str, Any], repository: Path) -> None:
    for name in ("valkey", "seaweedfs"):
        service = compose["services"][name]
        scripts = [
            (repository / compose["configs"][entry["source"]]["file"]).read_text()
            for entry in service.get("configs", [])
        ]
        text = " ".join([*service["healthcheck"]["test"], *scripts])
        assert set(re.findall(r"/run/secrets/(\w+)", text)) == set(service["secrets"])


@pytest.mark.usefixtures("environment")
def test_health_checks_ask_for_paths_that_exist(compose: dict[str, Any]) -> None:
    planner, generator = PlannerSettings(), GeneratorSettings()
    apps = {
        "planner": (create_planner({}, planner.maximum_body_bytes), planner.port),
        "generator-api": (create_generator(generator), generator.port),
    }
    for name, (app, port) in apps.items():
        *_, checked, path = compose["services"][name]["healthcheck"]["test"]
        assert int(checked) == port
        assert path in paths_of(app)
    for worker in ("plan-worker", "render-worker", "webhook-worker"):
        *_, checked, path = compose["services"][worker]["healthcheck"]["test"]
        assert (int(checked), path) == (generator.metrics_port, "/health")


def test_a_container_stops_no_sooner_than_its_work_allows(compose: dict[str, Any]) -> None:
    def seconds(text: str) -> int:
        return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]

    for worker in ("plan-worker", "render-worker"):
        assert seconds(compose["services"][worker]["stop_grace_period"]) > STOP_SECONDS + 3
    assert seconds(compose["services"]["webhook-worker"]["stop_grace_period"]) > DEADLINE_SECONDS


def test_the_context_holds_a_graph_a_rejected_answer_and_its_repair(example: dict[str, str]) -> None:
    assert int(example["LLM_MAX_MODEL_LEN"]) >= 3 * MAXIMUM_TOKENS + 2048


def test_gpus_are_shared_out(compose: dict[str, Any], example: dict[str, str]) -> None:
    language_model, render = example["LLM_GPUS"].split(","), example["RENDER_GPUS"].split(",")
    assert not set(language_model) & set(render)
    assert len(language_model) == int(example["LLM_TENSOR_PARALLEL_SIZE"])
    assert len(render) == int(example["RENDER_WORKERS"]) * int(example["RENDER_CONTEXT_PARALLEL"])
    with_gpus = {
        name
        for name, service in compose["services"].items()
        for device in service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
        if device["capabilities"] == ["gpu"]
    }
    assert with_gpus == {"vllm", "render-worker"}


def test_volumes_are_declared_and_mounted_where_the_image_expects_them(
    compose: dict[str, Any], repository: Path
) -> None:
    dockerfile = (repository / "deploy" / "generator.Dockerfile").read_text()
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source, target = volume.split(":")
            assert source in compose["volumes"]
            if name in OURS:
                assert target in re.findall(r"install --directory --owner=app (.+)$", dockerfile, re.MULTILINE)[0]


def test_the_storage_knows_its_options_and_shows_others_its_s3_alone(repository: Path) -> None:
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    command = shlex.split((repository / "deploy" / "seaweedfs" / "start.sh").read_text().partition("\nexec weed ")[2])
    begin = command.index("server")
    assert command[:begin] == ["-logtostderr=true"]
    known = subprocess.run([weed, command[begin], "-h"], capture_output=True, text=True, check=False).stderr
    for option in command[begin + 1 :]:
        assert re.search(rf"^  -{re.escape(option[1:].split('=')[0])}\b", known, re.MULTILINE), option
    assert {"-ip.bind=127.0.0.1", "-s3.ip.bind=0.0.0.0"} == {option for option in command if ".bind=" in option}


def test_what_images_copy_is_in_the_repository_and_let_through(repository: Path) -> None:
    let_through = {line[1:] for line in (repository / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set().union(*map(copied_by, (repository / "deploy").glob("*.Dockerfile")))
    assert all((repository / path).exists() for path in copied)
    for path in copied:
        assert let_through & {path, *map(str, Path(path).parents)}, f".dockerignore hides {path}"
    for path in let_through:
        assert any(Path(source).is_relative_to(path) for source in copied), f"no image copies {path}"


@pytest.mark.parametrize(("image", "extras"), [("planner", "planner"), ("generator", "generator,render")])
def test_images_install_what_their_code_needs(repository: Path, image: str, extras: str) -> None:
    dockerfile = (repository / "deploy" / f"{image}.Dockerfile").read_text()
    assert f"--constraint constraints.txt '.[{extras}]'" in dockerfile
    known = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [extra for extra in known if "torch" in known[extra]] == ["render"]


def test_every_image_is_made_by_one_stage(compose: dict[str, Any], repository: Path) -> None:
    builds = {
        (service["image"], service["build"]["dockerfile"], service["build"].get("target"))
        for service in compose["services"].values()
        if "build" in service
    }
    assert builds == {
        ("motion-factorized-video/planner", "deploy/planner.Dockerfile", None),
        ("motion-factorized-video/generator", "deploy/generator.Dockerfile", "generator"),
        ("motion-factorized-video/render-worker", "deploy/generator.Dockerfile", "render-worker"),
    }
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (repository / "deploy/generator.Dockerfile").read_text(), re.MULTILINE)
    assert {"generator", "render-worker"} <= set(stages)


@pytest.mark.parametrize("image", ["planner", "generator"])
def test_images_hold_all_of_our_code_that_theirs_imports(repository: Path, image: str) -> None:
    copied = copied_by(repository / "deploy" / f"{image}.Dockerfile")
    files = {
        file
        for path in copied
        for file in ([repository / path] if path.endswith(".py") else (repository / path).rglob("*.py"))
    }
    ours = {path.name for path in repository.iterdir() if (path / "__init__.py").exists()}
    for file in files:
        for module in imported_by(file):
            if module.split(".")[0] in ours:
                source = repository / module.replace(".", "/")
                found = {source.with_suffix(".py"), source / "__init__.py"} & files
                assert found, f"{file.relative_to(repository)} imports {module}, which {image}.Dockerfile does not copy"
