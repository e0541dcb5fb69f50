"""Guidance of one video on a `UNet`: before a prediction the latents go down a loss of what it would attend to.  Eq. 2.

    z_t ← z_t - ∇L        L: of the temporal attention (`temporal.py`), and of attention refocusing (`refocus.py`)

Each of the two has its own steps, those that begin above a noise level.  It costs a conditional prediction as far as
the last layer that is watched, and its backward pass.  The field is made of features of that very prediction; at the
first step of all, which sees noise, of the boxes alone.  Nothing is kept between steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.report import GuidanceReport, PhaseReport, RegionReport
from generator_service.guidance.branches import guidance_field
from generator_service.guidance.field import GuidanceField
from generator_service.guidance.grid import Grid
from generator_service.guidance.layout import TokenLayout, layout_on
from generator_service.guidance.protocols import Enough, Place, Predict, UNet
from generator_service.guidance.refocus import Words, cross_loss, self_loss
from generator_service.guidance.report import PhaseFacts, continue_phases, phase_reports
from generator_service.guidance.temporal import temporal_loss
from generator_service.guidance.video import steps_above
from shared.plan import Plan

GRADIENT_SCALE = 2.0**10
"""The loss is multiplied by it and the gradient divided: float16 holds nothing below 6e-8."""


@dataclass(frozen=True)
class Layers:
    """Which layers are watched."""

    guided: tuple[int, ...]
    features: int
    """The layer behind which they are read."""
    layouts: Mapping[int, TokenLayout]
    """Of each of these."""


class UNetGuidance:
    """A `Guidance` of one video by its layout."""

    needs_last_step = False

    def __init__(
        self,
        network: UNet,
        layers: Layers,
        parameters: GuidanceParameters,
        words: Words,
        *,
        motion_steps: range,
        refocus_steps: range,
    ) -> None:
        self.network = network
        self.layers = layers
        self.parameters = parameters
        self.words = words
        self.motion_steps = motion_steps
        self.refocus_steps = refocus_steps
        self.facts: list[tuple[PhaseFacts, ...]] = []
        """Of each step that motion guided."""
        self.phases_before: tuple[PhaseReport, ...] = ()
        """Of a video that is resumed."""

    @classmethod
    def of(
        cls,
        network: UNet,
        grids: Sequence[Grid],
        plan: Plan,
        words: Words,
        parameters: GuidanceParameters,
        noise_levels: Sequence[float],
    ) -> Self:
        """What the parameters ask for.  grids: of each layer; noise_levels: of each step, descending; see `Solver`."""
        guided = tuple(range(len(grids))) if parameters.layers is None else parameters.layers
        features = len(grids) // 2 if parameters.feature_layer is None else parameters.feature_layer
        of_grids = {grid: layout_on(grid, plan) for grid in {grids[layer] for layer in (*guided, features)}}
        layouts = {layer: of_grids[grids[layer]] for layer in (*guided, features)}
        before, until = (steps_above(level, noise_levels) for level in (parameters.since, parameters.until))
        refocus = steps_above(parameters.refocus_until, noise_levels)
        return cls(
            network,
            Layers(guided, features, layouts),
            parameters,
            words,
            motion_steps=until[len(before) :] if guided and parameters.branches and parameters.strength else range(0),
            refocus_steps=refocus if guided and parameters.refocus else range(0),
        )

    @property
    def guided_until(self) -> int:
        return max(self.motion_steps.stop, self.refocus_steps.stop)

    def resume(self, report: GuidanceReport | None) -> None:
        if report is not None and not self.facts:
            self.phases_before = report.phases

    def before_prediction(self, step: int, latents: Tensor, predict: Predict) -> Tensor:
        places = self._places(step)
        if not places:
            return latents
        moved, seen = latents.detach(), dict[Place, Tensor]()
        gradients: list[Tensor] = []

        @contextmanager
        def watched() -> Iterator[None]:
            with self.network.watch(places, seen):
                try:
                    yield
                except Enough:
                    gradients.extend(torch.autograd.grad(GRADIENT_SCALE * self._loss(step, seen), moved))
                    raise

        with suppress(Enough), torch.enable_grad():
            predict(moved.requires_grad_(), watched())
        return latents - gradients[0] / GRADIENT_SCALE

    def around_prediction(self, step: int) -> AbstractContextManager[None]:
        return nullcontext()

    def report(self) -> GuidanceReport:
        layout = self.layers.layouts[(*self.layers.guided, self.layers.features)[0]]
        return GuidanceReport(
            steps=self.guided_until,
            video_tokens=layout.grid.tokens,
            regions=tuple(
                RegionReport(instance=name, text=text)
                for name, text in zip(layout.names, self.words.texts, strict=True)
                if text and len(self.refocus_steps) > 0
            ),
            phases=continue_phases(self.phases_before, phase_reports(self.facts)),
        )

    def _places(self, step: int) -> set[Place]:
        places = set()
        if step in self.motion_steps:
            places |= {Place(layer, "temporal") for layer in self.layers.guided}
            if step > 0:
                places.add(Place(self.layers.features, "features"))
        if step in self.refocus_steps:
            places |= {Place(layer, kind) for layer in self.layers.guided for kind in ("spatial", "text")}
        return places

    def _loss(self, step: int, seen: Mapping[Place, Tensor]) -> Tensor:
        """Of each kind the mean over the layers."""
        losses = []
        if step in self.motion_steps:
            fields = self._fields(seen.get(Place(self.layers.features, "features")))
            losses += [
                temporal_loss(seen[Place(layer, "temporal")], fields[self._grid(layer)], self.parameters.strength)
                / len(self.layers.guided)
                for layer in self.layers.guided
            ]
        if step in self.refocus_steps:
            losses += [self.parameters.refocus * its for its in self._refocus(seen)]
        return torch.stack(losses).sum()

    def _fields(self, features: Tensor | None) -> dict[Grid, GuidanceField]:
        fields: dict[Grid, GuidanceField] = {}
        facts: list[tuple[PhaseFacts, ...]] = []
        for layer in self.layers.guided:
            layout = self.layers.layouts[layer]
            if layout.grid not in fields:
                its = None if features is None else _resample(features, self._grid(self.layers.features), layout.grid)
                fields[layout.grid], its_facts = guidance_field(layout, its, self.parameters)
                facts.append(its_facts)
        self.facts.append(facts[0])
        return fields

    def _refocus(self, seen: Mapping[Place, Tensor]) -> list[Tensor]:
        """Layers of one resolution read the text together."""
        losses = []
        of_grids: dict[Grid, list[int]] = {}
        for layer in self.layers.guided:
            of_grids.setdefault(self._grid(layer), []).append(layer)
        for layers in of_grids.values():
            inside = self.layers.layouts[layers[0]].inside.flatten(2).to(self.network.device)
            text = torch.stack([seen[Place(layer, "text")].mean(dim=1) for layer in layers]).mean(dim=0)
            losses.append(cross_loss(text, inside, self.words) / len(of_grids))
            losses += [
                self_loss(seen[Place(layer, "spatial")].mean(dim=1), inside) / len(self.layers.guided)
                for layer in layers
            ]
        return losses

    def _grid(self, layer: int) -> Grid:
        return self.layers.layouts[layer].grid


def _resample(features: Tensor, grid: Grid, to: Grid) -> Tensor:
    """[N, D] -> [N', D], of as many frames."""
    if grid == to:
        return features
    pictures = features.view(grid.frames, grid.rows, grid.columns, -1).permute(0, 3, 1, 2)
    return interpolate(pictures, size=(to.rows, to.columns), mode="bilinear").permute(0, 2, 3, 1).flatten(0, 2)
