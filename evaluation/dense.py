"""A slow reference of guided sampling, with all logits of every row: what the fast kernels are held against, and where
another reading of an equation is tried before it is worth one.  Joint networks, with regional prompting, one video.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from evaluation.ablation import backbone_of, plan_with_parser, render
from evaluation.prompts import Half, held_out_captions
from generator_service.backbones.base import Frames
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.request import JobRequest
from generator_service.guidance.field import GuidanceField
from generator_service.guidance.layout import TokenLayout
from generator_service.guidance.protocols import Attend
from generator_service.guidance.regional import Regions
from generator_service.guidance.video import RegionalPrompting, VideoGuidance
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import first_state, ignore
from shared.plan import Plan

Change = Callable[[Tensor, GuidanceField, TokenLayout], Tensor]
"""Logits from video to video, [head, N, N] -> the guided ones."""


class DenseGuidance(VideoGuidance):
    """change: what a field does to the logits; Eq. 4 unless it is set."""

    change: Change | None = None

    def _video(self, field: GuidanceField, regional: RegionalPrompting | None) -> Attend:
        return partial(self._attend, field, regional)

    def _attend(
        self, field: GuidanceField, regional: RegionalPrompting | None, query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor:
        logits = (query @ key.transpose(2, 3) / math.sqrt(query.shape[3]))[0]
        video = slice(logits.shape[1] - field.grid.tokens, None)
        logits[:, video, video] = (self.change or self._eq4)(logits[:, video, video], field, self.layout)
        if regional is None:
            return (logits.softmax(2) @ value[0])[None]
        base, own = (
            logits.masked_fill(~seen, -torch.inf).softmax(2) @ value[0] for seen in who_sees_whom(regional.regions)
        )
        return (regional.base_ratio * base + (1 - regional.base_ratio) * own)[None]

    def _eq4(self, logits: Tensor, field: GuidanceField, layout: TokenLayout) -> Tensor:
        assert self.motion is not None  # noqa: S101  (its field is G)
        strength, form = self.motion.parameters.strength, self.motion.parameters.form
        if form == "share":
            raise NotImplementedError("a share is of what each row sees: of no logits alone")
        change = strength * field.dense()
        return logits * (1 + change) if form == "multiplicative" else logits + change


def who_sees_whom(regions: Regions) -> tuple[Tensor, Tensor]:
    """In `base` and in `regional` of `guidance.regional`, row by row: [texts + N, texts + N] each, bool."""
    text, texts = regions.text, regions.texts
    tokens = sum(len(group.rows) for group in regions.groups)
    base = torch.zeros(texts + tokens, texts + tokens, dtype=torch.bool)
    base[:text, :text] = base[texts:, :text] = base[:text, texts:] = base[texts:, texts:] = True
    for index, region in enumerate(regions.tokens):
        own = torch.arange(text * (1 + index), text * (2 + index))
        base[own[:, None], torch.cat([own, texts + region])] = True
    regional = base.clone()
    regional[texts:, :text] = False
    for rows, descriptions, masked in regions.groups:
        regional[texts + rows[:, None], descriptions] = True
        base[texts + rows[:, None], texts + masked] = regional[texts + rows[:, None], texts + masked] = False
    return base, regional


def draw(
    backbone: CogVideoX, plan: Plan, parameters: GuidanceParameters, seed: int, change: Change | None = None
) -> Frames:
    """As `ablation.rendered`."""
    settings = JobRequest(plan=plan, seed=seed, backbone=backbone.spec.name, guidance=parameters).settings()
    scene = backbone.scene(plan.prompt, plan)
    levels = backbone.solver(settings.steps).noise_levels
    guidance = DenseGuidance.of(
        backbone,
        backbone.grid(settings),
        scene.plan or plan,
        scene.descriptions,
        scene.surroundings,
        settings.guidance,
        levels,
    )
    guidance.change = change
    conditioning = backbone.prepare(scene, settings)
    latents = denoise(backbone, conditioning, first_state(backbone, settings), guidance, ignore)
    return backbone.decode(latents, settings)


def compare(backbone_name: str, half: Half, prompts: int, parameters: GuidanceParameters) -> str:
    """How far the fast kernels' videos are from the reference's, in grey levels of 255."""
    backbone = backbone_of(backbone_name)
    lines = ["| caption | largest difference | mean |", "| --- | --- | --- |"]
    for caption in held_out_captions(half, prompts):
        plan = plan_with_parser(caption)
        slow, fast = (its(backbone, plan, parameters, 0).astype(int) for its in (draw, render))
        difference = np.abs(slow - fast)
        lines.append(f"| {caption} | {difference.max()} | {difference.mean():.4f} |")
    return "\n".join(lines)
