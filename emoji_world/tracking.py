"""Where each expected sprite is in every frame of a video, and how far its boxes agree with planned ones.

The measures take boxes [..., frames, 4], x0, y0, x1, y1 as fractions of the frame, and give one number for each clip,
[...].  An axis counts in its own edge: half the width to the right is as far as half the height down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """One expected sprite.  scores: [frames]; boxes: [frames, 4], fractions, the best guess where it is not seen.

    present: over the clip, above the threshold and not beaten in its place by another sprite."""

    sprite: str
    present: bool
    scores: Tensor
    boxes: Tensor
    shape: Shape


def track(detector: Detector, video: Tensor, sprites: Sequence[str]) -> list[Track]:
    """video: [frames, 3, height, width] in 0..1 -> one track for each sprite, in their order."""
    return track_found(detector.detect(video[None]), video[None], [sprites], detector.world)[0]


def track_found(
    found: Detections, videos: Tensor, sprites: Sequence[Sequence[str]], world: WorldSpec
) -> list[list[Track]]:
    """The same for many clips whose detections are known.  videos: [clip, frames, 3, height, width]."""
    present = found.distinct() > THRESHOLD
    clips = [clip for clip, names in enumerate(sprites) for _ in names]
    names = [name for each in sprites for name in each]
    indices = [world.sprites.index(name) for name in names]
    boxes, scores = found.boxes[clips, :, indices], found.scores[clips, :, indices]
    shapes = fit_shapes(videos[clips], names, boxes, world)
    tracks: list[list[Track]] = [[] for _ in sprites]
    for k, (clip, name) in enumerate(zip(clips, names, strict=True)):
        tracks[clip].append(Track(name, bool(present[clip, indices[k]]), scores[k], boxes[k], shapes[k]))
    return tracks


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
