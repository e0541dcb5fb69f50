"""Guidance on tiny networks of every kind: nothing of it is nothing at all, and what is borrowed is handed back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers import FirstBlockCacheConfig
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor

from generator_service.backbones.base import Scene, Setup
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.wan import Wan
from generator_service.contract.backbones import COGVIDEOX_2B, WAN_2_1_T2V_1_3B
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.request import RenderSettings
from generator_service.guidance.layout import TokenLayout, layout_on
from generator_service.guidance.protocols import UNGUIDED, Guidance
from generator_service.guidance.video import MotionGuidance, RegionalPrompting, VideoGuidance
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import StepState, first_state
from shared.plan import NO_PLACE, Plan

STEPS = 4
WIDTH, HEIGHT = 48, 32
SETUP = Setup(weights_revision="none", device="cpu", dtype="float32", vae_tiling=False)


AnyNetwork = CogVideoX | Wan


@pytest.fixture(params=["CogVideoX, added positions", "CogVideoX, rotary positions", "Wan", "Wan, two experts"])
def backbone(
    request: pytest.FixtureRequest, tiny_pipeline: Callable[..., Any], tiny_wan: Callable[..., Any]
) -> AnyNetwork:
    name, _, form = request.param.partition(", ")
    if name == "Wan":
        return Wan(WAN_2_1_T2V_1_3B, tiny_wan(form or "one"), torch.device("cpu"), SETUP)
    return CogVideoX(COGVIDEOX_2B, tiny_pipeline("dpm", rotary="rotary" in form), torch.device("cpu"), SETUP)


def transformers_of(backbone: AnyNetwork) -> tuple[Any, ...]:
    return backbone.experts if isinstance(backbone, Wan) else (backbone.transformer,)


def processors_of(backbone: AnyNetwork) -> list[dict[str, Any]]:
    return [dict(its.attn_processors) for its in transformers_of(backbone)]


@contextmanager
def predictions(backbone: AnyNetwork) -> Iterator[list[Tensor]]:
    """What the transformers answer inside: [half, …] or, half by half, [1, …]."""
    answers: list[Tensor] = []
    hooks = [
        its.register_forward_hook(lambda _module, _args, output: answers.append(output[0]))
        for its in transformers_of(backbone)
    ]
    yield answers
    for hook in hooks:
        hook.remove()


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


def regional_of(backbone: AnyNetwork, layout: TokenLayout) -> RegionalPrompting:
    return RegionalPrompting.encode(backbone, layout, ["a car", "a tree"], "a street", base_ratio=0.3, steps=range(2))


def sampled(
    backbone: AnyNetwork,
    settings: RenderSettings,
    layout: TokenLayout,
    motion: MotionGuidance | None,
    regional: RegionalPrompting | None,
) -> list[StepState]:
    """The states after each step."""
    conditioning = backbone.prepare(Scene(caption="a car and a tree"), settings)
    states = [first_state(backbone, settings)]
    guidance = VideoGuidance(backbone, layout, motion=motion, regional=regional)
    denoise(backbone, conditioning, states[0], guidance, states.append)
    return states


def test_no_strength_is_the_plain_sampler_bit_for_bit(
    backbone: AnyNetwork, settings: RenderSettings, plan: Plan
) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    conditioning = backbone.prepare(Scene(caption="a car and a tree"), settings)
    plain = denoise(backbone, conditioning, first_state(backbone, settings), UNGUIDED, lambda state: None)
    off = sampled(backbone, settings, layout, motion_of(strength=0.0), None)[-1].latents
    assert torch.equal(off, plain)
    for motion, regional in ((motion_of(), None), (None, regional_of(backbone, layout))):
        guided = sampled(backbone, settings, layout, motion, regional)[-1].latents
        assert (guided - plain).abs().max() > 1e-4


def test_a_resumed_run_is_the_undisturbed_one(backbone: AnyNetwork, settings: RenderSettings, plan: Plan) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    motion, regional = motion_of(), regional_of(backbone, layout)
    states = sampled(backbone, settings, layout, motion, regional)
    assert [state.is_resumable for state in states[1:]] == [False, False, True, True]  # after the last guided step
    for state in states[3:]:
        conditioning = backbone.prepare(Scene(caption="a car and a tree"), settings)
        guidance = VideoGuidance(backbone, layout, motion=motion, regional=regional)
        resumed = denoise(backbone, conditioning, state, guidance, lambda state: None)
        assert torch.equal(resumed, states[-1].latents)


def hooks_of(backbone: AnyNetwork) -> list[int]:
    modules = [module for its in transformers_of(backbone) for module in its.modules()]
    return [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules]


def test_the_transformer_leaves_as_it_came_even_when_it_fails(
    backbone: AnyNetwork, settings: RenderSettings, plan: Plan
) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    before, hooks = processors_of(backbone), hooks_of(backbone)
    guidance = VideoGuidance(backbone, layout, motion=motion_of(), regional=regional_of(backbone, layout))

    def fail() -> None:
        with guidance.around_prediction(0):
            assert all(now != then for now, then in zip(processors_of(backbone), before, strict=True))
            assert hooks_of(backbone) != hooks
            raise RuntimeError("in the middle of a step")

    with pytest.raises(RuntimeError, match="in the middle of a step"):
        fail()
    assert processors_of(backbone) == before
    assert hooks_of(backbone) == hooks


def test_outside_the_guided_steps_nothing_is_borrowed(
    backbone: AnyNetwork, settings: RenderSettings, plan: Plan
) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    transformer = backbone.transformer
    before = dict(transformer.attn_processors)
    guidance = VideoGuidance(backbone, layout, motion=motion_of(steps=range(1, 2), layers=(1,)))
    changed = []
    for step in range(STEPS):
        with guidance.around_prediction(step):
            changed.append([name for name, its in transformer.attn_processors.items() if its is not before[name]])
    blocks = "blocks" if isinstance(backbone, Wan) else "transformer_blocks"
    assert changed == [[], [f"{blocks}.1.attn1.processor"], [], []]


def test_the_unconditional_half_stays_what_it_was(backbone: AnyNetwork, settings: RenderSettings, plan: Plan) -> None:
    if settings.guidance_scale == 1:
        pytest.skip("there is no unconditional half")
    layout = layout_on(backbone.grid(settings), plan)
    conditioning = backbone.prepare(Scene(caption="a car and a tree"), settings)
    state = first_state(backbone, settings)
    timestep = backbone.solver(STEPS).timesteps[0]

    @torch.no_grad()
    def halves(guidance: Guidance) -> tuple[Tensor, Tensor]:
        with predictions(backbone) as answers:
            backbone.predict(state.latents, timestep, conditioning, guidance.around_prediction(0))
        first, second = torch.cat(answers)
        return (second, first) if isinstance(backbone, Wan) else (first, second)

    stock = halves(UNGUIDED)
    guided = halves(VideoGuidance(backbone, layout, motion=motion_of(), regional=regional_of(backbone, layout)))
    assert torch.equal(guided[0], stock[0])
    assert not torch.allclose(guided[1], stock[1])


def test_with_regions_too_motion_guides_its_own_layers_only(
    backbone: AnyNetwork, settings: RenderSettings, plan: Plan
) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    conditioning = backbone.prepare(Scene(caption="a car and a tree"), settings)
    state = first_state(backbone, settings)
    timestep = backbone.solver(STEPS).timesteps[0]

    @torch.no_grad()
    def behind(layer: int, motion: MotionGuidance | None) -> Tensor:
        regional = regional_of(backbone, layout)
        guidance = VideoGuidance(backbone, layout, motion=motion, regional=regional)
        with backbone.capture_features(layer) as captured:
            backbone.predict(state.latents, timestep, conditioning, guidance.around_prediction(0))
        return captured[0]

    assert torch.equal(behind(0, motion_of(layers=(1,))), behind(0, None))
    assert not torch.allclose(behind(1, motion_of(layers=(1,))), behind(1, None), atol=1e-4)
    assert not torch.allclose(behind(0, motion_of(layers=(0,))), behind(0, None), atol=1e-4)


def test_features_are_those_of_the_conditional_half(backbone: AnyNetwork, settings: RenderSettings) -> None:
    state = first_state(backbone, settings)
    timestep = backbone.solver(STEPS).timesteps[0]
    captured: list[Tensor] = []

    @contextmanager
    def capture() -> Iterator[None]:
        with backbone.capture_features(0) as features:
            yield
        captured.extend(features)

    @torch.no_grad()
    def features(caption: str, scale: float) -> Tensor:
        conditioning = backbone.prepare(Scene(caption=caption), settings.model_copy(update={"guidance_scale": scale}))
        captured.clear()
        backbone.predict(state.latents, timestep, conditioning, capture())
        (its,) = captured
        return its

    conditional = features("a car and a tree", 1.0)
    assert conditional.shape == (18, 32)
    torch.testing.assert_close(features("a car and a tree", settings.guidance_scale), conditional, atol=1e-5, rtol=0)
    assert not torch.allclose(features("", 1.0), conditional, atol=1e-4)


def test_what_a_prompt_excludes_is_what_guidance_leads_away_from(
    backbone: AnyNetwork, settings: RenderSettings, plan: Plan
) -> None:
    state = first_state(backbone, settings)
    timestep = backbone.solver(STEPS).timesteps[0]
    graph = plan.graph.model_copy(update={"excluded": ("tree", "car")})
    scene = backbone.scene(plan.prompt, plan.model_copy(update={"graph": graph}))
    assert scene.negative == "tree, car"

    @torch.no_grad()
    def predicted(scale: float, caption: str, negative: str = "") -> Tensor:
        asked = settings.model_copy(update={"guidance_scale": scale})
        return backbone.predict(
            state.latents, timestep, backbone.prepare(Scene(caption=caption, negative=negative), asked)
        )

    away, toward = predicted(1.0, scene.negative), predicted(1.0, scene.caption)
    guided = predicted(3.0, scene.caption, scene.negative)
    torch.testing.assert_close(guided, away + 3.0 * (toward - away), atol=1e-4, rtol=0)
    assert not torch.allclose(guided, predicted(3.0, scene.caption), atol=1e-4)


def test_a_network_that_is_split_cached_or_not_stock_is_refused(
    backbone: AnyNetwork, settings: RenderSettings, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = layout_on(backbone.grid(settings), plan)
    guidance = VideoGuidance(backbone, layout, motion=motion_of())
    with monkeypatch.context() as patched:
        patched.setattr(backbone.transformer, "_parallel_config", object(), raising=False)
        with pytest.raises(ValueError, match="split over devices"), guidance.around_prediction(0):
            pass
    backbone.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.1))
    try:
        with pytest.raises(ValueError, match="step cache"), guidance.around_prediction(0):
            pass
    finally:
        backbone.transformer.disable_cache()
    before = dict(backbone.transformer.attn_processors)
    backbone.transformer.set_attn_processor(AttnProcessor2_0())
    try:
        with pytest.raises(TypeError, match="Got a AttnProcessor2_0 but expected"), guidance.around_prediction(0):
            pass
    finally:
        backbone.transformer.set_attn_processor(before)


def test_the_grid_of_a_video(backbone: AnyNetwork, settings: RenderSettings) -> None:
    grid = backbone.grid(settings)
    assert (grid.frames, grid.rows, grid.columns, grid.compression) == (3, 2, 3, 4)
    assert grid.layout_frames == 9


def test_a_jobs_parameters_become_what_guides_it(backbone: AnyNetwork, settings: RenderSettings, plan: Plan) -> None:
    def guidance(**parameters: Any) -> Guidance:
        asked = settings.model_copy(update={"guidance": GuidanceParameters(**parameters)})
        return backbone.guidance(backbone.scene(plan.prompt, plan), asked)

    assert backbone.guidance(backbone.scene(plan.prompt, plan), settings) is UNGUIDED
    assert backbone.guidance(backbone.scene(plan.prompt, None), settings) is UNGUIDED
    both = guidance(strength=2.0, until=0.9, regional_until=0.7)  # four steps begin at
    assert isinstance(both, VideoGuidance)
    assert (both.motion.steps, both.regional.steps) == (range(2), range(3))
    assert both.regional.captions == (("car", "a red car"), ("tree", "a green tree"), (None, "a street"))
    for off in ({"strength": 0.0}, {"until": 1.0}, {"branches": ()}):
        assert guidance(**off).motion is None
    for off in ({"regional": False}, {"regional_until": 1.0}):
        assert guidance(**off).regional is None


def test_regions_read_the_prompts_style_and_the_surroundings_all_of_it_but_its_things(
    tiny_pipeline: Callable[..., Any], plan: Plan
) -> None:
    backbone = CogVideoX(COGVIDEOX_2B, tiny_pipeline("dpm"), torch.device("cpu"), SETUP)
    told = plan.graph.model_copy(update={"style": ("35mm film",), "camera": ("drone shot",)})
    scene = backbone.scene(plan.prompt, plan.model_copy(update={"graph": told}))
    assert scene.descriptions == ("a red car, 35mm film", "a green tree, 35mm film")
    assert scene.surroundings == "a street, 35mm film, drone shot"
    nowhere = plan.model_copy(update={"graph": told, "background": NO_PLACE})
    assert backbone.scene(plan.prompt, nowhere).surroundings == "35mm film, drone shot"
    assert backbone.scene(plan.prompt, plan.model_copy(update={"background": NO_PLACE})).surroundings == ""


def test_the_report_tells_what_was_done(backbone: AnyNetwork, settings: RenderSettings, plan: Plan) -> None:
    asked = settings.model_copy(update={"guidance": GuidanceParameters(strength=2.0, until=0.7, regional_until=0.9)})
    conditioning = backbone.prepare(Scene(caption="a car and a tree"), asked)
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
