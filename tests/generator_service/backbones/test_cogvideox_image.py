"""What is CogVideoX-I2V's own, as far as the stock pipeline does not show it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL.Image import Image
from torch import Tensor

from generator_service.backbones.base import Scene, Setup
from generator_service.backbones.cogvideox_image import CogVideoXImageToVideo
from generator_service.contract.backbones import COGVIDEOX_5B_I2V
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.request import RenderSettings
from generator_service.guidance.protocols import UNGUIDED
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import StepState, first_state, ignore
from shared.plan import Plan

SETUP = Setup(weights_revision="none", device="cpu", dtype="float32", vae_tiling=False)


@pytest.fixture
def backbone(tiny_pipeline: Callable[..., Any]) -> CogVideoXImageToVideo:
    return CogVideoXImageToVideo(
        COGVIDEOX_5B_I2V, tiny_pipeline("dpm", rotary=True, image=True), torch.device("cpu"), SETUP
    )


@pytest.fixture
def settings() -> RenderSettings:
    return RenderSettings(
        backbone="cogvideox-5b-i2v",
        seed=7,
        steps=4,
        frames=9,
        width=48,
        height=32,
        fps=8,
        guidance_scale=4.5,
        guidance=GuidanceParameters(strength=2.0, until=0.9, regional_until=0.9),
    )


def test_a_plan_guides_it_and_it_can_be_resumed(
    backbone: CogVideoXImageToVideo, settings: RenderSettings, plan: Plan, photo: Image
) -> None:
    scene = Scene(caption="a car", image=photo, plan=plan, descriptions=("a car", "a tree"), surroundings="a street")
    conditioning, states = backbone.prepare(scene, settings), list[StepState]()
    start = first_state(backbone, settings)
    guided = denoise(backbone, conditioning, start, backbone.guidance(scene, settings), states.append)
    plain = denoise(backbone, conditioning, start, UNGUIDED, ignore)
    assert (guided - plain).abs().max() > 1e-3
    assert states[2].is_resumable
    again = backbone.prepare(scene, settings)
    assert torch.equal(denoise(backbone, again, states[2], backbone.guidance(scene, settings), ignore), guided)


def test_each_text_has_the_positions_of_a_text(
    backbone: CogVideoXImageToVideo, settings: RenderSettings, photo: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are learned, and not 0: what is appended is the prompt again, and so it looks to the first block."""
    embed, entered = backbone.transformer.patch_embed, list[Tensor]()
    monkeypatch.setattr(embed, "pos_embedding", torch.rand_like(embed.pos_embedding))
    conditioning = backbone.prepare(Scene(caption="a car", image=photo), settings)
    hook = backbone.transformer.transformer_blocks[0].register_forward_pre_hook(
        lambda _module, _args, kwargs: entered.append(kwargs["encoder_hidden_states"]), with_kwargs=True
    )
    latents, timestep = first_state(backbone, settings).latents, backbone.solver(4).timesteps[0]
    with torch.no_grad():
        around = backbone.borrow_attention({}, torch.cat([conditioning.text[1:]] * 2, dim=1))
        backbone.predict(latents, timestep, conditioning, around)
    hook.remove()
    prompt, *appended = entered[0][1].split(backbone.text_tokens)
    assert len(appended) == 2
    assert all(torch.allclose(its, prompt) for its in appended)


def test_it_does_not_begin_without_one(backbone: CogVideoXImageToVideo, settings: RenderSettings) -> None:
    with pytest.raises(ValueError, match="cogvideox-5b-i2v begins with it"):
        backbone.prepare(Scene(caption="a car"), settings)
