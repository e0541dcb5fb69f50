"""The command line, in this process."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from planner_service.__main__ import app
from planner_service.bulk import flat
from shared.plan import Plan

PROMPTS = "a dog runs to the left\n\n12345\na cat sits on a table\n"


@pytest.fixture
def run(monkeypatch):
    for name in ("PLANNER_LANGUAGE_MODEL_URL", "PLANNER_PORT", "PLANNER_HOST"):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_bulk_plans_what_it_can_and_says_what_it_could_not(run, tmp_path: Path):
    (tmp_path / "prompts.txt").write_text(PROMPTS)
    plans, layouts, drawn = tmp_path / "out" / "plans.jsonl", tmp_path / "flat.jsonl", tmp_path / "drawn"
    options = ["--plans", plans, "--layouts", layouts, "--draw", drawn]
    result = run("plan", "--prompts", tmp_path / "prompts.txt", "--planner", "parser", "--frames", 9, *options)
    assert result.exit_code == 1
    assert "2 planned, 1 failed" in result.stderr
    assert "12345" in result.stderr

    made = [Plan.model_validate_json(line) for line in plans.read_text().splitlines()]
    assert [plan.prompt for plan in made] == ["a dog runs to the left", "a cat sits on a table"]
    flat = [json.loads(line) for line in layouts.read_text().splitlines()]
    assert [set(line) for line in flat] == [{"prompt", "frames"}] * 2
    assert [len(line["frames"]) for line in flat] == [9, 9]
    assert [entry["name"] for entry in flat[1]["frames"][0]] == ["cat", "table"]
    assert flat[0]["frames"][8][0]["box"] == pytest.approx(list(made[0].tracks[0].boxes[8]), abs=1e-6)

    pictures = sorted(drawn.iterdir())
    assert [picture.name for picture in pictures] == ["0001.png", "0003.png"]
    with Image.open(pictures[0]) as picture:
        assert picture.width > picture.height > 400


def test_a_flat_layout_marks_what_is_absent(run, tmp_path: Path):
    run("plan", "--prompt", "a dog runs", "--planner", "parser", "--frames", 9, "--plans", tmp_path / "plans.jsonl")
    plan = json.loads((tmp_path / "plans.jsonl").read_text())
    phases = [{"label": "motionless", "start": 0, "end": 2, "absent": True}]
    plan["tracks"][0]["phases"] = [*phases, plan["tracks"][0]["phases"][0] | {"start": 3}]
    plan["tracks"][0]["boxes"][:3] = [plan["tracks"][0]["boxes"][3]] * 3
    frames = flat(Plan.model_validate(plan))["frames"]
    assert [entry.get("absent", False) for (entry,) in frames] == [True] * 3 + [False] * 6
    assert frames[0][0]["box"] == frames[3][0]["box"]


def test_a_prompt_that_looks_like_markup_is_reported_as_it_stands(run, tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("[/2]\na dog runs\n")
    options = ["--planner", "parser", "--frames", 9, "--layouts", tmp_path / "flat.jsonl"]
    result = run("plan", "--prompts", tmp_path / "prompts.txt", *options)
    assert result.exit_code == 1
    assert "no plan for line 1: '[/2]': " in result.stderr
    assert "1 planned, 1 failed" in result.stderr


def test_one_prompt_goes_to_stdout(run):
    result = run("plan", "--prompt", "a bird flies up", "--frames", 8, "--width", 64, "--height", 48)
    assert result.exit_code == 0
    plan = Plan.model_validate_json(result.stdout)
    assert plan.frames == 8
    assert plan.tracks[0].boxes[-1].y0 < plan.tracks[0].boxes[0].y0


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"],
        ["plan", "--prompt", "a dog", "--frames", "7"],
        ["plan", "--prompt", "a dog", "--planner", "language-model"],
        ["plan", "--prompts", "/no/such/file"],
    ],
)
def test_wrong_usage(run, arguments):
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("command", [[], ["plan"], ["serve"]])
def test_help(run, command):
    assert run(*command, "--help").exit_code == 0


def test_serve_takes_host_and_port_from_options_before_the_environment(run, monkeypatch):
    served = []
    monkeypatch.setattr("planner_service.main.serve", served.append)
    monkeypatch.setenv("PLANNER_PORT", "1234")
    monkeypatch.setenv("PLANNER_HOST", "0.0.0.0")  # noqa: S104  # a value, nothing listens
    run("serve")
    run("serve", "--port", "99")
    assert [(settings.host, settings.port) for settings in served] == [("0.0.0.0", 1234), ("0.0.0.0", 99)]  # noqa: S104
