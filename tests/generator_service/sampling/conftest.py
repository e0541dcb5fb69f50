from collections.abc import Callable
from typing import Any

import pytest
import torch

from generator_service.backbones.base import Setup
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.wan import Wan
from generator_service.contract.backbones import COGVIDEOX_2B, WAN_2_1_T2V_1_3B
from generator_service.contract.request import RenderSettings


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def settings() -> RenderSettings:
    return RenderSettings(
        backbone="cogvideox-2b", seed=7, steps=4, frames=9, width=48, height=32, fps=8, guidance_scale=4.5
    )


SETUP = Setup(weights_revision="random", device="cpu", dtype="float32", vae_tiling=False)


@pytest.fixture
def tiny_backbone(tiny_pipeline: Callable[..., Any]) -> Callable[..., CogVideoX]:
    return lambda **form: CogVideoX(COGVIDEOX_2B, tiny_pipeline(**form), torch.device("cpu"), SETUP)


@pytest.fixture
def tiny_wan_backbone(tiny_wan: Callable[..., Any]) -> Callable[..., Wan]:
    return lambda form: Wan(WAN_2_1_T2V_1_3B, tiny_wan(form), torch.device("cpu"), SETUP)
