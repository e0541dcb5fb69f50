"""Where each expected sprite is in every frame of a video, and how far its boxes agree with planned ones.

The measures take boxes [..., frames, 4], x0, y0, x1, y1 as fractions of the frame, and give one number for each clip,
[...].  An axis counts in its own edge: half the width to the right is as far as half the height down.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from emoji_world.detector import Detections, Detector
from emoji_world.shape import Shape, fit_shapes
from emoji_world.spec import WorldSpec

THRESHOLD = 0.4
"""Least score of a sprite that is there; chosen on true clips of trained captions through the VAE, where one absent
sprite in a hundred exceeded it."""


@dataclass(frozen=True)
class Track:
    """One expected thing.  scores: [frames]; boxes: [frames, 4], fractions, the best guess where it is not seen.

    present: over the clip, above the threshold and not beaten in its place by another sprite."""

    sprite: str
    present: bool
    scores: Tensor
    boxes: Tensor
    shape: Shape


def track(detector: Detector, video: Tensor, sprites: Sequence[str]) -> list[Track]:
    """video: [frames, 3, height, width] in 0..1 -> one track for each sprite, in their order; some may be the same."""
    return track_found(detector.detect(video[None], most_alike([sprites])), video[None], [sprites], detector.world)[0]


def most_alike(sprites: Sequence[Sequence[str]]) -> int:
    """How many of a kind any clip has."""
    return max((count for names in sprites for count in Counter(names).values()), default=1)


def track_found(
    found: Detections, videos: Tensor, sprites: Sequence[Sequence[str]], world: WorldSpec
) -> list[list[Track]]:
    """The same for many clips whose detections are known.  videos: [clip, frames, 3, height, width]."""
    unbeaten = ~found.distinct().isinf()
    clips, names, boxes, scores = [], [], [], []
    for clip, asked in enumerate(sprites):
        for name, count in Counter(asked).items():
            index = world.sprites.index(name)
            some = found.scores[clip, :, index, :count], found.boxes[clip, :, index, :count]
            for scores_of_one, boxes_of_one in _follow(*some):
                clips.append(clip)
                names.append(name)
                scores.append(scores_of_one)
                boxes.append(boxes_of_one)
    shapes = fit_shapes(videos[clips], names, torch.stack(boxes), world) if clips else []
    by_name: list[dict[str, list[Track]]] = [{} for _ in sprites]
    for clip, name, its_scores, its_boxes, shape in zip(clips, names, scores, boxes, shapes, strict=True):
        seen = bool(unbeaten[clip, world.sprites.index(name)]) and float(its_scores.mean()) > THRESHOLD
        by_name[clip].setdefault(name, []).append(Track(name, seen, its_scores, its_boxes, shape))
    return [[tracks[name].pop(0) for name in asked] for asked, tracks in zip(sprites, by_name, strict=True)]


def _follow(scores: Tensor, boxes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Things of one kind, found one by one in each frame, from frame to frame: each goes on where it was nearest.

    scores: [frame, place], boxes: [frame, place, 4] -> scores [frame] (0 where it is not found) and boxes [frame, 4] of
    each."""
    count = scores.shape[1]
    orders = [list(range(count))]
    middles = centres(boxes)
    for frame in range(1, len(scores)):
        before, here = middles[frame - 1, orders[-1]], middles[frame]
        choices = [list(order) for order in permutations(range(count))]
        ways = [float(_length(here[choice] - before).sum()) for choice in choices]
        orders.append(choices[ways.index(min(ways))])
    rows = torch.arange(len(scores))
    for order in torch.tensor(orders).unbind(1):
        yield scores[rows, order].clamp(min=0), boxes[rows, order]


def box_overlaps(boxes: Tensor, planned: Tensor) -> Tensor:
    """[..., 4] twice -> [...], intersection over union; 0 where both are empty."""
    edges = torch.minimum(boxes[..., 2:], planned[..., 2:]) - torch.maximum(boxes[..., :2], planned[..., :2])
    common = edges.clamp(min=0).prod(-1)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1) + (planned[..., 2:] - planned[..., :2]).prod(-1)
    return common / (areas - common).clamp(min=torch.finfo(areas.dtype).tiny)


def centres(boxes: Tensor) -> Tensor:
    """[..., 4] -> [..., 2]."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def centre_error(boxes: Tensor, planned: Tensor) -> Tensor:
    """Mean distance of the centres over the frames."""
    return _length(centres(boxes) - centres(planned)).mean(-1)


def velocities(boxes: Tensor) -> Tensor:
    """[..., frames, 4] -> [..., frames - 1, 2], the centres' steps from frame to frame."""
    return centres(boxes).diff(dim=-2)


def velocity_error(boxes: Tensor, planned: Tensor) -> Tensor:
    """Mean length of the difference of the steps."""
    return _length(velocities(boxes) - velocities(planned)).mean(-1)


def velocity_correlation(boxes: Tensor, planned: Tensor) -> Tensor:
    """Cosine of all steps of the clip, taken as one vector: 1 the same way at the same pace or a multiple of it, -1 the
    opposite way, NaN where either stands still.  (Steps without their mean would leave nothing of a steady motion.)"""
    one, other = (velocities(each).flatten(-2) for each in (boxes, planned))
    return (one * other).sum(-1) / (_length(one) * _length(other))


def drift(boxes: Tensor) -> Tensor:
    """Range of the centre over the frames, the larger of both axes."""
    return (centres(boxes).amax(-2) - centres(boxes).amin(-2)).amax(-1)


def _length(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-1).sqrt()
