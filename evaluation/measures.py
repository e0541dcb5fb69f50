"""What is measured of one clip of the emoji world: how far it does what was planned, and how it changes over time.

"Motionless", "rigid" and "non-rigid" are the plan's labels, so that each is about the things that one branch guides:
that stand still, that go somewhere in one shape, that deform where they are, and that deform on their way (animals that
walk; in this world they glide).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from emoji_world.adherence import measure_adherence
from emoji_world.detector import Detector
from emoji_world.scene import Placed, Scene
from emoji_world.spec import NON_RIGID, STEP, WORLD
from emoji_world.world import render
from evaluation.temporal import dynamic_degree, flicker
from generator_service.backbones.base import Frames
from generator_service.backbones.emoji_scene import EmojiScene
from shared.motion_graph import MotionLabel

PLACED = 0.5
"""The least mean IoU, over things and frames, of a clip that is right."""

Measures = dict[str, float]
"""By name, in the order of `MEASURES`; NaN where the question does not arise."""


@dataclass(frozen=True)
class Measure:
    title: str
    higher_is_better: bool | None
    """None where neither is."""


MEASURES: dict[str, Measure] = {
    "detection_rate": Measure("detected", True),
    "right": Measure("right: all detected, IoU > 0.5", True),
    "mean_iou": Measure("IoU with the plan", True),
    "iou_over_half": Measure("IoU > 0.5", True),
    "centre_error": Measure("centre error", False),
    "velocity_correlation": Measure("velocity correlation", True),
    "motionless_drift": Measure("motionless: drift", False),
    "motionless_flicker": Measure("motionless: flicker", False),
    "rigid_shape_change": Measure("rigid: shape change", False),
    "gliding_shape_change": Measure("non-rigid, gliding: shape change", False),
    "deformation": Measure("non-rigid: deforms as asked", True),
    "temporal_flicker": Measure("temporal flicker", False),
    "dynamic_degree": Measure("dynamic degree", None),
}


def measure(frames: Frames, scene: EmojiScene, detector: Detector) -> Measures:
    """frames: [frame, height, width, 3], RGB, 0 to 255, in the size of the emoji world."""
    video = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    motions = [drawn.motion for drawn in scene.objects]
    planned = torch.tensor([track.boxes for track in scene.tracks])
    found = measure_adherence(detector, video, [drawn.sprite for drawn in scene.objects], planned, motions)
    each = list(zip(motions, found, scene.tracks, strict=True))
    still, rigid, deforming, gliding = (
        [(its, track) for motion, its, track in each if motion in asked and label in (p.label for p in track.phases)]
        for label, asked in (
            (MotionLabel.MOTIONLESS, ("still",)),
            (MotionLabel.RIGID, STEP),
            (MotionLabel.NON_RIGID, NON_RIGID),
            (MotionLabel.NON_RIGID, STEP),
        )
    )
    correlations = [its.velocity_correlation for motion, its, _ in each if motion in STEP]
    mean_iou = _mean(its.mean_iou for its in found)
    return {
        "detection_rate": _mean(its.detected for its in found),
        "right": float(all(its.detected for its in found) and mean_iou > PLACED),
        "mean_iou": mean_iou,
        "iou_over_half": _mean(its.iou_over_half for its in found),
        "centre_error": _mean(its.centre_error for its in found),
        "velocity_correlation": _mean(0.0 if value is None else value for value in correlations),
        "motionless_drift": _mean(its.drift for its, _ in still),
        "motionless_flicker": _mean(flicker(frames, track.boxes[0]) for _, track in still),
        "rigid_shape_change": _mean(its.lean_range + its.press_range for its, _ in rigid),
        "gliding_shape_change": _mean(its.lean_range + its.press_range for its, _ in gliding),
        "deformation": _mean(its.deforms_as_asked for its, _ in deforming),
        "temporal_flicker": flicker(frames),
        "dynamic_degree": dynamic_degree(frames),
    }


def truth(scene: EmojiScene) -> Tensor:
    """[frame, 3, height, width], uint8: the sprites drawn where the plan has them, on straight ways."""
    return render(WORLD, Scene(placed_as_planned(scene), scene.background, scene.caption)).video


def placed_as_planned(scene: EmojiScene) -> tuple[Placed, ...]:
    """In the plan's order."""
    frame = torch.tensor([WORLD.width, WORLD.height])
    placed = []
    for drawn, track in zip(scene.objects, scene.tracks, strict=True):
        first, last = torch.tensor(track.boxes[0]), torch.tensor(track.boxes[-1])
        start, end = ((box[:2] + box[2:]) / 2 * frame for box in (first, last))
        half = (first[2:] - first[:2]) / 2 * frame
        way = end - start if drawn.motion in STEP else torch.zeros(2)
        placed.append(Placed(drawn.sprite, drawn.motion, _xy(half), _xy(start), _xy(way)))
    return tuple(placed)


def _xy(values: Tensor) -> tuple[float, float]:
    x, y = values.tolist()
    return x, y


def _mean(values: Iterable[float]) -> float:
    listed = [float(value) for value in values]
    return fmean(listed) if listed else float("nan")
