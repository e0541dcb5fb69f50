from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from generator_service import backbones
from generator_service.backbones import pipeline
from generator_service.backbones.base import Scene
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.load import FAMILIES, load_backbone
from generator_service.contract.backbones import (
    COGVIDEOX_2B,
    EMOJI_WORLD,
    VIDEOCRAFTER2,
    WAN_2_1_T2V_1_3B,
    BackboneSpec,
)
from generator_service.contract.request import RenderSettings
from generator_service.guidance.protocols import UNGUIDED
from generator_service.rendering import sample
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import first_state, ignore
from generator_service.settings import WorkerSettings
from shared.errors import RenderingFailed, WeightsMissing
from shared.plan import Plan

COMMON = {
    "__init__",
    "base",
    "cogvideox_attention",
    "context_parallel",
    "device",
    "emoji_scene",
    "load",
    "pipeline",
    "processors",
    "videocrafter2_attention",
    "videocrafter2_checkpoint",
    "wan_attention",
    "weights",
}
"""What is no family."""


def load(checkpoint: Path, **settings: object) -> CogVideoX:
    backbone = load_backbone(COGVIDEOX_2B, WorkerSettings(weights=checkpoint, **{"device": "cpu", **settings}))
    assert isinstance(backbone, CogVideoX)
    return backbone


def frames_of(backbone: CogVideoX, settings: RenderSettings) -> np.ndarray:
    conditioning = backbone.prepare(Scene(caption="a red car"), settings)
    latents = denoise(backbone, conditioning, first_state(backbone, settings), UNGUIDED, ignore)
    return backbone.decode(latents, settings)


def test_every_file_of_a_family_is_in_the_list() -> None:
    files = {file.stem for file in Path(backbones.__path__[0]).glob("*.py")} - COMMON
    assert {name.replace("-", "_") for name in FAMILIES} == files


def test_the_layers_that_a_job_may_name_are_those_of_the_network() -> None:
    backbone = load_backbone(EMOJI_WORLD, WorkerSettings(device="cpu"))
    assert isinstance(backbone, CogVideoX)
    assert len(backbone.transformer.transformer_blocks) == EMOJI_WORLD.layers


def test_the_emoji_world_is_of_the_size_asked_for_where_others_decode_in_tiles(settings: RenderSettings) -> None:
    asked = settings.model_copy(update={"width": 96, "height": 64})
    backbone = load_backbone(EMOJI_WORLD, WorkerSettings(device="cpu", vae_tiling=True))
    frames = backbone.decode(first_state(backbone, asked).latents, asked)
    assert frames.shape == (asked.frames, 64, 96, 3)
    assert not backbone.setup.vae_tiling


def test_every_family_a_spec_can_name_is_in_the_list() -> None:
    assert set(FAMILIES) == set(get_args(BackboneSpec.model_fields["family"].annotation))


def test_setup_says_how_the_weights_are_run(checkpoint: Path) -> None:
    backbone = load(checkpoint, dtype="bfloat16", vae_tiling=True)
    assert backbone.setup.dtype == "bfloat16"
    assert backbone.setup.device == "cpu"
    assert backbone.setup.vae_tiling
    assert backbone.setup.weights_revision.startswith("sha256:")
    assert backbone.transformer.dtype == torch.bfloat16
    assert backbone.pipeline.vae.use_tiling


def test_a_cpu_computes_in_float32_whatever_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    load(checkpoint, dtype="float16").pipeline.save_pretrained(tmp_path / "half")
    backbone = load(tmp_path / "half")
    assert {part.dtype for part in (backbone.transformer, backbone.pipeline.vae, backbone.pipeline.text_encoder)} == {
        torch.float32
    }


@pytest.mark.parametrize("offload", ["model", "group"])
def test_offloaded_networks_come_when_they_are_called(
    offload: str, checkpoint: Path, settings: RenderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hooks are the same on every device; here they move the networks from the CPU to the CPU."""
    expected = frames_of(load(checkpoint), settings)
    monkeypatch.setattr(pipeline, "resolve_device", lambda _: torch.device("cpu"))
    backbone = load(checkpoint, offload=offload)
    for _ in range(2):  # and go back, for the next video
        assert np.array_equal(frames_of(backbone, settings), expected)


@pytest.mark.parametrize("spec", [COGVIDEOX_2B, WAN_2_1_T2V_1_3B], ids=lambda spec: spec.family)
def test_weights_in_8_bits_give_nearly_the_same_video(
    spec: BackboneSpec,
    tiny_pipeline: Callable[..., Any],
    tiny_wan: Callable[[], Any],
    plan: Plan,
    settings: RenderSettings,
    tmp_path: Path,
) -> None:
    """With guidance, but for the one that takes gradients."""
    make: Callable[[], Any] = tiny_wan if spec is WAN_2_1_T2V_1_3B else tiny_pipeline
    make().save_pretrained(tmp_path)
    settings = settings.model_copy(update={"backbone": spec.name, "guidance": spec.guidance})
    videos = []
    for casting in (False, True):
        backbone = load_backbone(spec, WorkerSettings(weights=tmp_path, device="cpu", layerwise_casting=casting))
        weights = backbone.pipeline.transformer.parameters()
        assert any(its.dtype == torch.float8_e4m3fn for its in weights) is casting
        assert backbone.setup.dtype == ("float32, weights float8" if casting else "float32")
        sampled = sample(backbone, plan.prompt, plan, settings, on_step=ignore, on_stage=lambda _: None)
        videos.append(sampled.frames.astype(float))
    assert 0 < np.abs(videos[0] - videos[1]).mean() < 16
    gradient = settings.model_copy(update={"guidance": spec.guidance.model_copy(update={"gradient_step": 0.01})})
    with pytest.raises(RenderingFailed, match="gradient_step needs the weights of all layers"):
        sample(backbone, plan.prompt, plan, gradient, on_step=ignore, on_stage=lambda _: None)


def write_lora(file: Path, layer: str, columns: int) -> Path:
    generator = torch.Generator().manual_seed(0)
    shapes = {"A": (2, columns), "B": (32, 2)}
    weights = {
        f"transformer.{layer}.lora_{part}.weight": torch.randn(shape, generator=generator)
        for part, shape in shapes.items()
    }
    save_file(weights, file)
    return file


def test_a_lora_is_in_the_weights_and_guidance_does_not_notice(
    checkpoint: Path, plan: Plan, settings: RenderSettings, tmp_path: Path
) -> None:
    layer = "transformer_blocks.0.attn1.to_q"
    stock, backbone = (
        load(checkpoint, lora=lora) for lora in (None, write_lora(tmp_path / "lora.safetensors", layer, 32))
    )
    parts = load_file(tmp_path / "lora.safetensors")
    low, high = (parts[f"transformer.{layer}.lora_{part}.weight"] for part in "AB")
    before, after = (its.transformer.get_submodule(layer).weight for its in (stock, backbone))
    assert torch.allclose(after, before + high @ low, atol=1e-5)  # alpha is the rank where the file has none
    assert type(backbone.transformer.get_submodule(layer)) is torch.nn.Linear
    revision, lora_revision = backbone.setup.weights_revision.split(", LoRA sha256:")
    assert revision == stock.setup.weights_revision
    assert len(lora_revision) == 64
    guided = settings.model_copy(update={"guidance": COGVIDEOX_2B.guidance})
    sample(backbone, plan.prompt, plan, guided, on_step=ignore, on_stage=lambda _: None)


def test_a_file_that_is_no_lora_for_the_network_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    pickle = tmp_path / "lora.pt"
    pickle.write_bytes(b"")
    of_another_shape = write_lora(tmp_path / "shape.safetensors", "transformer_blocks.0.attn1.to_q", 7)
    for_a_larger_network = write_lora(tmp_path / "layer.safetensors", "transformer_blocks.9.attn1.to_q", 32)
    weights = checkpoint / "transformer" / "diffusion_pytorch_model.safetensors"
    for file in (of_another_shape, for_a_larger_network, weights, pickle, tmp_path / "missing.safetensors"):
        with pytest.raises(WeightsMissing, match=file.name):
            load(checkpoint, lora=file)


@pytest.mark.parametrize("settings", [{"layerwise_casting": True}, {"offload": "group", "device": "cuda"}])
def test_a_network_that_is_guided_by_gradients_keeps_its_weights(settings: dict[str, Any]) -> None:
    with pytest.raises(RenderingFailed, match="videocrafter2 is guided by gradients"):
        load_backbone(VIDEOCRAFTER2, WorkerSettings(**settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"offload": "model"}, "'model' was asked for, but a CPU has no GPU memory to save"),
        ({"offload": "group"}, "a CPU has no GPU memory to save"),
        ({"device": "gpu"}, "'gpu' is no device"),
        ({"device": "cuda:3"}, "'cuda:3' was asked for, but there is no CUDA device on this machine"),
    ],
)
def test_a_device_that_is_not_there_is_said_to_be_missing(
    checkpoint: Path, settings: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RenderingFailed, match=message):
        load(checkpoint, **settings)


def test_half_precision_gives_nearly_the_same_video(checkpoint: Path, settings: RenderSettings) -> None:
    exact = frames_of(load(checkpoint), settings).astype(float)
    rounded = frames_of(load(checkpoint, dtype="bfloat16"), settings)
    assert 0 < np.abs(exact - rounded).mean() < 8


def test_a_prompt_too_long_to_be_read_is_noted(checkpoint: Path) -> None:
    backbone = load(checkpoint)
    assert backbone.scene("a red car", None).notes == ()
    scene = backbone.scene("a red car drives to the right", None)
    assert scene.caption == "a red car drives to the right"
    assert scene.notes == ("only 24 tokens are read; unread: 'e right'",)


def test_the_emoji_world_says_which_words_of_a_prompt_without_a_plan_it_does_not_know() -> None:
    backbone = load_backbone(EMOJI_WORLD, WorkerSettings(device="cpu"))
    scene = backbone.scene("A red car is driving to the right past a submarine", None)
    assert scene.caption == "a red car is driving to the right a"
    assert scene.notes == ("words that are not known: 'past', 'submarine'",)
    assert backbone.scene("a red car is driving to the right", None).notes == ()
