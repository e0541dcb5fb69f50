"""What makes a layout valid, one function for each rule; a violation's message begins with the rule's name.

The kinematics keep most of these by construction; they are checked all the same, on the finished boxes.
"""

from collections.abc import Callable, Iterator

from planner_service.motion.layout import Layout
from planner_service.rules.relations import (
    depth_is_shown,
    dynamic_relations_hold,
    passing_changes_the_order,
    spatial_relations_hold,
    what_is_related_is_seen_together,
)
from planner_service.rules.tracks import (
    boxes_stay_inside_the_frame,
    every_frame_has_a_box,
    everything_is_seen,
    labels_are_kept,
    no_box_is_too_thin,
    nothing_jumps,
    parts_stay_attached,
)
from shared.errors import Violation

Rule = Callable[[Layout], Iterator[Violation]]
"""Yields what a layout has wrong."""

RULES: tuple[Rule, ...] = (
    every_frame_has_a_box,
    boxes_stay_inside_the_frame,
    no_box_is_too_thin,
    nothing_jumps,
    labels_are_kept,
    everything_is_seen,
    parts_stay_attached,
    what_is_related_is_seen_together,
    spatial_relations_hold,
    depth_is_shown,
    dynamic_relations_hold,
    passing_changes_the_order,
)


def violations(layout: Layout) -> tuple[Violation, ...]:
    """Everything that is wrong with a layout."""
    return tuple(
        Violation(field=found.field, message=f"{rule.__name__}: {found.message}")
        for rule in RULES
        for found in rule(layout)
    )
