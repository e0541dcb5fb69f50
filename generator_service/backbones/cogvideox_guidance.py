"""Guidance of one CogVideoX video: motion guidance and regional prompting, each during its own denoising steps.

Outside these steps, and with a strength of 0, the transformer is the stock one, processors and all.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from generator_service.backbones.cogvideox_attention import (
    Attend,
    ConditionalProcessor,
    appended_text,
    borrowed_attention,
    captured_features,
)
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.report import GuidanceReport, PhaseReport, RegionReport
from generator_service.guidance.attention import guided_attention, plan_attention
from generator_service.guidance.branches import guidance_field
from generator_service.guidance.field import GuidanceField
from generator_service.guidance.layout import TokenLayout
from generator_service.guidance.regional import Regions, regional_attention
from generator_service.guidance.report import PhaseFacts, phase_reports

if TYPE_CHECKING:
    from generator_service.backbones.cogvideox import CogVideoX, CogVideoXConditioning


@dataclass(frozen=True)
class MotionGuidance:
    """Eq. 4."""

    parameters: GuidanceParameters
    steps: range
    """Which denoising steps, from 0."""

    @property
    def is_on(self) -> bool:
        return self.parameters.strength != 0 and bool(self.parameters.branches) and len(self.steps) > 0


@dataclass(frozen=True)
class RegionalPrompting:
    """R&P, in all layers; see `guidance.regional`."""

    captions: tuple[tuple[str | None, str], ...]
    """Of each region its instance, None for what is around them, and its description."""
    text: Tensor
    """[1, R · tokens of a text, channel]: the descriptions, each encoded on its own."""
    regions: Regions
    base_ratio: float
    steps: range

    @classmethod
    @torch.no_grad()
    def encode(
        cls,
        backbone: "CogVideoX",
        layout: TokenLayout,
        captions: Sequence[str],
        background: str,
        *,
        base_ratio: float,
        steps: range,
    ) -> "RegionalPrompting":
        """captions: of each instance, background: of what is around them; in words that the backbone knows."""
        texts = [*captions, background]
        encoded, _ = backbone.pipeline.encode_prompt(
            texts,
            do_classifier_free_guidance=False,
            max_sequence_length=backbone.text_tokens,
            device=backbone.device,
        )
        regions = Regions.of(layout.inside.flatten(1), layout.wholes, backbone.text_tokens, backbone.device)
        captioned = tuple(zip((*layout.names, None), texts, strict=True))
        return cls(captioned, encoded.flatten(0, 1)[None], regions, base_ratio, steps)


class CogVideoXGuidance:
    """For the conditional half of classifier-free guidance; the other half is bit for bit what it is without."""

    def __init__(
        self,
        backbone: "CogVideoX",
        conditioning: "CogVideoXConditioning",
        layout: TokenLayout,
        *,
        motion: MotionGuidance | None = None,
        regional: RegionalPrompting | None = None,
    ) -> None:
        self.transformer = backbone.transformer
        self.device = backbone.device
        self.text = backbone.text_tokens
        self.halves = conditioning.text.shape[0]
        self.layout = layout
        self.motion = motion if motion is not None and motion.is_on else None
        self.regional = regional
        self.features: Tensor | None = None
        """Of the step before, where the next one is guided by them."""
        self.facts: list[tuple[PhaseFacts, ...]] = []
        """Of each step that motion guided."""
        self.phases_before: tuple[PhaseReport, ...] = ()
        """Of a video that is resumed, whose steps that motion guides are all done."""

    @property
    def needs_last_step(self) -> bool:
        return self.features is not None

    def resume(self, report: GuidanceReport | None) -> None:
        self.phases_before = () if report is None else report.phases

    def before_prediction(self, step: int, timestep: Tensor, latents: Tensor) -> Tensor:
        return latents

    @contextmanager
    def around_prediction(self, step: int) -> Iterator[None]:
        regional = self.regional if self.regional is not None and step in self.regional.steps else None
        features: Sequence[Tensor] = ()
        with ExitStack() as stack:
            processors = self._processors(self._field(step), regional)
            if processors:
                stack.enter_context(borrowed_attention(self.transformer, processors))
            if regional is not None:
                stack.enter_context(appended_text(self.transformer, regional.text))
            if self.motion is not None and step in self.motion.steps and step + 1 in self.motion.steps:
                features = stack.enter_context(captured_features(self.transformer, self._feature_layer(self.motion)))
            yield
        self.features = features[-1] if features else None

    def report(self) -> GuidanceReport:
        captions = self.regional.captions if self.regional is not None else ()
        parts = (self.motion, self.regional)
        return GuidanceReport(
            steps=max((len(part.steps) for part in parts if part is not None), default=0),
            video_tokens=self.layout.grid.tokens,
            regions=tuple(RegionReport(instance=instance, text=text) for instance, text in captions),
            phases=self.phases_before or phase_reports(self.facts),
        )

    def _field(self, step: int) -> GuidanceField:
        if self.motion is None or step not in self.motion.steps:
            return GuidanceField.unguided(self.layout.grid)
        field, facts = guidance_field(self.layout, self.features, self.motion.parameters)
        self.facts.append(facts)
        return field

    def _processors(self, field: GuidanceField, regional: RegionalPrompting | None) -> dict[int, ConditionalProcessor]:
        """Of the layers that motion guides; with descriptions in the sequence, of all."""
        layers = range(len(self.transformer.transformer_blocks))
        chosen = self.motion.parameters.layers if self.motion is not None else None
        guided = layers if chosen is None else chosen
        here = self._attend(field, regional)
        elsewhere = here if chosen is None else self._attend(GuidanceField.unguided(field.grid), regional)
        attends = {layer: here if layer in guided else elsewhere for layer in layers}
        return {
            layer: ConditionalProcessor(attend, halves=self.halves, text=self.text)
            for layer, attend in attends.items()
            if attend is not None
        }

    def _attend(self, field: GuidanceField, regional: RegionalPrompting | None) -> Attend | None:
        """None for the stock attention."""
        parameters = self.motion.parameters if self.motion is not None else GuidanceParameters()
        strength, form = parameters.strength, parameters.form
        if regional is not None:
            plan = regional.regions.plan(field, strength, form)
            return partial(regional_attention, regions=regional.regions, plan=plan, base_ratio=regional.base_ratio)
        plan = plan_attention(field, strength, text=self.text, form=form, device=self.device)
        return None if plan is None else partial(guided_attention, plan=plan)

    def _feature_layer(self, motion: MotionGuidance) -> int:
        middle = len(self.transformer.transformer_blocks) // 2
        chosen = motion.parameters.feature_layer
        return middle if chosen is None else chosen
