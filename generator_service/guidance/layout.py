"""A plan on the grid of video tokens: boxes, phases and which instance each token belongs to.

Token frame 0 is layout frame 0, and with temporal compression r token frame j ≥ 1 stands for layout frames
r(j-1)+1 … rj; its box is the mean of theirs, its phase the one that most of them are in.  A token lies in a box when
its cell's centre does; a box without any cell gets the cell nearest to its centre.  Where the instance is absent no
token is in its box or its own, and no phase guides it.
"""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from generator_service.guidance.grid import Grid
from shared.geometry import Box
from shared.motion_graph import MotionLabel
from shared.plan import Plan, Track

Span = tuple[MotionLabel, Tensor]
"""A phase on the grid: its label and its token frames, [n], ascending."""


@dataclass(frozen=True)
class TokenLayout:
    """Instances are counted from 0, in the order of the plan's graph."""

    grid: Grid
    names: tuple[str, ...]
    wholes: tuple[str, ...]
    """The name of what each is a part of in the end, its own for a whole."""
    boxes: Tensor
    """[instance, F, 4]: x0, y0, x1, y1 in fractions."""
    phases: tuple[tuple[Span, ...], ...]
    """Of each instance; one it is absent in, or that is too short for a token frame of its own, is left out."""
    inside: Tensor
    """[instance, F, rows, columns], bool: cells in the instance's box while it is there, whoever they belong to."""
    owner: Tensor
    """[F, rows, columns], long: 1 + the instance a token belongs to, 0 for none."""


def layout_on(grid: Grid, plan: Plan) -> TokenLayout:
    """Raises ValueError for a plan whose frames are not the grid's."""
    if plan.frames != grid.layout_frames:
        raise ValueError(f"Got a plan of {plan.frames} frames but expected {grid.layout_frames}")
    boxes = torch.stack([_mean_boxes(track.boxes, grid) for track in plan.tracks])
    phases = tuple(_phases(track, grid) for track in plan.tracks)
    inside = cells_inside(grid, boxes) & _present(phases, grid)
    owner = torch.zeros(inside.shape[1:], dtype=torch.long)
    for instance in _farthest_first(plan, boxes):
        owner[inside[instance]] = 1 + instance
    wholes = tuple(plan.graph.whole(name) for name in plan.graph.ids)
    return TokenLayout(grid, plan.graph.ids, wholes, boxes, phases, inside, owner)


def cells_inside(grid: Grid, boxes: Tensor) -> Tensor:
    """boxes: [instance, F, 4] -> [instance, F, rows, columns], bool."""
    x = (torch.arange(grid.columns) + 0.5) / grid.columns
    y = (torch.arange(grid.rows) + 0.5)[:, None] / grid.rows
    x0, y0, x1, y1 = boxes[..., None, None].unbind(2)
    inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    away = ((x - (x0 + x1) / 2) * grid.columns) ** 2 + ((y - (y0 + y1) / 2) * grid.rows) ** 2
    nearest = away.flatten(2).argmin(2, keepdim=True)
    filled = inside.flatten(2).scatter(2, nearest, True).view_as(inside)
    return torch.where(inside.any(3, keepdim=True).any(2, keepdim=True), inside, filled)


def _frames_of(token_frame: int, grid: Grid) -> range:
    """The layout frames that a token frame stands for."""
    if token_frame == 0:
        return range(1)
    last = grid.compression * token_frame
    return range(last - grid.compression + 1, last + 1)


def _mean_boxes(boxes: tuple[Box, ...], grid: Grid) -> Tensor:
    """[F, 4]"""
    whole = torch.tensor(boxes)
    return torch.stack([whole[list(_frames_of(frame, grid))].mean(0) for frame in range(grid.frames)])


def _phases(track: Track, grid: Grid) -> tuple[Span, ...]:
    phase_of = [index for index, phase in enumerate(track.phases) for _ in range(phase.start, phase.end + 1)]
    of_token_frame = [
        Counter(phase_of[frame] for frame in _frames_of(token_frame, grid)).most_common(1)[0][0]
        for token_frame in range(grid.frames)
    ]
    spans = []
    for index, phase in enumerate(track.phases):
        frames = [frame for frame, its_phase in enumerate(of_token_frame) if its_phase == index]
        if frames and not phase.absent:
            spans.append((phase.label, torch.tensor(frames)))
    return tuple(spans)


def _present(phases: tuple[tuple[Span, ...], ...], grid: Grid) -> Tensor:
    """[instance, F, 1, 1], bool"""
    present = torch.zeros(len(phases), grid.frames, 1, 1, dtype=torch.bool)
    for instance, spans in enumerate(phases):
        for _, frames in spans:
            present[instance, frames] = True
    return present


def _farthest_first(plan: Plan, boxes: Tensor) -> list[int]:
    """Who is drawn over whom: nearer over farther, a child over its own parent, then smaller over larger.

    A child is as near as its parent, or nearer where the depth order has it so.
    """
    area = ((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])).mean(1).tolist()

    def depth(name: str) -> int:
        own, parent = plan.depth_order.index(name), plan.graph[name].parent
        return own if parent is None else min(own, depth(parent))

    names = plan.graph.ids
    return sorted(
        range(len(names)),
        key=lambda index: (-depth(names[index]), plan.graph.generation(names[index]), -area[index]),
    )
