"""Each rule by a layout that breaks it and no other; relations on boxes by hand."""

import pytest

from planner_service.explanation import Explained
from planner_service.motion.arrangements import PHRASES, Arrangement, arrangement_of, holds
from planner_service.motion.cues import Direction, InstanceCues, Phase, Reading, Speed
from planner_service.motion.layout import Layout
from planner_service.reasoning import Rejected, Request, lay_out, plan
from planner_service.rules.violations import RULES, violations
from shared.errors import PlanningFailed
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel, Relation, RelationKind
from shared.plan import Phase as Span
from shared.plan import Track

BOX = Box(0.1, 0.2, 0.5, 0.3)
BESIDE = Box(0.4, 0.65, 0.8, 0.75)
"""Partly before or behind `b`, which spans 0.1 to 0.5 and 0.6 to 0.9."""
STILL, RIGID = MotionLabel.MOTIONLESS, MotionLabel.RIGID


def layout(
    a: list[Box],
    b: list[Box] | None = None,
    label: MotionLabel = RIGID,
    relation: tuple[RelationKind, str] | None = None,
    direction: Direction | None = None,
    frames: int | None = None,
    parent: str | None = None,
    absent: tuple[str, ...] = (),
) -> Layout:
    """Instance `a` with those boxes, and a motionless `b` below it."""
    boxes = {"a": a, "b": b or [Box(0.1, 0.6, 0.5, 0.9)] * len(a)}
    relations = ()
    if relation is not None:
        relations = (Relation(source="a", target="b", kind=relation[0], phrase=relation[1]),)
    instances = tuple(
        Instance(id=name, name=name, description=name, label=kind, parent=parent if name == "a" else None)
        for name, kind in (("a", label), ("b", STILL))
    )
    cues = (
        InstanceCues(instance="a", phases=(Phase(label=label, direction=direction),)),
        InstanceCues(instance="b", phases=(Phase(label=STILL),)),
    )
    reading = Reading(
        graph=MotionGraph(instances=instances, relations=relations),
        background="x",
        cues=cues,
        depth_order=("a", "b"),
    )
    tracks = tuple(
        Track.model_construct(
            instance=name,
            phases=(Span(label=kind, start=0, end=len(a) - 1, absent=name in absent),),
            boxes=tuple(boxes[name]),
        )
        for name, kind in (("a", label), ("b", STILL))
    )
    return Layout(reading, tracks, frames or len(a))


def seen_apart() -> Layout:
    """`a` is there in the first of two frames alone, `b` in the second alone."""
    checked = layout([BOX, BOX], label=STILL, relation=(RelationKind.SPATIAL, "above"))
    tracks = tuple(
        track.model_copy(
            update={"phases": tuple(Span(label=STILL, start=f, end=f, absent=f is not there) for f in (0, 1))}
        )
        for there, track in enumerate(checked.tracks)
    )
    return Layout(checked.reading, tracks, 2)


def broken(checked: Layout) -> set[str]:
    return {violation.message.split(":")[0] for violation in violations(checked)}


def test_a_good_layout_breaks_nothing():
    assert broken(layout([BOX, BOX.translate(0.1, 0.0), BOX.translate(0.2, 0.0)], direction=Direction.RIGHT)) == set()


@pytest.mark.parametrize(
    ("checked", "rule"),
    [
        (layout([BOX, BOX], frames=3), "every_frame_has_a_box"),
        (layout([BOX, BOX.translate(-0.15, 0.0)]), "boxes_stay_inside_the_frame"),
        (layout([Box(0.1, 0.2, 0.105, 0.25)] * 2), "no_box_is_too_thin"),
        (layout([BOX] * 20 + [BOX.translate(0.45, 0.0)] * 21), "nothing_jumps"),
        (layout([BOX, BOX.scale(1.6).translate(0.1, 0.0)]), "nothing_jumps"),
        (layout([BOX, BOX.translate(0.01, 0.0)], label=STILL), "labels_are_kept"),
        (layout([BOX, Box(0.1, 0.2, 0.5, 0.32)]), "labels_are_kept"),
        (layout([BOX, BOX], label=STILL, absent=("a",)), "everything_is_seen"),
        (layout([BOX, BOX], parent="b"), "parts_stay_attached"),
        (seen_apart(), "what_is_related_is_seen_together"),
        (layout([BOX, BOX], relation=(RelationKind.SPATIAL, "below")), "spatial_relations_hold"),
        (layout([BESIDE, BESIDE], relation=(RelationKind.SPATIAL, "behind")), "depth_is_shown"),
        (layout([BOX, BOX], relation=(RelationKind.DYNAMIC, "jumps onto")), "dynamic_relations_hold"),
        (layout([BOX, BOX], relation=(RelationKind.DYNAMIC, "passes by")), "passing_changes_the_order"),
    ],
)
def test_each_rule_names_what_breaks_it(checked, rule):
    assert broken(checked) == {rule}


def test_no_rule_is_without_a_test():
    named = {rule for mark in test_each_rule_names_what_breaks_it.pytestmark for _, rule in mark.args[1]}
    assert {rule.__name__ for rule in RULES} == named


@pytest.mark.parametrize(
    ("kind", "phrase", "boxes", "good"),
    [
        (RelationKind.SPATIAL, "above", [BOX, BOX], True),
        (RelationKind.SPATIAL, "sits left of", [BOX, BOX], False),
        (RelationKind.SPATIAL, "in front of", [BESIDE, BESIDE], True),
        (RelationKind.SPATIAL, "in front of", [BOX, BOX], False),  # 0.3 above it
        (RelationKind.SPATIAL, "in front of", [Box(0.09, 0.59, 0.51, 0.91)] * 2, False),  # hides it
        (RelationKind.SPATIAL, "behind", [BESIDE, BESIDE], False),  # depth_order says otherwise
        (
            RelationKind.DYNAMIC,
            "passes",
            [BOX.translate(0.0, 0.5), BOX.translate(0.3, 0.5)],
            False,
        ),  # from even with it
        (RelationKind.DYNAMIC, "passes", [BESIDE, BESIDE.translate(-0.32, 0.0)], True),  # centre 0.6 to 0.28, over 0.3
        (RelationKind.DYNAMIC, "passes", [BESIDE, BESIDE.translate(-0.28, 0.0)], False),
        (RelationKind.DYNAMIC, "moves toward", [BOX, BOX.translate(0.0, 0.1)], True),
        (RelationKind.DYNAMIC, "moves toward", [BOX, BOX.translate(0.0, -0.1)], False),
        (RelationKind.DYNAMIC, "runs away from", [BOX, BOX.translate(0.0, -0.1)], True),
        (RelationKind.DYNAMIC, "jumps onto", [BOX, BOX], False),
        (RelationKind.DYNAMIC, "jumps onto", [BOX, BOX.translate(0.0, 0.3)], True),
        (RelationKind.DYNAMIC, "admires", [BOX, BOX], True),
    ],
)
def test_relations_on_a_layout(kind, phrase, boxes, good):
    assert (broken(layout(boxes, relation=(kind, phrase))) == set()) is good


@pytest.mark.parametrize("parent", ["b", None])
def test_a_part_hangs_on_its_whole_wherever_that_is(parent):
    """A skirt is below the middle of its dancer, and on her all the same; a stranger would not be."""
    below = Box(0.15, 0.8, 0.45, 0.88)
    checked = layout([below, below], relation=(RelationKind.SPATIAL, "on"), parent=parent)
    assert broken(checked) == (set() if parent else {"spatial_relations_hold"})


@pytest.mark.parametrize(
    ("bird", "good"),
    [
        (Phase(label=RIGID, direction=Direction.RIGHT, speed=Speed.FAST), True),  # carried along
        (Phase(label=STILL), False),  # left behind in the air
        (Phase(label=RIGID, direction=Direction.UP), True),  # it leaves by itself
    ],
)
def test_what_is_on_a_carrier_is_still_on_it_in_the_last_frame(parser, bird, good):
    reading = parser.read("a bird sits on a dog that runs to the right", 0, None).reading
    _, dog = reading.cues
    cues = (InstanceCues(instance="bird", phases=(bird,)), dog)
    laid_out = lay_out(reading.model_copy(update={"cues": cues}), Request("a prompt", 9, 720, 480, 0))
    assert ("spatial_relations_hold" not in broken(laid_out)) is good


@pytest.mark.parametrize(
    ("phrase", "kind", "arrangement"),
    [
        ("sits on the left side of", RelationKind.SPATIAL, Arrangement.LEFT_OF),
        ("is on top of", RelationKind.SPATIAL, Arrangement.ON),
        ("in front of", RelationKind.SPATIAL, Arrangement.IN_FRONT_OF),
        ("in", RelationKind.SPATIAL, Arrangement.IN),
        ("walks away from", RelationKind.DYNAMIC, Arrangement.AWAY_FROM),
        ("watches", RelationKind.DYNAMIC, None),
        ("is parked by", RelationKind.SPATIAL, Arrangement.NEXT_TO),
        ("is chased by", RelationKind.DYNAMIC, None),
        ("passes by", RelationKind.DYNAMIC, Arrangement.PAST),
    ],
)
def test_phrases(phrase, kind, arrangement):
    assert arrangement_of(phrase, kind) is arrangement


def test_every_arrangement_has_a_phrase():
    assert set(PHRASES.values()) == set(Arrangement)


@pytest.mark.parametrize(
    ("arrangement", "a", "good"),
    [
        (Arrangement.LEFT_OF, Box.around(0.2, 0.5, 0.1, 0.2), True),
        (Arrangement.LEFT_OF, Box.around(0.4, 0.3, 0.1, 0.2), False),  # farther up than left
        (Arrangement.RIGHT_OF, Box.around(0.8, 0.5, 0.1, 0.2), True),
        (Arrangement.ABOVE, Box.around(0.5, 0.1, 0.1, 0.1), True),
        (Arrangement.ON, Box.around(0.5, 0.3, 0.1, 0.2), True),
        (Arrangement.ON, Box.around(0.5, 0.1, 0.1, 0.1), False),  # hovers
        (Arrangement.BELOW, Box.around(0.5, 0.9, 0.1, 0.1), True),
        (Arrangement.IN, Box.around(0.55, 0.45, 0.1, 0.1), True),
        (Arrangement.IN, Box.around(0.8, 0.45, 0.1, 0.1), False),
        (Arrangement.NEXT_TO, Box.around(0.8, 0.5, 0.1, 0.2), True),
        (Arrangement.NEXT_TO, Box.around(0.95, 0.5, 0.1, 0.2), False),
    ],
)
def test_arrangements_against_a_box_in_the_middle(arrangement, a, good):
    """The other box spans 0.4 to 0.6 in x and 0.4 to 0.6 in y."""
    assert holds(arrangement, a, Box(0.4, 0.4, 0.6, 0.6)) is good


class Contradicting:
    """Says that a ball is left and right of a box, and drops what is found not to hold, as the parser does."""

    name = model = version = "contradicting"

    def __init__(self, parser, learns):
        self.parser = parser
        self.learns = learns

    def read(self, prompt: str, seed: int, rejected: Rejected | None) -> Explained:
        if rejected is not None and self.learns:
            return self.parser.read("a ball on the left of a box", seed, rejected)
        reading = self.parser.read("a ball on the left of a box", seed, None).reading
        behind = reading.graph.relations[0].model_copy(update={"phrase": "moves toward", "kind": RelationKind.DYNAMIC})
        graph = reading.graph.model_copy(update={"relations": (behind,)})
        return Explained(reading.model_copy(update={"graph": graph}))

    def check(self) -> None: ...


def test_the_parser_leaves_out_what_its_boxes_cannot_show(parser):
    made = plan(Contradicting(parser, learns=True), Request("a ball on the left of a box", 9, 720, 480, 0))
    assert made.graph.relations == ()


def test_a_planner_that_does_not_learn_fails_with_the_rule(parser):
    with pytest.raises(PlanningFailed, match="dynamic_relations_hold: 'ball' is not 'moves toward' 'box'") as failure:
        plan(Contradicting(parser, learns=False), Request("a ball on the left of a box", 9, 720, 480, 0))
    assert failure.value.violations[0].field == "graph.relations.0"
