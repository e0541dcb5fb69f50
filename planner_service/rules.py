"""What makes a layout valid, one function for each rule; a violation's message begins with the rule's name.

The kinematics keep most of these by construction; they are checked all the same, on the finished boxes.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from planner_service.arrangements import Arrangement, arrangement_of, holds
from planner_service.courses import carriers_of
from planner_service.cues import Reading
from planner_service.kinematics import MAXIMUM_GROWTH, MAXIMUM_SPEED
from shared.errors import Violation
from shared.geometry import MINIMUM_SIDE, Box
from shared.motion_graph import MotionLabel, Relation, RelationKind
from shared.plan import ASPECT_TOLERANCE, Track

ROUNDING = 1e-6
DEFORMATION_STEP = 0.25
"""How far a deformation may move a centre from one frame to the next, a fraction of the frame."""


@dataclass(frozen=True)
class Layout:
    """A reading and the boxes that came of it."""

    reading: Reading
    tracks: tuple[Track, ...]
    frames: int

    def boxes(self, instance: str) -> tuple[Box, ...]:
        return next(track.boxes for track in self.tracks if track.instance == instance)


Rule = Callable[[Layout], Iterator[Violation]]


def violations(layout: Layout) -> tuple[Violation, ...]:
    """Everything that is wrong with a layout."""
    return tuple(
        Violation(field=found.field, message=f"{rule.__name__}: {found.message}")
        for rule in RULES
        for found in rule(layout)
    )


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
        for frame, (a, b) in enumerate(pairwise(track.boxes), start=1):
            step = max(abs(p - q) for p, q in zip(a.center, b.center, strict=True))
            sides = ((a.width, b.width), (a.height, b.height))
            growth = max(max(p, q) / max(min(p, q), MINIMUM_SIDE) for p, q in sides)
            if step > allowed + ROUNDING or growth > MAXIMUM_GROWTH + ROUNDING:
                yield Violation(
                    field=f"tracks.{index}.boxes.{frame}",
                    message=f"'{track.instance}' moves by {step:.2f} and grows by {growth:.2f} from frame "
                    f"{frame - 1} to {frame}; at most {allowed:.2f} and {MAXIMUM_GROWTH}",
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


def relations_hold(layout: Layout) -> Iterator[Violation]:
    """A spatial relation holds in the first frame, and throughout where neither end travels.

    What is on or in something and does not leave it by itself still is in the last frame, wherever that went.

    A dynamic one ("jumps onto", "moves toward") holds in the last frame, or of the change from first to last.
    """
    for index, relation in enumerate(layout.reading.graph.relations):
        arrangement = arrangement_of(relation.phrase)
        if arrangement is not None and not _holds(layout, relation, arrangement):
            yield Violation(
                field=f"graph.relations.{index}",
                message=f"'{relation.source}' is not '{relation.phrase}' '{relation.target}'",
            )


RULES: tuple[Rule, ...] = (
    every_frame_has_a_box,
    boxes_stay_inside_the_frame,
    no_box_is_too_thin,
    nothing_jumps,
    labels_are_kept,
    relations_hold,
)


def _all_boxes(layout: Layout) -> Iterator[tuple[int, int, Track, Box]]:
    for index, track in enumerate(layout.tracks):
        for frame, box in enumerate(track.boxes):
            yield index, frame, track, box


def _holds(layout: Layout, relation: Relation, arrangement: Arrangement) -> bool:
    a, b = layout.boxes(relation.source), layout.boxes(relation.target)
    order = layout.reading.depth_order
    match arrangement:
        case Arrangement.BEHIND:
            return order.index(relation.source) > order.index(relation.target)
        case Arrangement.IN_FRONT_OF:
            return order.index(relation.source) < order.index(relation.target)
        case Arrangement.TOWARD:
            return _distance(a[-1], b[-1]) < _distance(a[0], b[0])
        case Arrangement.AWAY_FROM:
            return _distance(a[-1], b[-1]) > _distance(a[0], b[0])
    if relation.kind is RelationKind.DYNAMIC:
        return holds(arrangement, a[-1], b[-1])
    if _travels(layout, relation.source) or _travels(layout, relation.target):
        leaves = _travels(layout, relation.source) and relation.source not in carriers_of(layout.reading)
        stays = arrangement in (Arrangement.ON, Arrangement.IN) and not leaves
        return holds(arrangement, a[0], b[0]) and (not stays or holds(arrangement, a[-1], b[-1]))
    return all(holds(arrangement, p, q) for p, q in zip(a, b, strict=True))


def _travels(layout: Layout, instance: str) -> bool:
    cues = next(cues for cues in layout.reading.cues if cues.instance == instance)
    return any(phase.travels for phase in cues.phases)


def _distance(a: Box, b: Box) -> float:
    return math.dist(a.center, b.center)
