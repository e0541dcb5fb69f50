"""The dashboard, the alerts and Prometheus's configuration: valid, and true of the code.  That the metrics they ask for
are exported is seen where the real processes run: tests/e2e/test_operations.py."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import promql_parser
import pytest
import typer
import yaml

from generator_service.__main__ import app


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "deploy" / "observability"


@pytest.fixture(scope="module")
def alerts(folder: Path) -> list[dict[str, Any]]:
    loaded = yaml.safe_load((folder / "alerts.yml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def panels(folder: Path) -> list[dict[str, Any]]:
    loaded = json.loads((folder / "grafana" / "dashboards" / "service.json").read_text())
    return [panel for panel in loaded["panels"] if panel["type"] != "row"]


def test_every_panel_asks_for_something_in_a_place_of_its_own(panels: list[dict[str, Any]], folder: Path) -> None:
    sources = yaml.safe_load((folder / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            promql_parser.parse(target["expr"])
            assert target["datasource"]["uid"] in {source["uid"] for source in sources}
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_what_every_api_process_sees_alike_is_not_added_up(panels: list[dict[str, Any]], alerts: Any) -> None:
    alike = r"generator_(queue_\w+|webhooks_\w+|jobs|workers|workers_busy|redis_up)\b(?!_)"
    expressions = [target["expr"] for panel in panels for target in panel["targets"]] + [its["expr"] for its in alerts]
    used = 0
    for expression in expressions:
        for match in re.finditer(alike, expression):
            used += 1
            assert re.search(r"max( by \([\w, ]+\))? \($|max( by \([\w, ]+\))?\($", expression[: match.start()]), (
                expression
            )
    assert used > 10


def test_alerts_can_be_parsed_and_are_in_the_runbook(alerts: list[dict[str, Any]], repository: Path) -> None:
    runbook = (repository / "docs" / "runbook.md").read_text()
    for alert in alerts:
        promql_parser.parse(alert["expr"])
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert re.search(rf"^## .*`{alert['alert']}`", runbook, re.MULTILINE), alert["alert"]


def test_the_runbook_knows_no_other_alerts(alerts: list[dict[str, Any]], repository: Path) -> None:
    headings = re.findall(r"^## (.*)$", (repository / "docs" / "runbook.md").read_text(), re.MULTILINE)
    named = {name for heading in headings for name in re.findall(r"`(\w+)`", heading)}
    assert named == {alert["alert"] for alert in alerts}


def test_the_runbooks_commands_exist(repository: Path) -> None:
    runbook = (repository / "docs" / "runbook.md").read_text()
    commands = set(re.findall(r"python -m generator_service ([\w-]+)", runbook))
    assert commands
    assert commands <= set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    targets = set(re.findall(r"(?:^|`)make ([\w-]+)", runbook, re.MULTILINE))
    assert targets
    assert targets <= set(re.findall(r"^([\w-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    parts = yaml.safe_load((repository / "docker-compose.yml").read_text())["services"]
    for line in re.findall(r"docker compose (?:logs|restart|ps|exec|up)\s+([^`]+)`", runbook):
        words = [word for word in line.split() if not word.startswith("-") and word not in ("50",)]
        assert not words or words[0] in parts, line


def test_prometheus_asks_every_part_where_compose_has_it(folder: Path, repository: Path) -> None:
    compose = yaml.safe_load((repository / "docker-compose.yml").read_text())["services"]
    jobs = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    asked = {job["job_name"]: job["dns_sd_configs"][0] for job in jobs}
    workers = int(compose["plan-worker"]["environment"]["GENERATOR_METRICS_PORT"])
    ports = {
        "generator-api": int(compose["generator-api"]["environment"]["GENERATOR_PORT"]),
        "planner": int(compose["planner"]["environment"]["PLANNER_PORT"]),
        "plan-worker": workers,
        "render-worker": workers,
        "vllm": urlsplit(compose["planner"]["environment"]["PLANNER_LANGUAGE_MODEL_URL"]).port,
    }
    assert {name: where["port"] for name, where in asked.items()} == ports
    for name, where in asked.items():
        assert where["names"] == [name]
        assert "inside" in compose[name]["networks"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is no package of PyPI: Debian's is `prometheus`")
def test_promtool_agrees(folder: Path) -> None:
    for arguments in (("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")):
        done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
