"""Guidance asks of a network what stands in `protocols.py`, and nothing else: here is one of twenty lines."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, UniPCMultistepScheduler
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from generator_service.backbones.cogvideox import CogVideoXSolver
from generator_service.backbones.wan import WanSolver
from generator_service.contract.guidance import GuidanceParameters
from generator_service.guidance.field import GuidanceField
from generator_service.guidance.gradient import descend
from generator_service.guidance.grid import Grid
from generator_service.guidance.protocols import LayerAttention
from generator_service.guidance.video import VideoGuidance, steps_above
from shared.plan import Plan

GRID = Grid(frames=3, rows=4, columns=6, compression=4)
STOCK = LayerAttention(scaled_dot_product_attention, scaled_dot_product_attention)


class Toy:
    layers, joint, text_tokens, device = 2, False, 3, torch.device("cpu")
    borrowed: tuple[Mapping[int, LayerAttention], Tensor | None] = ({}, None)
    features: tuple[int, list[Tensor]] = (0, [])

    def encode(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([torch.full((3, 8), len(text) / 10) for text in texts])

    @contextmanager
    def borrow_attention(self, layers: Mapping[int, LayerAttention], texts: Tensor | None = None) -> Iterator[None]:
        self.borrowed = (layers, texts)
        yield
        self.borrowed = ({}, None)

    @contextmanager
    def capture_features(self, layer: int) -> Iterator[list[Tensor]]:
        self.features = (layer, [])
        yield self.features[1]


def predict(toy: Toy, video: Tensor, text: Tensor) -> Tensor:
    """video: [1, 1, N, 8], text: [1, 3, 8]."""
    layers, more = toy.borrowed
    text = (text if more is None else torch.cat([text, more], dim=1))[None]
    for layer in range(toy.layers):
        own, read = layers.get(layer, STOCK)
        video = video + (own or scaled_dot_product_attention)(video, video, video)
        video = video + (read or scaled_dot_product_attention)(video, text, text)
        if layer == toy.features[0]:
            toy.features[1].append(video[0, 0])
    return video


def test_a_network_of_twenty_lines_is_guided(plan: Plan) -> None:
    assert len(inspect.getsource(Toy).splitlines()) <= 20
    toy, video = Toy(), torch.randn(1, 1, GRID.tokens, 8, generator=torch.Generator().manual_seed(0))
    prompt = toy.encode(["a car and a tree"])

    def guided(**parameters: Any) -> tuple[Tensor, Tensor, Any]:
        levels = (1.0, 0.95, 0.5)
        wish = GuidanceParameters(**{"strength": 1.0} | parameters)
        guidance = VideoGuidance.of(toy, GRID, plan, ["a red car", "a tree"], "a street", wish, levels)
        answers, remembered = [], []
        for step in range(len(levels)):
            with guidance.around_prediction(step):
                answers.append(predict(toy, video, prompt))
            remembered.append(guidance.needs_last_step)
        return torch.stack(answers), torch.tensor(remembered), guidance.report()

    plain = predict(toy, video, prompt)
    answers, remembered, report = guided()
    assert [torch.allclose(answer, plain, atol=1e-4) for answer in answers] == [False, False, True]
    assert torch.equal(answers[2], plain)
    assert remembered.tolist() == [True, False, False]
    assert (report.steps, report.video_tokens, len(report.phases), len(report.regions)) == (2, 72, 2, 3)
    for alone in ({"regional": False}, {"strength": 0.0}):
        answers = guided(**alone)[0]
        assert [torch.allclose(answer, plain, atol=1e-4) for answer in answers] == [False, False, True]
    for answer in guided(strength=0.0, regional=False)[0]:
        assert torch.equal(answer, plain)


def test_steps_above_a_noise_level_by_hand() -> None:
    assert steps_above(0.9, [1.0, 0.95, 0.9, 0.5]) == range(2)
    assert steps_above(0.0, [1.0, 0.5]) == range(2)
    assert steps_above(1.0, [1.0, 0.5]) == range(0)


def test_motion_is_guided_between_two_noise_levels_and_by_features_from_the_first_on(plan: Plan) -> None:
    toy, levels = Toy(), (1.0, 0.95, 0.8, 0.7, 0.5)
    wish = GuidanceParameters(since=0.9, until=0.6, regional=False)
    guidance = VideoGuidance.of(toy, GRID, plan, ["a red car", "a tree"], "a street", wish, levels)
    video, prompt = torch.randn(1, 1, GRID.tokens, 8, generator=torch.Generator().manual_seed(0)), toy.encode(["a"])
    remembered, borrowed = [], []
    for step in range(len(levels)):
        with guidance.around_prediction(step):
            borrowed.append(bool(toy.borrowed[0]))
            predict(toy, video, prompt)
        remembered.append(guidance.needs_last_step)
    assert borrowed == [False, False, True, True, False]
    assert remembered == [False, True, True, False, False]
    assert {phase.steps for phase in guidance.report().phases} == {2}


def test_a_gradient_step_goes_down_the_loss_of_the_guided_attention_by_hand() -> None:
    """One layer, two frames of one token with a channel each; the first token, z, is to look at the second, w = 1.

    Its logits are z² and z, so A = σ(z - z²) is what it gives to the second, and L = 1 - A; z > ½ goes down.
    """
    field = GuidanceField.unguided(Grid(frames=2, rows=1, columns=1))
    field.anchor[0], field.anchor_weight[0] = 1, 1.0
    toy, z = Toy(), torch.tensor([[[[0.75], [1.0]]]])
    looked: list[Tensor] = []

    def predict(latents: Tensor, around: AbstractContextManager[None]) -> None:
        with around:
            (attention,) = toy.borrowed[0].values()
            assert attention.video is not None
            attention.video(latents, latents, latents)
            looked.append(latents.detach())

    moved = descend(toy, [1], field, z, predict, 0.01)
    assert torch.equal(looked[0], z)
    (dz, dw) = (moved - z).flatten().tolist()
    assert math.sqrt((dz**2 + dw**2) / 2) == pytest.approx(0.01, rel=1e-4)
    # dA/dz = A (1 - A) (w - 2 z), dA/dw = A (1 - A) z: in the ratio of 1 - 1.5 to 0.75
    assert dz / dw == pytest.approx((1 - 1.5) / 0.75, rel=1e-4)
    assert dw > 0
    assert descend(toy, [1], GuidanceField.unguided(field.grid), z, predict, 0.01) is z
    assert len(looked) == 1
    assert not moved.requires_grad


def test_latents_are_moved_where_motion_is_guided(plan: Plan) -> None:
    toy, prompt = Toy(), torch.zeros(1, 3, 8)
    wish = GuidanceParameters(strength=0.0, gradient_step=0.02, regional=False, until=0.9)
    guidance = VideoGuidance.of(toy, GRID, plan, ["a red car", "a tree"], "a street", wish, (1.0, 0.95, 0.5))
    video = torch.randn(1, 1, GRID.tokens, 8, generator=torch.Generator().manual_seed(0))

    def predict_from(latents: Tensor, around: AbstractContextManager[None]) -> Tensor:
        with around:
            return predict(toy, latents, prompt)

    for step, size in enumerate((0.02, 0.02, 0.0)):
        moved = guidance.before_prediction(step, video, predict_from) - video
        assert float(moved.square().mean().sqrt()) == pytest.approx(size, rel=1e-3)
        with guidance.around_prediction(step):
            predict(toy, video, prompt)
    assert {phase.steps for phase in guidance.report().phases} == {2}  # each step's field is made once


def test_the_default_is_the_papers_ten_of_fifty_steps_and_does_not_vanish_with_few() -> None:
    """The schedules of CogVideoX-2B and of Wan 2.1."""
    cogvideox = CogVideoXDDIMScheduler(
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=3.0,
        timestep_spacing="trailing",
    )
    wan = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    until = GuidanceParameters().until
    for family, checkpoint in ((CogVideoXSolver, cogvideox), (WanSolver, wan)):
        guided = [
            len(steps_above(until, family(checkpoint, steps, torch.device("cpu")).noise_levels))
            for steps in (50, 25, 4, 1)
        ]
        assert guided == [10, 5, 1, 1]


def test_noise_levels_are_those_of_the_latents() -> None:
    """α² = ᾱ, and σ² = 1 - ᾱ: where ᾱ is a half, both are as large."""
    checkpoint = CogVideoXDDIMScheduler(
        trained_betas=[0.2, 0.375, 0.5, 1.0], num_train_timesteps=4, snr_shift_scale=1.0
    )
    solver = CogVideoXSolver(checkpoint, 2, torch.device("cpu"))
    assert solver.timesteps.tolist() == [2, 0]  # ᾱ = 0.8 · 0.625 · 0.5 = 1/4, and 0.8
    assert solver.noise_levels == pytest.approx([3**0.5 / (1 + 3**0.5), 1 / 3])
