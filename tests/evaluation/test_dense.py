"""The reference draws what the fast kernels draw; and it lets logits be changed."""

from typing import Any

import torch
from torch import Tensor

from evaluation.ablation import backbone_of, plan_with_parser
from evaluation.dense import DenseGuidance
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.request import JobRequest
from generator_service.guidance.video import VideoGuidance
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import first_state, ignore

CAPTION = "a red car is driving to the left while a green tree is standing still on the road"


def latents(kind: type[VideoGuidance], change: Any = None, **parameters: Any) -> Tensor:
    """Of three steps: two with motion and regions, one with regions alone."""
    backbone = backbone_of("emoji-world")
    plan = plan_with_parser(CAPTION)
    wish = GuidanceParameters(since=1.0, until=0.7, regional_until=0.4, **parameters)
    settings = JobRequest(plan=plan, seed=0, steps=3, guidance=wish).settings()
    scene = backbone.scene(plan.prompt, plan)
    assert scene.plan is not None
    guidance = kind.of(
        backbone,
        backbone.grid(settings),
        scene.plan,
        scene.descriptions,
        scene.surroundings,
        settings.guidance,
        backbone.solver(settings.steps).noise_levels,
    )
    if change is not None:
        assert isinstance(guidance, DenseGuidance)
        guidance.change = change
    conditioning = backbone.prepare(scene, settings)
    return denoise(backbone, conditioning, first_state(backbone, settings), guidance, ignore)


def test_the_reference_draws_what_the_kernels_draw() -> None:
    for form in ("multiplicative", "additive"):
        fast, slow = (latents(kind, form=form, strength=0.3) for kind in (VideoGuidance, DenseGuidance))
        torch.testing.assert_close(fast, slow, rtol=0, atol=2e-3)
    assert (latents(VideoGuidance, strength=0.0) - fast).abs().max() > 0.1


def test_a_change_of_the_logits_is_another_guidance() -> None:
    plain = latents(VideoGuidance, strength=0.0)
    nothing = latents(DenseGuidance, lambda logits, field, layout: logits, strength=0.3)
    torch.testing.assert_close(nothing, plain, rtol=0, atol=2e-3)
