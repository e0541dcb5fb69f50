"""Wan VACE: the stock pipeline's video of the same outlines, and what the outlines are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generator_service.backbones.base import Scene
from generator_service.backbones.load import load_backbone
from generator_service.backbones.wan_vace import COLOURS, WanVace, draw_boxes
from generator_service.contract.backbones import WAN_2_1_VACE_1_3B
from generator_service.contract.guidance import OFF, GuidanceParameters
from generator_service.contract.request import RenderSettings
from generator_service.guidance.protocols import UNGUIDED
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import first_state, ignore
from generator_service.settings import WorkerSettings
from shared.plan import Phase, Plan

CAPTION = "a car and a tree"


@pytest.fixture
def backbone(tiny_wan: Callable[..., Any], tmp_path: Path) -> WanVace:
    tiny_wan("vace").save_pretrained(tmp_path)
    backbone = load_backbone(WAN_2_1_VACE_1_3B, WorkerSettings(weights=tmp_path, device="cpu"))
    assert isinstance(backbone, WanVace)
    backbone.pipeline.set_progress_bar_config(disable=True)
    return backbone


def ours(backbone: WanVace, settings: RenderSettings, plan: Plan | None) -> torch.Tensor:
    conditioning = backbone.prepare(Scene(caption=CAPTION, plan=plan), settings)
    return denoise(backbone, conditioning, first_state(backbone, settings), UNGUIDED, ignore)


def stock(backbone: WanVace, settings: RenderSettings, **control: Any) -> torch.Tensor:
    latents: torch.Tensor = backbone.pipeline(
        CAPTION,
        num_frames=settings.frames,
        width=settings.width,
        height=settings.height,
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        generator=torch.Generator().manual_seed(settings.seed),
        output_type="latent",
        **control,
    ).frames
    return latents


def test_a_plan_is_followed_as_the_stock_pipeline_follows_a_video_of_its_boxes(
    backbone: WanVace, settings: RenderSettings, plan: Plan
) -> None:
    settings = settings.model_copy(update={"guidance": WAN_2_1_VACE_1_3B.guidance.model_copy(update={"control": 0.7})})
    followed = ours(backbone, settings, plan)
    outlines = draw_boxes(plan, (settings.width, settings.height))
    assert torch.equal(followed, stock(backbone, settings, video=list(outlines), conditioning_scale=0.7))
    freely = ours(backbone, settings, None)
    assert torch.equal(freely, stock(backbone, settings))
    assert torch.equal(ours(backbone, settings.model_copy(update={"guidance": OFF}), plan), freely)
    assert not torch.equal(followed, freely)


def test_training_free_guidance_is_in_its_own_blocks(backbone: WanVace, settings: RenderSettings, plan: Plan) -> None:
    """Beside control, or in its place."""
    scene = replace(backbone.scene(plan.prompt, plan), caption=CAPTION)
    videos = []
    for strength, control in ((0.0, 1.0), (0.5, 1.0), (0.5, 0.0)):
        wish = GuidanceParameters(strength=strength, regional=False, until=0.0, control=control)
        asked = settings.model_copy(update={"guidance": wish})
        conditioning, guidance = backbone.prepare(scene, asked), backbone.guidance(scene, asked)
        videos.append(denoise(backbone, conditioning, first_state(backbone, asked), guidance, ignore))
    assert not any(torch.equal(a, b) for a, b in ((videos[0], videos[1]), (videos[1], videos[2])))


def test_the_outlines_of_a_plan_by_hand(plan: Plan) -> None:
    """The tree, [.75, .875] × [.25, .5], is farther away; the car is absent at first, and then in front of it."""
    car, tree = plan.tracks
    coming = car.model_copy(
        update={
            "phases": (Phase(label="motionless", start=0, end=3, absent=True), Phase(label="rigid", start=4, end=8)),
            "boxes": (tree.boxes[0],) * 9,
        }
    )
    pictures = draw_boxes(plan.model_copy(update={"tracks": (coming, tree)}), (81, 41))
    assert len(pictures) == 9
    first, last = (np.asarray(pictures[index]) for index in (0, 8))
    outline = np.zeros((41, 81), dtype=bool)
    outline[10:21, 60:71] = True
    outline[12:19, 62:69] = False  # two pixels wide
    for picture, colour in ((first, COLOURS[1]), (last, COLOURS[0])):
        red_green_blue = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        assert (picture[outline] == red_green_blue).all()
        assert (picture[~outline] == 255).all()
