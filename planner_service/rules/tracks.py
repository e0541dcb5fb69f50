"""The rules of each track by itself: its boxes, its label, and its whole."""

import math
from collections.abc import Iterator

import numpy as np

from planner_service.motion.arrangements import gap
from planner_service.motion.kinematics import MAXIMUM_GROWTH, MAXIMUM_SPEED
from planner_service.motion.layout import Layout
from shared.errors import Violation
from shared.geometry import MINIMUM_SIDE, Box
from shared.motion_graph import MotionLabel
from shared.plan import ASPECT_TOLERANCE, Track

ROUNDING = 1e-6
DEFORMATION_STEP = 0.25
"""How far a deformation may move a centre from one frame to the next, a fraction of the frame."""


def every_frame_has_a_box(layout: Layout) -> Iterator[Violation]:
    for index, track in enumerate(layout.tracks):
        if len(track.boxes) != layout.frames:
            yield Violation(
                field=f"tracks.{index}.boxes",
                message=f"'{track.instance}' has {len(track.boxes)} boxes for {layout.frames} frames",
            )


def boxes_stay_inside_the_frame(layout: Layout) -> Iterator[Violation]:
    for index, frame, track, box in _all_boxes(layout):
        if not all(math.isfinite(side) and 0.0 <= side <= 1.0 for side in box):
            yield Violation(
                field=f"tracks.{index}.boxes.{frame}", message=f"'{track.instance}' leaves the frame at frame {frame}"
            )


def no_box_is_too_thin(layout: Layout) -> Iterator[Violation]:
    for index, frame, track, box in _all_boxes(layout):
        if min(box.width, box.height) < MINIMUM_SIDE - ROUNDING:
            yield Violation(
                field=f"tracks.{index}.boxes.{frame}",
                message=f"'{track.instance}' is thinner than {MINIMUM_SIDE} at frame {frame}",
            )


def nothing_jumps(layout: Layout) -> Iterator[Violation]:
    """From frame to frame no centre moves farther than the greatest speed and a deformation allow, and no side grows or
    shrinks by more than `MAXIMUM_GROWTH`.  A part moves with its whole and besides."""
    step_allowed = MAXIMUM_SPEED / max(1, layout.frames - 1) + DEFORMATION_STEP
    for index, track in enumerate(layout.tracks):
        allowed = step_allowed * (1 + layout.reading.graph.generation(track.instance))
        boxes = np.array(track.boxes)
        sides = boxes[:, 2:] - boxes[:, :2]
        steps = np.abs(np.diff((boxes[:, :2] + boxes[:, 2:]) / 2, axis=0)).max(axis=1)
        before, after = sides[:-1], sides[1:]
        growths = np.maximum(before, after) / np.maximum(np.minimum(before, after), MINIMUM_SIDE)
        growths = growths.max(axis=1)
        for frame in np.flatnonzero((steps > allowed + ROUNDING) | (growths > MAXIMUM_GROWTH + ROUNDING)) + 1:
            yield Violation(
                field=f"tracks.{index}.boxes.{frame}",
                message=f"'{track.instance}' moves by {steps[frame - 1]:.2f} and grows by {growths[frame - 1]:.2f} "
                f"from frame {frame - 1} to {frame}; at most {allowed:.2f} and {MAXIMUM_GROWTH}",
            )


def labels_are_kept(layout: Layout) -> Iterator[Violation]:
    """Motionless: no change at all; rigid: constant aspect.  A part is exempt, for it moves with its parent."""
    for index, track in enumerate(layout.tracks):
        if layout.reading.graph[track.instance].parent is not None:
            continue
        for phase in track.phases:
            boxes = track.boxes[phase.start : phase.end + 1]
            aspects = [box.aspect for box in boxes]
            changes = phase.label is MotionLabel.MOTIONLESS and len(set(boxes)) > 1
            stretches = phase.label is MotionLabel.RIGID and max(aspects) > min(aspects) * (1 + ASPECT_TOLERANCE)
            if changes or stretches:
                yield Violation(
                    field=f"tracks.{index}.boxes",
                    message=f"'{track.instance}' is {phase.label.value} in frames {phase.start} to {phase.end}, but "
                    + ("its box changes" if changes else "its aspect changes"),
                )


def everything_is_seen(layout: Layout) -> Iterator[Violation]:
    """Every instance is there in some frame."""
    for index, track in enumerate(layout.tracks):
        if not any(track.present):
            yield Violation(
                field=f"tracks.{index}.phases",
                message=f"'{track.instance}' is absent in all {layout.frames} frames: show it longer, or leave it out",
            )


def parts_stay_attached(layout: Layout) -> Iterator[Violation]:
    """A part touches its whole in every frame, and is absent while that is."""
    for index, track in enumerate(layout.tracks):
        parent = layout.reading.graph[track.instance].parent
        if parent is None:
            continue
        whole = layout.track(parent)
        for frame, (own, theirs) in enumerate(zip(track.boxes, whole.boxes, strict=True)):
            if gap(own, theirs) > ROUNDING or (track.present[frame] and not whole.present[frame]):
                yield Violation(
                    field=f"tracks.{index}.boxes.{frame}",
                    message=f"'{track.instance}' is apart from '{parent}' at frame {frame}",
                )
                break


def _all_boxes(layout: Layout) -> Iterator[tuple[int, int, Track, Box]]:
    for index, track in enumerate(layout.tracks):
        for frame, box in enumerate(track.boxes):
            yield index, frame, track, box
