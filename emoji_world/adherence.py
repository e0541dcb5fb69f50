"""How far one video does what was planned: per object, what a render's report and an ablation want to know."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from emoji_world.detector import Detector
from emoji_world.spec import NON_RIGID, Motion
from emoji_world.tracking import (
    Track,
    box_overlaps,
    centre_error,
    drift,
    track,
    velocity_correlation,
    velocity_error,
)


@dataclass(frozen=True)
class Adherence:
    """One planned object.  Lengths are fractions of the frame's edges, as boxes are.

    Everything but `detected` is measured on the best guess where an object is not detected, so that a video is never
    left out of a mean because it is bad; what perfect videos get is in README.md."""

    sprite: str
    boxes: tuple[tuple[float, ...], ...]
    """[frames, 4], where it was found."""
    detected: bool
    score: float
    """Mean over the frames, 1 is a perfect copy."""
    mean_iou: float
    iou_over_half: float
    """Share of the frames whose IoU with the planned box exceeds 0.5."""
    centre_error: float
    """Mean distance of the centres."""
    velocity_error: float
    """Mean distance of the centres' steps, per frame."""
    velocity_correlation: float | None
    """Cosine of the steps, -1 to 1; none where the plan or the object stands still."""
    drift: float
    """Range of the centre over the clip: 0 for a motionless object."""
    lean_range: float
    """Of the fitted shape over the clip, half widths: 0 for a rigid object."""
    press_range: float
    """Likewise, shares of the height."""
    deforms_as_asked: bool
    """The motion's own deformation and no other; none where the motion is rigid."""


def measure_adherence(
    detector: Detector, video: Tensor, sprites: Sequence[str], planned: Tensor, motions: Sequence[Motion]
) -> list[Adherence]:
    """video: [frames, 3, height, width] in 0..1, in the size of the detector's world; sprites: those of a kind are
    told apart by whose boxes they are nearest to; planned: [sprite, frames, 4], fractions of the frame.

    Raises ValueError where the plan is not of as many sprites and frames, or the video of another size."""
    world = detector.world
    if video.shape[1:] != (3, world.height, world.width):
        raise ValueError(f"Got a video {list(video.shape)} but expected [frames, 3, {world.height}, {world.width}]")
    if planned.shape != (len(sprites), len(video), 4) or len(motions) != len(sprites):
        raise ValueError(
            f"Got boxes {list(planned.shape)} and {len(motions)} motions "
            f"but expected [{len(sprites)}, {len(video)}, 4] and {len(sprites)}"
        )
    tracks = _assign(track(detector, video, sprites), planned)
    boxes = torch.stack([each.boxes for each in tracks])
    overlaps = box_overlaps(boxes, planned)
    correlations = velocity_correlation(boxes, planned).tolist()
    return [
        Adherence(
            sprite=each.sprite,
            boxes=tuple(tuple(box) for box in boxes[k].tolist()),
            detected=each.present,
            score=float(each.scores.mean()),
            mean_iou=float(overlaps[k].mean()),
            iou_over_half=float((overlaps[k] > 0.5).float().mean()),
            centre_error=float(centre_error(boxes[k], planned[k])),
            velocity_error=float(velocity_error(boxes[k], planned[k])),
            velocity_correlation=None if correlations[k] != correlations[k] else correlations[k],
            drift=float(drift(boxes[k])),
            lean_range=each.shape.lean_range,
            press_range=each.shape.press_range,
            deforms_as_asked=each.shape.deformation == (motions[k] if motions[k] in NON_RIGID else None),
        )
        for k, each in enumerate(tracks)
    ]


def _assign(tracks: Sequence[Track], planned: Tensor) -> list[Track]:
    """Those of a kind in the order in which they agree best with the planned boxes."""

    def agreement(order: Sequence[int]) -> float:
        return float(box_overlaps(torch.stack([tracks[k].boxes for k in order]), planned).sum())

    numbers = range(len(tracks))
    orders = [
        order
        for order in permutations(numbers)
        if all(tracks[a].sprite == tracks[b].sprite for a, b in zip(order, numbers, strict=True))
    ]
    return [tracks[k] for k in max(orders, key=agreement)]
