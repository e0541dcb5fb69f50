"""G = G_m + G_r + G_nr of a layout, from the features of the step before.  METHOD of Sec. 3.3.

Each phase of each instance is guided by the branch of its label: queries and keys are of that phase alone.  Features
are taken relative to their mean over all tokens, which says nothing of one thing or another.  At the first step of all
there are none yet: the whole box is foreground, what is seen agrees with the boxes (Λ = 2), and a motionless phase
refers to its middle frame.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from generator_service.contract.guidance import Branch, GuidanceParameters
from generator_service.guidance.deformation import deformation_penalty, dilate
from generator_service.guidance.field import NO_ANCHOR, GuidanceField
from generator_service.guidance.foreground import segment_foreground
from generator_service.guidance.grid import Grid
from generator_service.guidance.layout import TokenLayout
from generator_service.guidance.reference import match_cells, reference_frame
from generator_service.guidance.report import PhaseFacts
from generator_service.guidance.rigidity import displacement_penalty, shape_template, warp_template
from shared.motion_graph import MotionLabel

LARGE_AREA = 0.1
"""Share of the frame from which on an instance needs no more strength than any other."""
STRONGEST = 3.0


@dataclass
class _Draft:
    """A field in the making, flat over the tokens."""

    instance: Tensor
    weight: Tensor
    anchor: Tensor
    anchor_weight: Tensor


@dataclass(frozen=True)
class _Phase:
    """One phase of one instance: its frames, and what of the layout is in them."""

    instance: int
    frames: Tensor
    """[n], token frames."""
    boxes: Tensor
    """[n, 4]"""
    inside: Tensor
    """[n, rows, columns], bool: the box."""
    owned: Tensor
    """[n, rows, columns], bool: of these, the tokens that are the instance's own."""
    around: Tensor
    """[n, rows, columns], bool: the cells next to the box that are nobody's."""
    features: Tensor | None
    """[n, rows, columns, D]"""
    strength: float


def guidance_field(
    layout: TokenLayout, features: Tensor | None, parameters: GuidanceParameters
) -> tuple[GuidanceField, tuple[PhaseFacts, ...]]:
    """features: [N, D] of the step before, None at the first guided one.  The field lies where the features do.

    Tokens of a box that a nearer instance covers are guided by that one, or, where its foreground leaves them out, by
    none.
    """
    grid = layout.grid
    device = torch.device("cpu") if features is None else features.device
    draft = _Draft(
        instance=torch.zeros(grid.frames, grid.rows * grid.columns, dtype=torch.long, device=device),
        weight=torch.zeros(grid.frames, grid.rows * grid.columns, grid.frames, device=device),
        anchor=torch.full((grid.frames, grid.rows * grid.columns), NO_ANCHOR, device=device),
        anchor_weight=torch.zeros(grid.frames, grid.rows * grid.columns, device=device),
    )
    facts = [
        BRANCHES[branch](_phase(layout, instance, frames, features, parameters), draft, grid, parameters, name)
        for instance, name in enumerate(layout.names)
        for label, frames in layout.phases[instance]
        if (branch := BRANCH_OF[label]) in parameters.branches
    ]
    field = GuidanceField(
        grid,
        draft.instance.flatten(),
        draft.weight.flatten(0, 1),
        draft.anchor.flatten(),
        draft.anchor_weight.flatten(),
    )
    return field, tuple(facts)


def _reference(phase: _Phase, draft: _Draft, grid: Grid, parameters: GuidanceParameters, name: str) -> PhaseFacts:
    frames = range(len(phase.frames))
    if phase.features is None:
        chosen = len(phase.frames) // 2
    else:
        places = torch.stack([match_cells(phase.boxes, phase.inside, 0, index) for index in frames])
        every = torch.arange(len(places), device=places.device)[:, None]
        chosen = reference_frame(phase.features.flatten(1, 2)[every, places], phase.owned.flatten(1)[every, places])
    frame, tokens = int(phase.frames[chosen]), 0
    if parameters.form == "share":
        weight = torch.zeros(len(frames), phase.owned[0].numel(), len(frames), device=phase.owned.device)
        others = torch.arange(len(frames), device=weight.device) != chosen
        weight[others, :, chosen] = 1
        _put(phase, draft, phase.owned, weight)
        return PhaseFacts(name, "rcg", int(phase.owned[others].sum()), reference_frame=frame)
    for index in frames:
        anchors = match_cells(phase.boxes, phase.inside, index, chosen)
        owned = phase.owned[index][phase.inside[index]] & phase.owned[chosen].flatten()[anchors]
        positions = phase.inside[index].flatten().nonzero()[owned, 0]
        draft.anchor[phase.frames[index], positions] = frame * grid.rows * grid.columns + anchors[owned]
        draft.anchor_weight[phase.frames[index], positions] = phase.strength
        tokens += len(positions)
    return PhaseFacts(name, "rcg", tokens, reference_frame=frame)


def _rigidity(phase: _Phase, draft: _Draft, grid: Grid, parameters: GuidanceParameters, name: str) -> PhaseFacts:
    mask, whole_box = phase.inside, False
    if phase.features is not None:
        template = shape_template(_foreground(phase, phase.features), phase.boxes, parameters.template_threshold)
        mask, whole_box = warp_template(template.mask, phase.boxes, phase.inside), template.is_whole_box
    centers = (phase.boxes[:, :2] + phase.boxes[:, 2:]) / 2
    penalty = displacement_penalty(centers, parameters.falloff)  # [n, n]
    mask = mask & phase.owned
    _put(phase, draft, mask, penalty[:, None].expand(-1, mask[0].numel(), -1))
    return PhaseFacts(name, "gig", int(mask.sum()), whole_box=whole_box)


def _deformation(phase: _Phase, draft: _Draft, grid: Grid, parameters: GuidanceParameters, name: str) -> PhaseFacts:
    mask = phase.inside
    if phase.features is None:
        penalty = 2.0 * mask[..., None].expand(*mask.shape, len(mask))
    else:
        mask = _foreground(phase, phase.features)
        penalty = deformation_penalty(phase.features, phase.boxes, phase.inside)
    mask = mask & phase.owned
    _put(phase, draft, mask, penalty.flatten(1, 2))
    return PhaseFacts(name, "sdg", int(mask.sum()))


def _foreground(phase: _Phase, features: Tensor) -> Tensor:
    """[n, rows, columns], bool."""
    return segment_foreground(features, phase.inside, phase.around)


def _put(phase: _Phase, draft: _Draft, mask: Tensor, weight: Tensor) -> None:
    """mask: [n, rows, columns]; weight: [n, rows · columns, n]."""
    its, frames = mask.flatten(1), phase.frames
    rows = torch.zeros_like(draft.weight[frames])
    rows[..., frames] = phase.strength * weight
    draft.instance[frames] = torch.where(its, 1 + phase.instance, draft.instance[frames])
    draft.weight[frames] = torch.where(its[..., None], rows, draft.weight[frames])


Build = Callable[[_Phase, _Draft, Grid, GuidanceParameters, str], PhaseFacts]

BRANCH_OF: dict[MotionLabel, Branch] = {
    MotionLabel.MOTIONLESS: "rcg",
    MotionLabel.RIGID: "gig",
    MotionLabel.NON_RIGID: "sdg",
}
BRANCHES: dict[Branch, Build] = {"rcg": _reference, "gig": _rigidity, "sdg": _deformation}
"""A new branch is one more file of equations and its line here."""


def area_strength(boxes: Tensor) -> float:
    """g(area) of the scale-aware strength (ours): √(LARGE_AREA / area), between 1 and STRONGEST.  boxes: [n, 4]."""
    area = float(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).mean())
    return min(STRONGEST, max(1.0, math.sqrt(LARGE_AREA / area)))


def _phase(
    layout: TokenLayout, instance: int, frames: Tensor, features: Tensor | None, parameters: GuidanceParameters
) -> _Phase:
    grid = layout.grid
    boxes, inside = layout.boxes[instance, frames], layout.inside[instance, frames]
    phase = _Phase(
        instance=instance,
        frames=frames,
        boxes=boxes,
        inside=inside,
        owned=inside & (layout.owner[frames] == 1 + instance),
        around=dilate(inside) & (layout.owner[frames] == 0),
        features=None,
        strength=area_strength(boxes) if parameters.small_boxes else 1.0,
    )
    if features is None:
        return phase
    here = features.device
    centred = features.float() - features.float().mean(0)
    return replace(
        phase,
        frames=frames.to(here),
        boxes=boxes.to(here),
        inside=inside.to(here),
        owned=phase.owned.to(here),
        around=phase.around.to(here),
        features=centred.view(grid.frames, grid.rows, grid.columns, -1)[frames.to(here)],
    )
