"""Without guidance our loop is the stock pipeline, bit for bit: fp32, CPU, the same seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline, WanImageToVideoPipeline, WanPipeline
from PIL.Image import Image

from emoji_world.convolutions import split_convolutions
from generator_service.backbones.base import Scene, Setup
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.cogvideox_image import CogVideoXImageToVideo
from generator_service.backbones.load import load_backbone
from generator_service.backbones.pipeline import PipelineBackbone
from generator_service.backbones.wan import Wan
from generator_service.backbones.wan_image import WanImageToVideo
from generator_service.backbones.weights import find_weights
from generator_service.contract.backbones import (
    COGVIDEOX_2B,
    COGVIDEOX_5B_I2V,
    EMOJI_WORLD,
    WAN_2_1_I2V_14B,
    WAN_2_1_T2V_1_3B,
    WAN_2_2_TI2V_5B,
)
from generator_service.contract.request import JobRequest, RenderSettings
from generator_service.guidance.protocols import UNGUIDED
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import StepState, first_state, ignore
from generator_service.settings import WorkerSettings

PROMPT = "a red car drives"
SETUP = Setup(weights_revision="random", device="cpu", dtype="float32", vae_tiling=False)


def ours(
    backbone: PipelineBackbone[Any], settings: RenderSettings, image: Image | None
) -> tuple[torch.Tensor, np.ndarray]:
    """Resumed after the first step, where there is another one, by a process that had nothing but the state."""
    conditioning = backbone.prepare(Scene(caption=PROMPT, image=image), settings)
    states: list[StepState] = []
    latents = denoise(backbone, conditioning, first_state(backbone, settings), UNGUIDED, states.append)
    conditioning = backbone.prepare(Scene(caption=PROMPT, image=image), settings)
    assert torch.equal(denoise(backbone, conditioning, states[0], UNGUIDED, ignore), latents)
    return latents, backbone.decode(latents, settings)


def stock(
    pipeline: Any, settings: RenderSettings, text_tokens: int, image: Image | None
) -> tuple[torch.Tensor, np.ndarray]:
    given = {} if image is None else {"image": image}

    def run(output_type: str) -> Any:
        return pipeline(
            prompt=PROMPT,
            num_frames=settings.frames,
            width=settings.width,
            height=settings.height,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            max_sequence_length=text_tokens,
            generator=torch.Generator().manual_seed(settings.seed),
            output_type=output_type,
            **given,
        ).frames

    pictures = [np.asarray(picture) for picture in run("pil")[0]]
    return run("latent"), np.stack(pictures)


def assert_equal(
    backbone: PipelineBackbone[Any], pipeline: Any, settings: RenderSettings, image: Image | None = None
) -> None:
    our_latents, our_frames = ours(backbone, settings, image)
    stock_latents, stock_frames = stock(pipeline, settings, backbone.text_tokens, image)
    assert torch.equal(our_latents, stock_latents)
    assert our_frames.shape == (settings.frames, settings.height, settings.width, 3)
    assert np.array_equal(our_frames, stock_frames)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm"])
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("guidance_scale", [1.0, 4.5])
def test_every_form_of_the_family(
    tiny_backbone: Callable[..., CogVideoX],
    settings: RenderSettings,
    scheduler: str,
    rotary: bool,
    guidance_scale: float,
) -> None:
    backbone = tiny_backbone(scheduler=scheduler, rotary=rotary)
    assert_equal(backbone, backbone.pipeline, settings.model_copy(update={"guidance_scale": guidance_scale}))


@pytest.mark.parametrize(("frames", "width", "height"), [(1, 48, 32), (17, 48, 32), (9, 32, 64)])
def test_other_sizes_and_lengths(
    tiny_backbone: Callable[..., CogVideoX], settings: RenderSettings, frames: int, width: int, height: int
) -> None:
    """Odd numbers of latent frames: 1 and 5; 3 is the default."""
    backbone = tiny_backbone()
    changed = settings.model_copy(update={"frames": frames, "width": width, "height": height})
    assert_equal(backbone, backbone.pipeline, changed)


def test_patches_in_time(tiny_backbone: Callable[..., CogVideoX], settings: RenderSettings) -> None:
    """CogVideoX 1.5: three latent frames are padded to four, and the padding is cut off again."""
    backbone = tiny_backbone(rotary=True, patch_size_t=2)
    assert_equal(backbone, backbone.pipeline, settings)


@pytest.mark.parametrize(("scheduler", "patch_size_t"), [("ddim", None), ("dpm", None), ("dpm", 2)])
@pytest.mark.parametrize("guidance_scale", [1.0, 4.5])
def test_every_form_that_begins_with_an_image(
    tiny_pipeline: Callable[..., Any],
    settings: RenderSettings,
    photo: Image,
    scheduler: str,
    patch_size_t: int | None,
    guidance_scale: float,
) -> None:
    """CogVideoX 1, whose positions are learned, and 1.5, with patches in time and an offset."""
    pipeline = tiny_pipeline(scheduler, rotary=True, patch_size_t=patch_size_t, image=True)
    backbone = CogVideoXImageToVideo(COGVIDEOX_5B_I2V, pipeline, torch.device("cpu"), SETUP)
    changed = settings.model_copy(update={"guidance_scale": guidance_scale})
    assert_equal(backbone, pipeline, changed, photo)
    latents, _ = ours(backbone, changed, photo)
    assert (ours(backbone, changed, photo.rotate(180))[0] - latents).abs().max() > 1e-3


def test_through_a_checkpoint_on_disk(
    tiny_pipeline: Callable[..., Any], settings: RenderSettings, tmp_path: Path
) -> None:
    tiny_pipeline(scheduler="dpm", rotary=True).save_pretrained(tmp_path)
    backbone = load_backbone(COGVIDEOX_2B, WorkerSettings(weights=tmp_path, device="cpu"))
    assert isinstance(backbone, CogVideoX)
    pipeline = CogVideoXPipeline.from_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    assert_equal(backbone, pipeline, settings)


@pytest.mark.parametrize("form", ["one", "two experts", "per token"])
@pytest.mark.parametrize(("guidance_scale", "steps"), [(1.0, 2), (4.5, 1), (4.5, 5)])
def test_every_form_of_wan(
    tiny_wan_backbone: Callable[..., Wan], settings: RenderSettings, form: str, guidance_scale: float, steps: int
) -> None:
    backbone = tiny_wan_backbone(form)
    changed = settings.model_copy(update={"guidance_scale": guidance_scale, "steps": steps, "frames": 5})
    assert_equal(backbone, backbone.pipeline, changed)


@pytest.mark.parametrize("form", ["one", "two experts", "per token"])
@pytest.mark.parametrize(("guidance_scale", "steps"), [(1.0, 2), (4.5, 5)])
def test_every_form_of_wan_that_begins_with_an_image(
    tiny_wan: Callable[..., Any], settings: RenderSettings, photo: Image, form: str, guidance_scale: float, steps: int
) -> None:
    """CLIP's tokens beside the text in Wan 2.1; neither in Wan 2.2; the first latent frame itself in its small one."""
    pipeline = tiny_wan(form, image=True)
    backbone = WanImageToVideo(WAN_2_1_I2V_14B, pipeline, torch.device("cpu"), SETUP)
    changed = settings.model_copy(update={"guidance_scale": guidance_scale, "steps": steps, "frames": 5})
    assert_equal(backbone, pipeline, changed, photo)
    latents, _ = ours(backbone, changed, photo)
    assert (ours(backbone, changed, photo.rotate(180))[0] - latents).abs().max() > 1e-3


def test_wan_that_may_begin_with_an_image_need_not(
    tiny_wan: Callable[..., Any], settings: RenderSettings, tmp_path: Path
) -> None:
    """Its checkpoint names the pipeline of text."""
    tiny_wan("per token").save_pretrained(tmp_path)
    backbone = load_backbone(WAN_2_2_TI2V_5B, WorkerSettings(weights=tmp_path, device="cpu"))
    assert isinstance(backbone, WanImageToVideo)
    assert_equal(backbone, tiny_wan("per token"), settings)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_wan_that_begins_with_an_image_through_a_checkpoint_on_disk(
    tiny_wan: Callable[..., Any], settings: RenderSettings, photo: Image, tmp_path: Path, dtype: str
) -> None:
    """CLIP is in float32, as the VAE is."""
    tiny_wan("one", image=True).save_pretrained(tmp_path)
    backbone = load_backbone(WAN_2_1_I2V_14B, WorkerSettings(weights=tmp_path, device="cpu", dtype=dtype))
    assert isinstance(backbone, WanImageToVideo)
    dtypes = {"default": getattr(torch, dtype), "vae": torch.float32, "image_encoder": torch.float32}
    pipeline = WanImageToVideoPipeline.from_pretrained(tmp_path, dtype=dtypes)
    pipeline.set_progress_bar_config(disable=True)
    assert_equal(backbone, pipeline, settings, photo)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_wan_through_a_checkpoint_on_disk(
    tiny_wan: Callable[..., Any], settings: RenderSettings, tmp_path: Path, dtype: str
) -> None:
    """Its VAE is in float32 whatever the rest."""
    tiny_wan("two experts").save_pretrained(tmp_path)
    backbone = load_backbone(WAN_2_1_T2V_1_3B, WorkerSettings(weights=tmp_path, device="cpu", dtype=dtype))
    assert isinstance(backbone, Wan)
    assert [expert.dtype for expert in backbone.experts] == [getattr(torch, dtype)] * 2
    pipeline = WanPipeline.from_pretrained(tmp_path, dtype={"default": getattr(torch, dtype), "vae": torch.float32})
    pipeline.set_progress_bar_config(disable=True)
    assert_equal(backbone, pipeline, settings)


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_on_the_packaged_weights(guidance_scale: float) -> None:
    backbone = load_backbone(EMOJI_WORLD, WorkerSettings(device="cpu"))
    assert isinstance(backbone, CogVideoX)
    pipeline = CogVideoXPipeline.from_pretrained(find_weights(EMOJI_WORLD, None).path, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    split_convolutions(pipeline.vae)  # as the backbone does on a CPU: the same sums in another order
    settings = JobRequest(prompt=PROMPT, seed=11, steps=3, guidance_scale=guidance_scale).settings()
    assert_equal(backbone, pipeline, settings)
