"""A step cache: in the steps after the guided ones alone, resumable where it begins anew, and gone afterwards."""

from collections.abc import Callable
from copy import copy
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from generator_service.backbones.base import Scene
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.pipeline import TransformerBackbone
from generator_service.backbones.wan import Wan
from generator_service.contract.request import RenderSettings
from generator_service.guidance.protocols import UNGUIDED, Guidance
from generator_service.sampling import loop
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import Cancelled, StepState, first_state, ignore

ALWAYS = 1.0
"""What a random network adds changes less than that from step to step."""


@pytest.fixture(params=["ddim", "dpm", "one"])
def backbone(
    request: pytest.FixtureRequest,
    tiny_backbone: Callable[..., CogVideoX],
    tiny_wan_backbone: Callable[..., Wan],
) -> TransformerBackbone[Any]:
    """Of both families; their networks have two blocks."""
    return tiny_wan_backbone("one") if request.param == "one" else tiny_backbone(scheduler=request.param)


def run(
    backbone: TransformerBackbone[Any],
    settings: RenderSettings,
    step_cache: float,
    *,
    start: StepState | None = None,
    guidance: Guidance = UNGUIDED,
    on_step: Callable[[StepState], None] = ignore,
) -> Tensor:
    conditioning = backbone.prepare(Scene(caption="a red car"), settings)
    start = start or first_state(backbone, settings)
    return denoise(backbone, conditioning, start, guidance, on_step, step_cache=step_cache)


class FullSteps:
    """An `on_step` that lists the steps, from 0, in which the last block was computed."""

    def __init__(self, backbone: TransformerBackbone[Any]) -> None:
        self.steps: list[int] = []
        self._computed = False
        for expert in backbone.experts:
            (blocks,) = (child for child in expert.children() if isinstance(child, nn.ModuleList))
            cast(nn.Module, blocks[-1].attn1).register_forward_pre_hook(self._compute)

    def _compute(self, *_: object) -> None:
        self._computed = True

    def __call__(self, state: StepState) -> None:
        if self._computed:
            self.steps.append(state.step - 1)
        self._computed = False


def test_a_step_that_changes_little_reuses_the_one_before(
    backbone: TransformerBackbone[Any], settings: RenderSettings
) -> None:
    exact = run(backbone, settings, 0.0)
    full = FullSteps(backbone)
    reused = run(backbone, settings, ALWAYS, on_step=full)
    assert full.steps == [0]
    assert not torch.equal(reused, exact)
    assert torch.equal(run(backbone, settings, 1e-9), exact)  # nothing changes so little


def test_each_expert_has_a_cache_of_its_own(tiny_wan_backbone: Any, settings: RenderSettings) -> None:
    backbone = tiny_wan_backbone("two experts")
    full = FullSteps(backbone)
    run(backbone, settings, ALWAYS, on_step=full)
    assert full.steps == [0, 2]


def test_the_guided_steps_are_computed_in_full(backbone: TransformerBackbone[Any], settings: RenderSettings) -> None:
    guidance: Any = copy(UNGUIDED)
    guidance.guided_until = 3
    full = FullSteps(backbone)
    run(backbone, settings.model_copy(update={"steps": 6}), ALWAYS, guidance=guidance, on_step=full)
    assert full.steps == [0, 1, 2, 3]  # and one more, which those after it reuse


def test_a_video_is_resumed_where_the_cache_begins_anew_and_is_the_same(
    backbone: TransformerBackbone[Any], settings: RenderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CACHE_RENEWED", 2)
    settings = settings.model_copy(update={"steps": 5})
    states: list[StepState] = []
    uninterrupted = run(backbone, settings, ALWAYS, on_step=states.append)
    assert [state.step for state in states if state.is_resumable] == [2, 4, 5]
    for state in (states[1], states[3]):
        assert torch.equal(run(backbone, settings, ALWAYS, start=state), uninterrupted)


def test_a_cancelled_video_leaves_the_stock_network(
    backbone: TransformerBackbone[Any], settings: RenderSettings
) -> None:
    exact = run(backbone, settings, 0.0)

    def cancel_after_two(state: StepState) -> None:
        if state.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(backbone, settings, ALWAYS, on_step=cancel_after_two)
    assert not any(expert.is_cache_enabled for expert in backbone.experts)
    assert torch.equal(run(backbone, settings, 0.0), exact)
