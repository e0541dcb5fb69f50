"""Gradient guidance on a tiny U-Net: nothing of it is nothing at all, and the gradient is the loss's."""

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor

from generator_service.backbones.base import Scene, Setup
from generator_service.backbones.processors import borrow_processors
from generator_service.backbones.videocrafter2 import VideoCrafter2
from generator_service.backbones.videocrafter2_attention import WatchedProcessor, layers_of, watch
from generator_service.contract.backbones import VIDEOCRAFTER2
from generator_service.contract.request import JobRequest, RenderSettings
from generator_service.guidance.protocols import UNGUIDED, Enough, Place
from generator_service.guidance.unet_video import UNetGuidance
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import StepState, first_state, ignore
from shared.errors import InvalidRequest
from shared.plan import Plan

SETUP = Setup(weights_revision="none", device="cpu", dtype="float32", vae_tiling=False)
CAPTION = "a red car near a tree"
ALONE = {"refocus": 0.0}


@pytest.fixture
def backbone(tiny_videocrafter: Callable[[], Any]) -> VideoCrafter2:
    return VideoCrafter2(VIDEOCRAFTER2, tiny_videocrafter(), torch.device("cpu"), SETUP)


@pytest.fixture
def settings() -> RenderSettings:
    """Latents of 9 × 8 × 16; the guided layers see 2 × 4 places."""
    return RenderSettings(
        backbone="videocrafter2", seed=7, steps=2, frames=9, width=128, height=64, fps=8, guidance_scale=1.0
    )


def with_guidance(settings: RenderSettings, **changes: Any) -> RenderSettings:
    return settings.model_copy(update={"guidance": VIDEOCRAFTER2.guidance.model_copy(update=changes)})


def guidance_of(backbone: VideoCrafter2, settings: RenderSettings, plan: Plan, **changes: Any) -> UNetGuidance:
    plan = plan.model_copy(update={"prompt": CAPTION})
    guidance = backbone.guidance(backbone.scene(CAPTION, plan), with_guidance(settings, **changes))
    assert isinstance(guidance, UNetGuidance)
    return guidance


def states_of(backbone: VideoCrafter2, settings: RenderSettings, guidance: Any) -> list[StepState]:
    states = [first_state(backbone, settings)]
    denoise(backbone, backbone.prepare(Scene(caption=CAPTION), settings), states[0], guidance, states.append)
    return states


def test_the_layers_of_the_table_are_the_networks(backbone: VideoCrafter2, settings: RenderSettings) -> None:
    layers = layers_of(backbone.unet)
    assert len(layers) == VIDEOCRAFTER2.layers
    assert [layers[index] for index in (0, 5, 6, 7, 15)] == [
        ("down_blocks.0", 0, 0),
        ("down_blocks.2", 1, 2),
        ("mid_block", 0, 3),
        ("up_blocks.1", 0, 2),
        ("up_blocks.3", 2, 0),
    ]
    grids = backbone.grids(settings)
    assert [(grid.frames, grid.rows, grid.columns) for grid in (grids[0], grids[6], grids[9])] == [
        (9, 8, 16),
        (9, 1, 2),
        (9, 2, 4),
    ]


@pytest.mark.parametrize("steps", [50, 20])
def test_half_of_the_steps_are_guided(backbone: VideoCrafter2, steps: int) -> None:
    levels, guidance = backbone.solver(steps).noise_levels, VIDEOCRAFTER2.guidance
    for until in (guidance.until, guidance.refocus_until):
        assert sum(level > until for level in levels) == steps // 2


def test_no_strength_is_the_plain_sampler_bit_for_bit(
    backbone: VideoCrafter2, settings: RenderSettings, plan: Plan
) -> None:
    plain = states_of(backbone, settings, UNGUIDED)[-1].latents
    off = guidance_of(backbone, settings, plan, strength=0.0, refocus_until=0.9999)
    assert torch.equal(states_of(backbone, settings, off)[-1].latents, plain)
    nothing = with_guidance(settings, strength=0.0, refocus=0.0)
    assert backbone.guidance(backbone.scene(CAPTION, plan), nothing) is UNGUIDED
    assert backbone.guidance(backbone.scene(CAPTION, None), with_guidance(settings)) is UNGUIDED
    nowhere = guidance_of(backbone, settings, plan, layers=())
    assert torch.equal(states_of(backbone, settings, nowhere)[-1].latents, plain)
    for changes in ({"refocus": 0.0}, {"strength": 0.0}):
        guided = states_of(backbone, settings, guidance_of(backbone, settings, plan, **changes))[-1].latents
        assert (guided - plain).abs().max() > 1e-4


@pytest.mark.parametrize("branches", [("rcg",), ("gig",), ("rcg", "gig", "sdg")])
def test_each_branch_guides_its_own(
    backbone: VideoCrafter2, settings: RenderSettings, plan: Plan, branches: tuple[str, ...]
) -> None:
    guidance = guidance_of(backbone, settings, plan, branches=branches, layers=(0,), **ALONE)
    states_of(backbone, settings, guidance)
    report = guidance.report()
    assert (report.steps, report.video_tokens, report.regions) == (1, 9 * 8 * 16, ())
    named = {"rcg": ("tree", "rcg", 1), "gig": ("car", "gig", 1)}
    assert {(its.instance, its.branch, its.steps) for its in report.phases} == {
        named[branch] for branch in branches if branch in named
    }


def test_a_resumed_run_is_the_undisturbed_one(backbone: VideoCrafter2, settings: RenderSettings, plan: Plan) -> None:
    guidance = guidance_of(backbone, settings, plan, layers=(6, 9), until=0.2)
    states = states_of(backbone, settings, guidance)
    conditioning = backbone.prepare(Scene(caption=CAPTION), settings)
    for state in states[1:]:
        assert state.is_resumable
        again = guidance_of(backbone, settings, plan, layers=(6, 9), until=0.2)
        assert torch.equal(denoise(backbone, conditioning, state, again, ignore), states[-1].latents)
        assert again.report() == guidance.report()
    assert [(its.instance, its.text) for its in guidance.report().regions] == [("car", "red car"), ("tree", "tree")]


def watched(
    unet: Any, places: set[Place], run: Callable[[], object], then: Callable[[dict[Place, Tensor]], Any]
) -> Any:
    """`then` of what is seen, while it is watched."""
    seen: dict[Place, Tensor] = {}
    with watch(unet, places, seen):
        with pytest.raises(Enough):
            run()
        return then(seen)


@pytest.fixture
def double(backbone: VideoCrafter2) -> Any:
    return deepcopy(backbone.unet).double()


def test_the_gradient_is_that_of_the_loss(
    backbone: VideoCrafter2, settings: RenderSettings, plan: Plan, double: Any
) -> None:
    """In float64, against finite differences along three directions; features and fields as they are."""
    backbone.unet = double
    small = settings.model_copy(update={"width": 64})
    conditioning = backbone.prepare(Scene(caption=CAPTION), small)
    doubles = {"text": conditioning.text.double(), "negative_text": None}
    conditioning = type(conditioning)(**{**vars(conditioning), **doubles})
    timestep = backbone.solver(2).timesteps[0]
    guidance = guidance_of(backbone, small, plan, layers=(4, 7, 9))
    z = torch.randn(1, 4, 9, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def predict(latents: Tensor, around: Any) -> Tensor:
        return backbone.predict(latents, timestep, conditioning, around)

    def loss(latents: Tensor) -> float:
        seen: dict[Place, Tensor] = {}
        with suppress(Enough), torch.no_grad():
            predict(latents, backbone.watch(guidance._places(0), seen))
        return float(guidance._loss(0, seen))

    gradient = z - guidance.before_prediction(0, z, predict)
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        along = torch.randn(z.shape, dtype=torch.float64, generator=generator)
        slope = (loss(z + 1e-5 * along) - loss(z - 1e-5 * along)) / 2e-5
        assert float((gradient * along).sum()) == pytest.approx(slope, rel=1e-5)
    assert loss(z - 5 * gradient) < loss(z)


def test_recomputing_and_stopping_leave_the_gradient_as_it_is(backbone: VideoCrafter2, double: Any) -> None:
    places = {Place(5, "spatial"), Place(7, "temporal"), Place(8, "text")}
    names = {
        Place(5, "spatial"): "down_blocks.2.attentions.1.transformer_blocks.0.attn1.processor",
        Place(7, "temporal"): "up_blocks.1.temp_attentions.0.transformer_blocks.0.attn1.processor",
        Place(8, "text"): "up_blocks.1.attentions.1.transformer_blocks.0.attn2.processor",
    }
    z = torch.randn(1, 4, 3, 8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    text = torch.randn(1, 6, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def run(latents: Tensor) -> Tensor:
        rate = double.project_rate(8)
        output: Tensor = double(latents, 500, encoder_hidden_states=text, timestep_cond=rate).sample
        return output

    def gradient(seen: dict[Place, Tensor], latents: Tensor) -> Tensor:
        total = torch.stack([seen[place].square().mean() for place in sorted(places)]).sum()
        return torch.autograd.grad(total, latents)[0]

    plain = z.clone().requires_grad_()
    kept: dict[Place, Tensor] = {}
    processors = {
        names[place]: WatchedProcessor(lambda its, place=place: kept.update({place: its})) for place in places
    }
    with borrow_processors(double, (AttnProcessor2_0,), processors):
        output = run(plain)
    torch.testing.assert_close(output, run(z), atol=1e-12, rtol=0)
    expected = gradient(kept, plain)

    moved, reached = z.clone().requires_grad_(), []
    hooks = [
        double.get_submodule(name).register_forward_hook(lambda *_: reached.append(True))
        for name in ("up_blocks.1.temp_attentions.1", "up_blocks.1.attentions.2", "up_blocks.3", "conv_out")
    ]
    shapes: dict[Place, tuple[int, ...]] = {}

    def backward(seen: dict[Place, Tensor]) -> Tensor:
        shapes.update({place: tuple(its.shape) for place, its in seen.items()})
        assert not reached
        return gradient(seen, moved)

    assert torch.equal(watched(double, places, lambda: run(moved), backward), expected)
    for hook in hooks:
        hook.remove()
    assert shapes == {
        Place(5, "spatial"): (3, 4, 8, 8),
        Place(7, "temporal"): (8, 4, 3, 3),
        Place(8, "text"): (3, 4, 8, 6),
    }


def test_features_are_what_leaves_the_layer_place_by_place(backbone: VideoCrafter2, settings: RenderSettings) -> None:
    state, left = first_state(backbone, settings), []
    module = backbone.unet.up_blocks[1].temp_attentions[2]
    hook = module.register_forward_hook(lambda _module, _args, output: left.append(output[0]))
    conditioning = backbone.prepare(Scene(caption=CAPTION), settings)
    place = Place(9, "features")
    seen = watched(
        backbone.unet,
        {place},
        lambda: backbone.predict(state.latents, torch.tensor(500), conditioning),
        lambda seen: seen[place],
    )
    hook.remove()
    frame, row, column = 4, 1, 2
    assert seen.shape == (9 * 2 * 4, 64 // 2)
    assert torch.equal(seen[(frame * 2 + row) * 4 + column], left[0][frame, :, row, column])


def test_the_network_leaves_as_it_came_even_when_it_fails(backbone: VideoCrafter2, settings: RenderSettings) -> None:
    unet = backbone.unet

    def condition() -> Any:
        modules = list(unet.modules())
        return (
            dict(unet.attn_processors),
            [vars(module).get("forward") for module in modules],
            [len(module._forward_hooks) for module in modules],
        )

    before = condition()
    places = {Place(9, "temporal"), Place(9, "features")}

    def fail() -> None:
        with watch(unet, places, {}):
            assert all(now != then for now, then in zip(condition(), before, strict=True))
            raise RuntimeError("in the middle of a prediction")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert condition() == before
    watched(
        unet,
        places,
        lambda: backbone.predict(
            first_state(backbone, settings).latents,
            torch.tensor(500),
            backbone.prepare(Scene(caption=CAPTION), settings),
        ),
        lambda seen: None,
    )
    assert condition() == before


@pytest.mark.parametrize(
    ("backbone_name", "guidance", "message"),
    [
        ("videocrafter2", {"regional": True}, "guidance.regional: videocrafter2 has no such guidance"),
        ("videocrafter2", {"gradient_step": 0.01}, "guidance.gradient_step: videocrafter2 has no such guidance"),
        ("videocrafter2", {"layers": [16]}, "guidance.layers: videocrafter2 has layers 0 to 15, not 16"),
        ("emoji-world", {"refocus": 1.0}, "guidance.refocus: emoji-world has no such guidance"),
        ("cogvideox-2b", {"strength": 10.0}, "guidance.strength: at most 5.0 with cogvideox-2b, not 10.0"),
    ],
)
def test_what_a_network_does_not_have_is_refused(backbone_name: str, guidance: Any, message: str) -> None:
    request = JobRequest.model_validate({"prompt": "a car", "backbone": backbone_name, "guidance": guidance})
    with pytest.raises(InvalidRequest, match=message):
        request.settings()


def test_off_and_the_defaults_are_accepted() -> None:
    for guidance in (None, "off", {"branches": ["gig"]}):
        request = JobRequest.model_validate({"prompt": "a car", "backbone": "videocrafter2", "guidance": guidance})
        assert request.settings().guidance.is_off == (guidance == "off")
