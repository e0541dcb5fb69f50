"""Weights are found, or it is said what to type; they are never fetched."""

import json
import shutil
import socket
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from generator_service.backbones.weights import checkpoint_dtype, components, find_weights
from generator_service.contract.backbones import COGVIDEOX_2B, EMOJI_WORLD
from shared.errors import WeightsMissing

COMMIT = "1137dacfc2c9c012bed6a0793f4ecf2ca8e7ba01"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something is being downloaded")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def snapshot(hub_cache: Path, checkpoint: Path) -> Path:
    """The checkpoint as `hf download` leaves it."""
    repository = hub_cache / "models--zai-org--CogVideoX-2b"
    folder = repository / "snapshots" / COMMIT
    shutil.copytree(checkpoint, folder)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return folder


def test_in_the_hub_cache_the_revision_is_the_commit(snapshot: Path) -> None:
    weights = find_weights(COGVIDEOX_2B, None)
    assert weights.path == snapshot
    assert weights.revision == COMMIT


@pytest.mark.usefixtures("hub_cache")
def test_without_weights_the_error_says_what_to_type() -> None:
    with pytest.raises(WeightsMissing) as error:
        find_weights(COGVIDEOX_2B, None)
    assert "`hf download zai-org/CogVideoX-2b`" in error.value.detail
    assert "GENERATOR_RENDER_WEIGHTS" in error.value.detail


@pytest.mark.parametrize(
    "file",
    [
        "transformer/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
        "model_index.json",
    ],
)
def test_an_interrupted_download_is_noticed(snapshot: Path, file: str) -> None:
    (snapshot / file).unlink()
    with pytest.raises(WeightsMissing, match="hf download"):
        find_weights(COGVIDEOX_2B, None)


def test_a_missing_shard_is_noticed(snapshot: Path) -> None:
    shards = {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}
    (snapshot / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (snapshot / "text_encoder" / "model-00001-of-00002.safetensors").touch()
    with pytest.raises(WeightsMissing, match=r"text_encoder lacks model-00002-of-00002\.safetensors"):
        find_weights(COGVIDEOX_2B, None)


def test_a_local_folder_comes_before_the_cache(snapshot: Path, checkpoint: Path) -> None:
    assert find_weights(COGVIDEOX_2B, checkpoint).path == checkpoint


def test_a_local_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match=r"has no model_index\.json"):
        find_weights(COGVIDEOX_2B, tmp_path)


def test_the_local_revision_is_that_of_the_contents(checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(checkpoint, copy)
    (copy / "README.md").write_text("not read by the pipeline")
    revision = find_weights(COGVIDEOX_2B, checkpoint).revision
    assert revision.startswith("sha256:")
    assert find_weights(COGVIDEOX_2B, copy).revision == revision

    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.00085", "0.00086"))
    assert find_weights(COGVIDEOX_2B, copy).revision != revision


def test_the_emoji_world_comes_with_this_software() -> None:
    weights = find_weights(EMOJI_WORLD, None)
    assert components(weights.path) == ["scheduler", "text_encoder", "tokenizer", "transformer", "vae"]
    assert weights.revision.startswith("sha256:")


def test_the_dtype_is_that_of_the_file(checkpoint: Path) -> None:
    assert checkpoint_dtype(checkpoint) == torch.float32
