"""Guidance on a tiny CogVideoX: nothing of it is nothing at all, and what is borrowed is handed back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from generator_service.backbones.base import Setup
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.contract.backbones import COGVIDEOX_2B
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.request import RenderSettings
from generator_service.guidance.layout import TokenLayout, layout_on
from generator_service.guidance.protocols import UNGUIDED, Guidance
from generator_service.guidance.video import MotionGuidance, RegionalPrompting, VideoGuidance
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import StepState, first_state
from shared.plan import Plan

STEPS = 4
WIDTH, HEIGHT = 48, 32
SETUP = Setup(weights_revision="none", device="cpu", dtype="float32", vae_tiling=False)


@pytest.fixture(params=[False, True], ids=["added positions", "rotary positions"])
def backbone(request: pytest.FixtureRequest, tiny_pipeline: Callable[..., Any]) -> CogVideoX:
    return CogVideoX(COGVIDEOX_2B, tiny_pipeline("dpm", rotary=request.param), torch.device("cpu"), SETUP)


@pytest.fixture(params=[1.0, 6.0], ids=["without CFG", "with CFG"])
def settings(request: pytest.FixtureRequest) -> RenderSettings:
    return RenderSettings(
        backbone="cogvideox-2b",
        seed=3,
        steps=STEPS,
        frames=9,
        width=WIDTH,
        height=HEIGHT,
        fps=8,
        guidance_scale=request.param,
    )


def motion_of(steps: range = range(3), **changes: Any) -> MotionGuidance:
    return MotionGuidance(GuidanceParameters(**({"strength": 2.0} | changes)), steps)


def regional_of(backbone: CogVideoX, layout: TokenLayout) -> RegionalPrompting:
    return RegionalPrompting.encode(backbone, layout, ["a car", "a tree"], "a street", base_ratio=0.3, steps=range(2))


def sampled(
    backbone: CogVideoX,
    settings: RenderSettings,
    layout: TokenLayout,
    motion: MotionGuidance | None,
    regional: RegionalPrompting | None,
) -> list[StepState]:
    """The states after each step."""
    conditioning = backbone.prepare("a car and a tree", settings)
    states = [first_state(backbone, settings)]
    guidance = VideoGuidance(backbone, layout, motion=motion, regional=regional)
    denoise(backbone, conditioning, states[0], guidance, states.append)
    return states


def test_no_strength_is_the_plain_sampler_bit_for_bit(
    backbone: CogVideoX, settings: RenderSettings, plan: Plan
) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    conditioning = backbone.prepare("a car and a tree", settings)
    plain = denoise(backbone, conditioning, first_state(backbone, settings), UNGUIDED, lambda state: None)
    off = sampled(backbone, settings, layout, motion_of(strength=0.0), None)[-1].latents
    assert torch.equal(off, plain)
    for motion, regional in ((motion_of(), None), (None, regional_of(backbone, layout))):
        guided = sampled(backbone, settings, layout, motion, regional)[-1].latents
        assert (guided - plain).abs().max() > 1e-4


def test_a_resumed_run_is_the_undisturbed_one(backbone: CogVideoX, settings: RenderSettings, plan: Plan) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    motion, regional = motion_of(), regional_of(backbone, layout)
    states = sampled(backbone, settings, layout, motion, regional)
    assert [state.is_resumable for state in states[1:]] == [False, False, True, True]  # after the last guided step
    for state in states[3:]:
        conditioning = backbone.prepare("a car and a tree", settings)
        guidance = VideoGuidance(backbone, layout, motion=motion, regional=regional)
        resumed = denoise(backbone, conditioning, state, guidance, lambda state: None)
        assert torch.equal(resumed, states[-1].latents)


def test_the_transformer_leaves_as_it_came_even_when_it_fails(
    backbone: CogVideoX, settings: RenderSettings, plan: Plan
) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    transformer = backbone.transformer
    before = dict(transformer.attn_processors)
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in transformer.modules()]
    guidance = VideoGuidance(backbone, layout, motion=motion_of(), regional=regional_of(backbone, layout))

    def fail() -> None:
        with guidance.around_prediction(0):
            assert dict(transformer.attn_processors) != before
            raise RuntimeError("in the middle of a step")

    with pytest.raises(RuntimeError, match="in the middle of a step"):
        fail()
    assert dict(transformer.attn_processors) == before
    assert hooks == [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in transformer.modules()]


def test_outside_the_guided_steps_nothing_is_borrowed(
    backbone: CogVideoX, settings: RenderSettings, plan: Plan
) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    transformer = backbone.transformer
    before = dict(transformer.attn_processors)
    guidance = VideoGuidance(backbone, layout, motion=motion_of(steps=range(1, 2), layers=(1,)))
    changed = []
    for step in range(STEPS):
        with guidance.around_prediction(step):
            changed.append([name for name, its in transformer.attn_processors.items() if its is not before[name]])
    assert changed == [[], ["transformer_blocks.1.attn1.processor"], [], []]


def test_the_unconditional_half_stays_what_it_was(backbone: CogVideoX, settings: RenderSettings, plan: Plan) -> None:
    if settings.guidance_scale == 1:
        pytest.skip("there is no unconditional half")
    layout = layout_on(backbone.grid(settings), plan)
    conditioning = backbone.prepare("a car and a tree", settings)
    state = first_state(backbone, settings)
    timestep = backbone.solver(STEPS).timesteps[0]

    def halves() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            both = backbone.transformer(
                hidden_states=torch.cat([state.latents] * 2),
                encoder_hidden_states=conditioning.text,
                timestep=timestep.expand(2),
                image_rotary_emb=conditioning.rotary,
                return_dict=False,
            )[0]
        return both[0], both[1]

    stock = halves()
    guidance = VideoGuidance(backbone, layout, motion=motion_of(), regional=regional_of(backbone, layout))
    with guidance.around_prediction(0):
        guided = halves()
    assert torch.equal(guided[0], stock[0])
    assert not torch.allclose(guided[1], stock[1])


def test_with_regions_too_motion_guides_its_own_layers_only(
    backbone: CogVideoX, settings: RenderSettings, plan: Plan
) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    conditioning = backbone.prepare("a car and a tree", settings)
    state = first_state(backbone, settings)
    timestep = backbone.solver(STEPS).timesteps[0]

    @torch.no_grad()
    def behind(layer: int, motion: MotionGuidance | None) -> Tensor:
        regional = regional_of(backbone, layout)
        guidance = VideoGuidance(backbone, layout, motion=motion, regional=regional)
        with guidance.around_prediction(0), backbone.capture_features(layer) as captured:
            backbone.predict(state.latents, timestep, conditioning)
        return captured[0]

    assert torch.equal(behind(0, motion_of(layers=(1,))), behind(0, None))
    assert not torch.allclose(behind(1, motion_of(layers=(1,))), behind(1, None), atol=1e-4)
    assert not torch.allclose(behind(0, motion_of(layers=(0,))), behind(0, None), atol=1e-4)


def test_features_are_those_of_the_conditional_half(backbone: CogVideoX, settings: RenderSettings) -> None:
    conditioning = backbone.prepare("a car and a tree", settings)
    state = first_state(backbone, settings)
    timestep = backbone.solver(STEPS).timesteps[0]

    @torch.no_grad()
    def features(text: Tensor) -> Tensor:
        with backbone.capture_features(0) as captured:
            backbone.predict(state.latents, timestep, replace(conditioning, text=text))
        return captured[0]

    conditional = features(conditioning.text[-1:])
    assert torch.allclose(features(conditioning.text), conditional, atol=1e-5)
    if settings.guidance_scale > 1:
        assert not torch.allclose(features(conditioning.text[:1]), conditional, atol=1e-3)


def test_a_network_that_is_split_or_not_stock_is_refused(
    backbone: CogVideoX, settings: RenderSettings, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    guidance = VideoGuidance(backbone, layout, motion=motion_of())
    monkeypatch.setattr(backbone.transformer, "_parallel_config", object(), raising=False)
    with pytest.raises(ValueError, match="split over devices"), guidance.around_prediction(0):
        pass


def test_the_grid_of_a_video(backbone: CogVideoX, settings: RenderSettings) -> None:
    grid = backbone.grid(settings)
    assert (grid.frames, grid.rows, grid.columns, grid.compression) == (3, 2, 3, 4)
    assert grid.layout_frames == 9


def test_a_jobs_parameters_become_what_guides_it(backbone: CogVideoX, settings: RenderSettings, plan: Plan) -> None:
    def guidance(**parameters: Any) -> Guidance:
        asked = settings.model_copy(update={"guidance": GuidanceParameters(**parameters)})
        return backbone.guidance(backbone.scene(plan.prompt, plan), asked)

    assert backbone.guidance(backbone.scene(plan.prompt, plan), settings) is UNGUIDED
    assert backbone.guidance(backbone.scene(plan.prompt, None), settings) is UNGUIDED
    both = guidance(strength=2.0, steps=0.5, regional_steps=0.75)  # of 4 steps
    assert isinstance(both, VideoGuidance)
    assert (both.motion.steps, both.regional.steps) == (range(2), range(3))
    assert both.regional.captions == (("car", "a red car"), ("tree", "a green tree"), (None, "a street"))
    for off in ({"strength": 0.0}, {"steps": 0.1}, {"branches": ()}):
        assert guidance(**off).motion is None
    for off in ({"regional": False}, {"regional_steps": 0.1}):
        assert guidance(**off).regional is None


def test_the_report_tells_what_was_done(backbone: CogVideoX, settings: RenderSettings, plan: Plan) -> None:
    asked = settings.model_copy(update={"guidance": GuidanceParameters(strength=2.0, steps=0.75, regional_steps=0.5)})
    conditioning = backbone.prepare("a car and a tree", asked)
    guidance = backbone.guidance(backbone.scene(plan.prompt, plan), asked)
    denoise(backbone, conditioning, first_state(backbone, asked), guidance, lambda state: None)
    report = guidance.report()
    assert report is not None
    assert (report.steps, report.video_tokens) == (3, 18)
    assert [(region.instance, region.text) for region in report.regions] == [
        ("car", "a red car"),
        ("tree", "a green tree"),
        (None, "a street"),
    ]
    car, tree = report.phases
    assert (car.instance, car.branch, car.steps, car.reference_frame) == ("car", "gig", 3, None)
    assert (tree.instance, tree.branch, tree.steps, tree.tokens) == ("tree", "rcg", 3, 3.0)
    assert tree.reference_frame in range(3)
    assert 1 <= car.tokens <= 3
    assert 0 <= car.whole_box_steps <= 2  # the first step has no features, and guides the whole box as it should
