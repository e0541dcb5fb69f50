"""Measures of one clip: where each expected sprite is in every frame, and how that agrees with a plan."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emoji_world.detector import Detections, Detector
from emoji_world.shape import Shape, fit_shape
from emoji_world.spec import WorldSpec

THRESHOLD = 0.5
"""Least score of a sprite that is there."""


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
    return track_found(detector.detect(video[None]), video, sprites, detector.world)


def track_found(found: Detections, video: Tensor, sprites: Sequence[str], world: WorldSpec) -> list[Track]:
    """The same, where the detections of this one clip are known."""
    distinct = found.distinct()[0]
    tracks = []
    for sprite in sprites:
        index = world.sprites.index(sprite)
        boxes = found.boxes[0, :, index]
        tracks.append(
            Track(
                sprite=sprite,
                present=bool(distinct[index] > THRESHOLD),
                scores=found.scores[0, :, index],
                boxes=boxes,
                shape=fit_shape(video, sprite, boxes, world),
            )
        )
    return tracks


def box_overlaps(boxes: Tensor, planned: Tensor) -> Tensor:
    """[frames, 4] twice -> [frames], intersection over union."""
    edges = torch.minimum(boxes[:, 2:], planned[:, 2:]) - torch.maximum(boxes[:, :2], planned[:, :2])
    common = edges.clamp(min=0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (planned[:, 2:] - planned[:, :2]).prod(1)
    return common / (areas - common)


def centres(boxes: Tensor) -> Tensor:
    """[frames, 4] -> [frames, 2]."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def centre_error(boxes: Tensor, planned: Tensor) -> float:
    """Mean distance of the centres, fractions of the frame's edges."""
    return float((centres(boxes) - centres(planned)).norm(dim=1).mean())


def velocity_correlation(boxes: Tensor, planned: Tensor) -> float:
    """Of the centres' steps from frame to frame: their cosine over the clip, NaN where either stands still."""
    one, other = (centres(each).diff(dim=0).flatten() for each in (boxes, planned))
    lengths = one.norm() * other.norm()
    return float(one @ other / lengths) if lengths > 0 else float("nan")


def drift(boxes: Tensor) -> float:
    """Range of the centre over the clip, the larger of both axes."""
    return float((centres(boxes).amax(0) - centres(boxes).amin(0)).max())
