"""What is Wan's own: two attentions in a block, two experts, a timestep for each token; against the dense formula."""

import math
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler
from PIL.Image import Image, Resampling
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from generator_service.backbones.base import Scene, Setup
from generator_service.backbones.wan import TEXT_TOKENS, Wan, WanSolver
from generator_service.backbones.wan_image import WanImageToVideo
from generator_service.contract.backbones import WAN_2_1_I2V_14B, WAN_2_1_T2V_1_3B
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.request import RenderSettings
from generator_service.guidance.branches import guidance_field
from generator_service.guidance.layout import TokenLayout, layout_on
from generator_service.guidance.protocols import LayerAttention
from generator_service.guidance.video import MotionGuidance, RegionalPrompting, VideoGuidance
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import first_state
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track

BETA, RHO = 2.0, 0.3
SETUP = Setup(weights_revision="none", device="cpu", dtype="float32", vae_tiling=False)


@pytest.fixture
def settings() -> RenderSettings:
    """A grid of 3 × 4 × 6 tokens."""
    return RenderSettings(
        backbone="wan2.1-t2v-1.3b", seed=7, steps=4, frames=9, width=96, height=64, fps=8, guidance_scale=1.0
    )


@pytest.fixture
def build(tiny_wan: Callable[..., Any]) -> Callable[..., Wan]:
    return lambda form="one": Wan(WAN_2_1_T2V_1_3B, tiny_wan(form), torch.device("cpu"), SETUP)


@pytest.fixture
def build_with_image(tiny_wan: Callable[..., Any]) -> Callable[..., Wan]:
    return lambda form="one": WanImageToVideo(WAN_2_1_I2V_14B, tiny_wan(form, image=True), torch.device("cpu"), SETUP)


@pytest.fixture
def three(plan: Plan) -> Plan:
    """The car, rigid, the tree, motionless, and a bird, non-rigid."""
    bird = Instance(id="bird", name="bird", description="a bird", label=MotionLabel.NON_RIGID)
    boxes = tuple(Box(0.05, 0.0, 0.3 + 0.02 * frame, 0.4) for frame in range(9))
    track = Track(instance="bird", phases=(Phase(label=bird.label, start=0, end=8),), boxes=boxes)
    return plan.model_copy(
        update={
            "graph": MotionGraph(instances=(*plan.graph.instances, bird)),
            "tracks": (*plan.tracks, track),
            "depth_order": ("car", "tree", "bird"),
        }
    )


def predicted(
    backbone: Wan, settings: RenderSettings, step: int, around: Any = None, image: Image | None = None
) -> Tensor:
    scene = Scene(caption="a car and a tree", image=image)
    state, timestep = first_state(backbone, settings), backbone.solver(settings.steps).timesteps[step]
    given = () if around is None else (around,)
    with torch.no_grad():
        return backbone.predict(state.latents, timestep, backbone.prepare(scene, settings), *given)


def test_a_borrowed_processor_with_torchs_attention_is_the_stock_one(
    build: Callable[..., Wan], settings: RenderSettings
) -> None:
    backbone = build()
    every = dict.fromkeys(range(2), LayerAttention(scaled_dot_product_attention, scaled_dot_product_attention))
    assert torch.equal(
        predicted(backbone, settings, 0, backbone.borrow_attention(every)), predicted(backbone, settings, 0)
    )


@pytest.mark.parametrize("form", ["multiplicative", "additive"])
@pytest.mark.parametrize("regional", [False, True], ids=["motion", "motion and regions"])
def test_several_boxes_are_guided_as_the_dense_formula_says(
    build: Callable[..., Wan], settings: RenderSettings, three: Plan, form: Any, regional: bool
) -> None:
    backbone = build()
    layout = layout_on(backbone.grid(settings), three)
    parameters = GuidanceParameters(strength=BETA, form=form)
    things = ["a car", "a tree", "a bird"]
    prompting = RegionalPrompting.encode(backbone, layout, things, "a street", base_ratio=RHO, steps=range(1))
    guidance = VideoGuidance(
        backbone, layout, motion=MotionGuidance(parameters, range(1)), regional=prompting if regional else None
    )

    seen = torch.ones(layout.grid.tokens, layout.grid.tokens, dtype=torch.bool)
    if regional:  # things do not see each other
        inside = layout.inside.flatten(1)
        assert (inside.sum(dim=0) <= 1).all()
        for one, other in permutations(inside, 2):
            assert one.any()
            seen[torch.outer(one, other)] = False
    G = dense_field(layout, parameters)

    def video(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        logits = query.double() @ key.double().transpose(2, 3) / math.sqrt(query.shape[3])
        logits = logits * (1 + BETA * G) if form == "multiplicative" else logits + BETA * G
        return (logits.masked_fill(~seen, -math.inf).softmax(dim=-1) @ value.double()).float()

    def text(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Keys: the prompt's, then each thing's, then the street's."""
        assert key.shape[2] == 5 * TEXT_TOKENS
        logits = query.double() @ key.double().transpose(2, 3) / math.sqrt(query.shape[3])
        inside = layout.inside.flatten(1)
        reads = torch.cat([inside, ~inside.any(dim=0)[None]]).T.repeat_interleave(TEXT_TOKENS, dim=1)
        own = (
            logits[..., TEXT_TOKENS:].masked_fill(~reads, -math.inf).softmax(dim=-1)
            @ value[..., TEXT_TOKENS:, :].double()
        )
        base = logits[..., :TEXT_TOKENS].softmax(dim=-1) @ value[..., :TEXT_TOKENS, :].double()
        return (RHO * base + (1 - RHO) * own).float()

    attention = dict.fromkeys(range(2), LayerAttention(video, text if regional else None))
    around = backbone.borrow_attention(attention, prompting.text if regional else None)
    reference = predicted(backbone, settings, 0, around)
    guided = predicted(backbone, settings, 0, guidance.around_prediction(0))
    plain = predicted(backbone, settings, 0)
    assert (guided - reference).abs().max() < 1e-5 * plain.abs().max()
    assert (guided - plain).abs().max() > 1e-3 * plain.abs().max()


def dense_field(layout: TokenLayout, parameters: GuidanceParameters) -> Tensor:
    """G, [N, N], of the first step, literally as `guidance.field` defines it."""
    field, _ = guidance_field(layout, None, parameters)
    N = layout.grid.tokens
    frame = torch.arange(N) // (layout.grid.rows * layout.grid.columns)
    G = torch.zeros(N, N, dtype=torch.float64)
    for q in range(N):
        same = (field.instance == field.instance[q]) & (field.instance != 0)
        G[q, same] = field.weight[q, frame[same]].double()
        if field.anchor[q] >= 0:
            G[q, field.anchor[q]] += field.anchor_weight[q]
    assert set(field.instance.tolist()) == {0, 1, 3}
    assert (field.anchor >= 0).any()
    return G


def test_an_image_is_read_beside_whatever_text_a_borrowed_processor_reads(
    build_with_image: Callable[..., Wan], settings: RenderSettings, photo: Image
) -> None:
    """A text that is the prompt's again, and read in its place, changes nothing."""
    backbone = build_with_image()
    prompt = backbone.prepare(Scene(caption="a car and a tree", image=photo), settings).text

    def read_the_second(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        assert key.shape[2] == 2 * TEXT_TOKENS
        return scaled_dot_product_attention(query, key[:, :, TEXT_TOKENS:], value[:, :, TEXT_TOKENS:])

    every = dict.fromkeys(range(2), LayerAttention(scaled_dot_product_attention, read_the_second))
    around = backbone.borrow_attention(every, prompt)
    plain = predicted(backbone, settings, 0, image=photo)
    assert (predicted(backbone, settings, 0, around, photo) - plain).abs().max() < 1e-5 * plain.abs().max()
    turned = photo.rotate(180)
    around = backbone.borrow_attention(every, prompt)
    assert (predicted(backbone, settings, 0, around, turned) - plain).abs().max() > 1e-3 * plain.abs().max()


def test_a_text_is_padded_with_zeros_which_are_attended_to(build: Callable[..., Wan], settings: RenderSettings) -> None:
    backbone = build()
    text = backbone.prepare(Scene(caption="ab"), settings).text
    assert text.shape == (1, TEXT_TOKENS, 32)
    assert (text[0] != 0).any(dim=1).tolist() == [True] * 4 + [False] * 508  # a space, two letters, the end
    lengths = []

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        lengths.append(key.shape[2])
        return scaled_dot_product_attention(query, key, value)

    predicted(backbone, settings, 0, backbone.borrow_attention({0: LayerAttention(None, attend)}))
    assert lengths == [TEXT_TOKENS]


def test_the_noise_levels_by_hand() -> None:
    """σ = 3 u / (1 + 2 u) for u = 1, 3/4, 1/2, 1/4."""
    checkpoint = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    solver = WanSolver(checkpoint, 4, torch.device("cpu"))
    assert solver.noise_levels == pytest.approx([1, 0.9, 0.75, 0.5], abs=1e-3)
    assert solver.timesteps.tolist() == [999, 900, 750, 500]


def test_the_second_expert_takes_over_below_the_boundary(build: Callable[..., Wan], settings: RenderSettings) -> None:
    """0.875 of 1000 timesteps; the steps' are 999, 900, 750 and 500."""
    backbone, called = build("two experts"), []
    hooks = [
        expert.register_forward_hook(lambda _module, _args, _output, number=number: called.append(number))
        for number, expert in enumerate(backbone.experts)
    ]
    for step in range(4):
        predicted(backbone, settings, step)
    for hook in hooks:
        hook.remove()
    assert called == [0, 0, 1, 1]


@pytest.mark.parametrize(("form", "shape"), [("one", (1,)), ("per token", (1, 72))])
def test_each_token_has_a_timestep_where_the_network_asks_for_it(
    build: Callable[..., Wan], settings: RenderSettings, form: str, shape: tuple[int, ...]
) -> None:
    backbone, given = build(form), []
    hook = backbone.transformer.register_forward_pre_hook(
        lambda _module, _args, kwargs: given.append(kwargs["timestep"]), with_kwargs=True
    )
    predicted(backbone, settings, 1)
    hook.remove()
    (timestep,) = given
    assert timestep.shape == shape
    assert (timestep == 900).all()


def test_the_first_latent_frame_is_the_images_whatever_else_happens(
    build_with_image: Callable[..., Wan], settings: RenderSettings, plan: Plan, photo: Image
) -> None:
    """24 of 72 tokens: they are told the timestep 0, and neither a step nor a gradient moves them."""
    backbone, seen = build_with_image("per token"), []
    asked = settings.model_copy(update={"guidance": GuidanceParameters(gradient_step=0.1)})
    scene = Scene(caption="a car", image=photo, plan=plan, descriptions=("a car", "a tree"))
    conditioning, states = backbone.prepare(scene, asked), [first_state(backbone, asked)]
    hook = backbone.transformer.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append((kwargs["hidden_states"][:, :, :1].detach(), kwargs["timestep"])),
        with_kwargs=True,
    )
    denoise(backbone, conditioning, states[0], backbone.guidance(scene, asked), states.append)
    hook.remove()
    assert conditioning.first is not None
    for first, timestep in seen:
        assert torch.equal(first, conditioning.first)
        assert (timestep[0, :24] == 0).all()
        assert (timestep[0, 24:] > 0).all()
    assert all(torch.equal(state.latents[:, :, :1], conditioning.first) for state in states[1:])
    encoded = backbone.pipeline.vae.encode(stretched(photo, asked)).latent_dist.mode()
    mean, std = (
        torch.tensor(backbone.pipeline.vae.config[name]).view(1, -1, 1, 1, 1)
        for name in ("latents_mean", "latents_std")
    )
    assert (conditioning.first - (encoded - mean) / std).abs().max() < 1e-5


def stretched(photo: Image, settings: RenderSettings) -> Tensor:
    """[1, 3, 1, height, width], -1 to 1."""
    picture = np.asarray(photo.resize((settings.width, settings.height), Resampling.LANCZOS))
    return torch.from_numpy(picture / 127.5 - 1).float().permute(2, 0, 1)[None, :, None]
