"""`render`, as it is typed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from generator_service.__main__ import app
from generator_service.media.manifest import Manifest
from shared.plan import Plan

PICTURE = str(Path(__file__).parents[3] / "docs/images/video.png")
FAST = ("--steps", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["render", *map(str, arguments)])


def test_writes_what_was_asked_for(tmp_path: Path) -> None:
    video, preview, manifest = (tmp_path / "new" / name for name in ("a.mp4", "a.png", "a.json"))
    result = run(
        *("--prompt", "a zebra stands still", "--backbone", "emoji-world", "--seed", "3", "--guidance", "off"),
        *("--out", video, "--preview", preview, "--manifest", manifest, *FAST),
    )
    assert result.exit_code == 0, result.output
    assert video.read_bytes()[4:8] == b"ftyp"
    assert preview.read_bytes()[:4] == b"\x89PNG"
    settings = Manifest.model_validate_json(manifest.read_bytes()).settings
    assert (settings.seed, settings.steps) == (3, 1)
    assert "words that are not known: 'zebra', 'stands'" in result.stderr
    assert result.stdout == ""


def test_a_plan_brings_its_own_prompt(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "plan.json").write_text(plan.model_dump_json())
    result = run(
        "--plan", tmp_path / "plan.json", "--out", tmp_path / "a.mp4", "--manifest", tmp_path / "a.json", *FAST
    )
    assert result.exit_code == 0, result.output
    manifest = Manifest.model_validate_json((tmp_path / "a.json").read_bytes())
    assert manifest.prompt == plan.prompt
    assert manifest.plan_hash == plan.content_hash


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prompt", "a car", "--frames", "10"), "frames: emoji-world can do 9, not 10"),
        (("--prompt", "a car", "--backbone", "sora"), "'sora' is not known; known: emoji-world, cogvideox-2b"),
        (("--prompt", "a car", "--dtype", "int8"), "dtype: Input should be 'auto', 'float32'"),
        (
            ("--prompt", "a car", "--guidance-scale", "0.5"),
            "guidance_scale: Input should be greater than",
        ),
        (("--prompt", "a car", "--steps", "-3"), "steps: Input should be greater than or equal to 1"),
        (("--prompt", "a car", "--image", __file__), "image: no PNG, JPEG or WebP"),
        (("--prompt", "a car", "--image", PICTURE), "image: emoji-world cannot begin with one"),
        ((), "give either a prompt or a plan"),
    ],
)
def test_refuses_with_field_and_limit(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments, "--out", tmp_path / "a.mp4")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "a.mp4").exists()


def test_says_what_to_type_where_weights_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATOR_RENDER_WEIGHTS", str(tmp_path))
    result = run("--prompt", "a car", "--backbone", "cogvideox-2b", "--out", tmp_path / "a.mp4")
    assert result.exit_code == 1
    assert "has no model_index.json: set GENERATOR_RENDER_WEIGHTS" in result.stderr


def test_a_file_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("--prompt", "a red car", "--out", tmp_path / "file" / "video.mp4", *FAST)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"{tmp_path}/file: File exists"


def test_the_other_commands_do_not_wait_for_torch() -> None:
    code = "import sys, generator_service.cli.render; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
