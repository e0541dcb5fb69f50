"""Guidance of one video on any `Network`: motion guidance (Eq. 4) and regional prompting, each in its own steps.

Its own steps are those that begin above a noise level: so a network that is sampled in four steps is guided while as
much of the video is decided as in fifty.  Outside of them, and with a strength of 0, the network is the stock one,
attention processors and all.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor

from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.report import GuidanceReport, PhaseReport, RegionReport
from generator_service.guidance.attention import group_rows, guided_attention
from generator_service.guidance.branches import guidance_field
from generator_service.guidance.field import GuidanceField
from generator_service.guidance.gradient import descend
from generator_service.guidance.grid import Grid
from generator_service.guidance.layout import TokenLayout, layout_on
from generator_service.guidance.protocols import Attend, LayerAttention, Network, Predict
from generator_service.guidance.regional import Regions, read_by_regions, regional_attention
from generator_service.guidance.report import PhaseFacts, phase_reports
from shared.plan import Plan


@dataclass(frozen=True)
class MotionGuidance:
    """Eq. 4, and Eqs. 2 and 3 where they are asked for."""

    parameters: GuidanceParameters
    steps: range
    """Which denoising steps, from 0."""

    @property
    def is_on(self) -> bool:
        asked = self.parameters.strength != 0 or self.parameters.gradient_step != 0
        return asked and bool(self.parameters.branches) and len(self.steps) > 0


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
        self.field: GuidanceField | None = None
        """Of the present step, once it is made."""
        self.facts: list[tuple[PhaseFacts, ...]] = []
        """Of each step that motion guided."""
        self.phases_before: tuple[PhaseReport, ...] = ()
        """Of a video that is resumed, whose steps that motion guides are all done."""

    @classmethod
    def of(
        cls,
        network: Network,
        grid: Grid,
        plan: Plan,
        descriptions: Sequence[str],
        surroundings: str,
        parameters: GuidanceParameters,
        noise_levels: Sequence[float],
    ) -> Self:
        """What the parameters ask for.  noise_levels: at the start of each step, descending; see `Solver`."""
        layout = layout_on(grid, plan)
        before, steps = (steps_above(level, noise_levels) for level in (parameters.since, parameters.until))
        motion = MotionGuidance(parameters, steps[len(before) :])
        regional = None
        if parameters.regional and (regional_steps := steps_above(parameters.regional_until, noise_levels)):
            regional = RegionalPrompting.encode(
                network, layout, descriptions, surroundings, base_ratio=parameters.base_ratio, steps=regional_steps
            )
        return cls(network, layout, motion=motion, regional=regional)

    @property
    def guided_until(self) -> int:
        return max((part.steps.stop for part in (self.motion, self.regional) if part is not None), default=0)

    @property
    def needs_last_step(self) -> bool:
        return self.features is not None

    def resume(self, report: GuidanceReport | None) -> None:
        if report is not None and not self.facts:
            self.phases_before = report.phases

    def before_prediction(self, step: int, latents: Tensor, predict: Predict) -> Tensor:
        if self.motion is None or self.motion.parameters.gradient_step == 0:
            return latents
        field, size = self._field(step), self.motion.parameters.gradient_step
        return descend(self.network, self._guided_layers, field, latents, predict, size)

    @contextmanager
    def around_prediction(self, step: int) -> Iterator[None]:
        regional = self.regional if self.regional is not None and step in self.regional.steps else None
        features: Sequence[Tensor] = ()
        with ExitStack() as stack:
            layers = self._layers(self._field(step), regional)
            stack.enter_context(self.network.borrow_attention(layers, None if regional is None else regional.text))
            if self.motion is not None and step + 1 in self.motion.steps:
                features = stack.enter_context(self.network.capture_features(self._feature_layer(self.motion)))
            yield
        self.features, self.field = features[-1] if features else None, None

    def report(self) -> GuidanceReport:
        captions = self.regional.captions if self.regional is not None else ()
        return GuidanceReport(
            steps=self.guided_until,
            video_tokens=self.layout.grid.tokens,
            regions=tuple(RegionReport(instance=instance, text=text) for instance, text in captions),
            phases=self.phases_before or phase_reports(self.facts),
        )

    def _field(self, step: int) -> GuidanceField:
        if self.motion is None or step not in self.motion.steps:
            return GuidanceField.unguided(self.layout.grid)
        if self.field is None:
            self.field, facts = guidance_field(self.layout, self.features, self.motion.parameters)
            self.facts.append(facts)
        return self.field

    @property
    def _guided_layers(self) -> Sequence[int]:
        chosen = self.motion.parameters.layers if self.motion is not None else None
        return range(self.network.layers) if chosen is None else chosen

    def _layers(self, field: GuidanceField, regional: RegionalPrompting | None) -> dict[int, LayerAttention]:
        """Of the layers that motion guides; with descriptions, of all."""
        layers, guided = range(self.network.layers), self._guided_layers
        here = self._video(field, regional)
        elsewhere = here if guided == layers else self._video(GuidanceField.unguided(field.grid), regional)
        text = None
        if regional is not None and not self.network.joint:
            text = partial(read_by_regions, regions=regional.regions, base_ratio=regional.base_ratio)
        attention = {layer: LayerAttention(here if layer in guided else elsewhere, text) for layer in layers}
        return {layer: its for layer, its in attention.items() if its != LayerAttention(None)}

    def _video(self, field: GuidanceField, regional: RegionalPrompting | None) -> Attend | None:
        """None for the stock attention."""
        parameters = self.motion.parameters if self.motion is not None else GuidanceParameters()
        strength, form = parameters.strength, parameters.form
        if regional is not None:
            groups = regional.regions.group_rows(field, strength, form)
            if self.network.joint:
                regions, base_ratio = regional.regions, regional.base_ratio
                return partial(regional_attention, regions=regions, groups=groups, base_ratio=base_ratio)
        else:
            text, device = self.network.text_tokens if self.network.joint else 0, self.network.device
            groups = group_rows(field, strength, text=text, form=form, device=device)
        return None if groups is None else partial(guided_attention, groups=groups)

    def _feature_layer(self, motion: MotionGuidance) -> int:
        chosen = motion.parameters.feature_layer
        return self.network.layers // 2 if chosen is None else chosen


def steps_above(level: float, noise_levels: Sequence[float]) -> range:
    """The steps that begin above it, the first ones."""
    return range(sum(its > level for its in noise_levels))
