from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from generator_service.contract.request import RenderSettings


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def settings() -> RenderSettings:
    return RenderSettings(
        backbone="cogvideox-2b", seed=7, steps=2, frames=9, width=48, height=32, fps=8, guidance_scale=4.5
    )


@pytest.fixture
def checkpoint(tiny_pipeline: Callable[..., Any], tmp_path: Path) -> Path:
    """A whole folder in diffusers' format, float32."""
    folder = tmp_path / "checkpoint"
    tiny_pipeline(rotary=True).save_pretrained(folder)
    return folder
