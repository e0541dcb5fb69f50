"""The rules that relations make: each looks at the boxes of both ends, in frames in which both are there."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from planner_service.motion.arrangements import (
    DEPTH,
    Arrangement,
    arrangement_of,
    find_misordered,
    holds,
    is_attachment,
    passes,
)
from planner_service.motion.courses import carriers_of
from planner_service.motion.layout import Layout
from shared.errors import Violation
from shared.geometry import Box
from shared.motion_graph import Relation, RelationKind
from shared.plan import Track

CHANGES = (Arrangement.TOWARD, Arrangement.AWAY_FROM, Arrangement.PAST)
"""What is no matter of one frame, whatever the planner calls it."""


def what_is_related_is_seen_together(layout: Layout) -> Iterator[Violation]:
    """There is a frame that shows both ends of a relation."""
    for edge in _edges(layout):
        if not edge.frames and any(edge.source.present) and any(edge.target.present):
            yield edge.violation("they are never there in the same frame")


def spatial_relations_hold(layout: Layout) -> Iterator[Violation]:
    """A spatial relation holds in the first frame in which both are there, and throughout where neither end travels.

    What is on or in something and does not leave it by itself still is in the last frame, wherever that went.
    """
    for edge in _edges(layout):
        if edge.relation.kind is not RelationKind.SPATIAL or edge.arrangement in CHANGES + DEPTH or not edge.frames:
            continue
        source, target = edge.relation.source, edge.relation.target
        checked = edge.frames
        if _travels(layout, source) or _travels(layout, target):
            leaves = _travels(layout, source) and source not in carriers_of(layout.reading)
            stays = edge.arrangement in (Arrangement.ON, Arrangement.IN) and not leaves
            checked = [checked[0], checked[-1]] if stays else checked[:1]
        if not all(holds(edge.arrangement, *edge.boxes(frame)) for frame in checked):
            yield edge.violation()


def depth_is_shown(layout: Layout) -> Iterator[Violation]:
    """What is behind something comes after it in depth_order, is near it, and is not wholly covered by it.

    A spatial relation is looked at where it begins, a dynamic one where it ends.
    """
    reading = layout.reading
    wrong = {index for index, _, _ in find_misordered(reading.graph.relations, reading.depth_order)}
    for edge in _edges(layout):
        if edge.arrangement not in DEPTH or not edge.frames:
            continue
        frame = edge.frames[0 if edge.relation.kind is RelationKind.SPATIAL else -1]
        if edge.index in wrong:
            yield edge.violation("by depth_order")
        elif not holds(edge.arrangement, *edge.boxes(frame)):
            yield edge.violation(f"to be seen in frame {frame}")


def dynamic_relations_hold(layout: Layout) -> Iterator[Violation]:
    """A dynamic relation holds in the last frame in which both are there ("jumps onto").

    Some hold of the change from the first to the last: what moves toward is nearer then, what moves away is farther.
    """
    for edge in _edges(layout):
        if not edge.frames or edge.arrangement in (*DEPTH, Arrangement.PAST):
            continue
        if edge.arrangement not in CHANGES and edge.relation.kind is RelationKind.SPATIAL:
            continue
        if edge.arrangement is Arrangement.AT:
            continue  # at some time, and placement sees to it
        (a, b), (c, d) = edge.boxes(edge.frames[0]), edge.boxes(edge.frames[-1])
        match edge.arrangement:
            case Arrangement.TOWARD:
                good = _distance(c, d) < _distance(a, b)
            case Arrangement.AWAY_FROM:
                good = _distance(c, d) > _distance(a, b)
            case _:
                good = holds(edge.arrangement, c, d)
        if not good:
            yield edge.violation()


def passing_changes_the_order(layout: Layout) -> Iterator[Violation]:
    """What passes something is on its other side in the last frame in which both are there."""
    for edge in _edges(layout):
        if edge.arrangement is not Arrangement.PAST or not edge.frames:
            continue
        if not passes(edge.boxes(edge.frames[0]), edge.boxes(edge.frames[-1])):
            yield edge.violation("it stays on one side")


@dataclass(frozen=True)
class _Edge:
    """A relation that boxes can show."""

    index: int
    relation: Relation
    arrangement: Arrangement
    source: Track
    target: Track

    @property
    def frames(self) -> list[int]:
        """In which both are there."""
        both = zip(self.source.present, self.target.present, strict=True)
        return [frame for frame, present in enumerate(both) if all(present)]

    def boxes(self, frame: int) -> tuple[Box, Box]:
        return self.source.boxes[frame], self.target.boxes[frame]

    def violation(self, why: str = "") -> Violation:
        said = f"'{self.relation.source}' is not '{self.relation.phrase}' '{self.relation.target}'"
        return Violation(field=f"graph.relations.{self.index}", message=f"{said}: {why}" if why else said)


def _edges(layout: Layout) -> Iterator[_Edge]:
    for index, relation in enumerate(layout.reading.graph.relations):
        arrangement = arrangement_of(relation.phrase, relation.kind)
        if arrangement is not None and not is_attachment(layout.reading.graph, relation):
            yield _Edge(index, relation, arrangement, layout.track(relation.source), layout.track(relation.target))


def _travels(layout: Layout, instance: str) -> bool:
    cues = next(cues for cues in layout.reading.cues if cues.instance == instance)
    return any(phase.travels for phase in cues.phases)


def _distance(a: Box, b: Box) -> float:
    return math.dist(a.center, b.center)
