"""Guidance of one video on any `Network`: motion guidance (Eq. 4) and regional prompting, each in its own steps.

Outside these steps, and with a strength of 0, the network is the stock one, attention processors and all.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.report import GuidanceReport, PhaseReport, RegionReport
from generator_service.guidance.attention import group_rows, guided_attention
from generator_service.guidance.branches import guidance_field
from generator_service.guidance.field import GuidanceField
from generator_service.guidance.layout import TokenLayout
from generator_service.guidance.protocols import Attend, Network
from generator_service.guidance.regional import Regions, regional_attention
from generator_service.guidance.report import PhaseFacts, phase_reports


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
    """R&P, in all layers; see `regional.py`."""

    captions: tuple[tuple[str | None, str], ...]
    """Of each region its instance, None for the surroundings, and its description."""
    text: Tensor
    """[1, R · tokens of a text, channel]: the descriptions, each encoded on its own."""
    regions: Regions
    base_ratio: float
    steps: range

    @classmethod
    @torch.no_grad()
    def encode(
        cls,
        network: Network,
        layout: TokenLayout,
        descriptions: Sequence[str],
        surroundings: str,
        *,
        base_ratio: float,
        steps: range,
    ) -> "RegionalPrompting":
        """descriptions: of each instance, in words that the network knows."""
        texts = [*descriptions, surroundings]
        regions = Regions.of(layout.inside.flatten(1), layout.wholes, network.text_tokens, network.device)
        captions = tuple(zip((*layout.names, None), texts, strict=True))
        return cls(captions, network.encode(texts).flatten(0, 1)[None], regions, base_ratio, steps)


class VideoGuidance:
    """A `Guidance` of one video by its layout."""

    def __init__(
        self,
        network: Network,
        layout: TokenLayout,
        *,
        motion: MotionGuidance | None = None,
        regional: RegionalPrompting | None = None,
    ) -> None:
        self.network = network
        self.layout = layout
        self.motion = motion if motion is not None and motion.is_on else None
        self.regional = regional
        self.features: Tensor | None = None
        """[N, D]: of the step before, where the next one is guided by them."""
        self.facts: list[tuple[PhaseFacts, ...]] = []
        """Of each step that motion guided."""
        self.phases_before: tuple[PhaseReport, ...] = ()
        """Of a video that is resumed, whose steps that motion guides are all done."""

    @classmethod
    def of(
        cls,
        network: Network,
        layout: TokenLayout,
        descriptions: Sequence[str],
        surroundings: str,
        parameters: GuidanceParameters,
        steps: int,
    ) -> "VideoGuidance":
        """What the parameters ask for, in a video of so many denoising steps."""
        motion = MotionGuidance(parameters, range(round(parameters.steps * steps)))
        regional = None
        if parameters.regional and (regional_steps := range(round(parameters.regional_steps * steps))):
            regional = RegionalPrompting.encode(
                network, layout, descriptions, surroundings, base_ratio=parameters.base_ratio, steps=regional_steps
            )
        return cls(network, layout, motion=motion, regional=regional)

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
            attends = self._attends(self._field(step), regional)
            stack.enter_context(self.network.borrow_attention(attends, None if regional is None else regional.text))
            if self.motion is not None and step in self.motion.steps and step + 1 in self.motion.steps:
                features = stack.enter_context(self.network.capture_features(self._feature_layer(self.motion)))
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

    def _attends(self, field: GuidanceField, regional: RegionalPrompting | None) -> dict[int, Attend]:
        """Of the layers that motion guides; with descriptions in the sequence, of all."""
        layers = range(self.network.layers)
        chosen = self.motion.parameters.layers if self.motion is not None else None
        guided = layers if chosen is None else chosen
        here = self._attend(field, regional)
        elsewhere = here if chosen is None else self._attend(GuidanceField.unguided(field.grid), regional)
        attends = {layer: here if layer in guided else elsewhere for layer in layers}
        return {layer: attend for layer, attend in attends.items() if attend is not None}

    def _attend(self, field: GuidanceField, regional: RegionalPrompting | None) -> Attend | None:
        """None for the stock attention."""
        parameters = self.motion.parameters if self.motion is not None else GuidanceParameters()
        strength, form = parameters.strength, parameters.form
        if regional is not None:
            groups = regional.regions.group_rows(field, strength, form)
            return partial(regional_attention, regions=regional.regions, groups=groups, base_ratio=regional.base_ratio)
        text, device = self.network.text_tokens, self.network.device
        groups = group_rows(field, strength, text=text, form=form, device=device)
        return None if groups is None else partial(guided_attention, groups=groups)

    def _feature_layer(self, motion: MotionGuidance) -> int:
        chosen = motion.parameters.feature_layer
        return self.network.layers // 2 if chosen is None else chosen
