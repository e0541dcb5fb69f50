"""The picture of a plan: every label in its colour, every relation and name said, no text over another."""

from itertools import combinations, permutations

import pytest

from planner_service.drawing.canvas import COLORS, shorten, text_width, wrap
from planner_service.drawing.picture import compose, draw_plan
from planner_service.motion.cues import InstanceCues, Phase, Reading
from planner_service.reasoning import Request, lay_out, plan
from shared.motion_graph import Instance, MotionGraph, MotionLabel, Relation, RelationKind
from shared.plan import Plan

PROMPTS = {
    1: "a red car drives to the right",
    2: "On a grassy field, a rabbit is on the left of a stone, then the rabbit jumps to the right of the stone.",
    3: "A truck passes by, with a bird perching in a tree behind",
    4: "three dogs run toward a ball",
    8: "two cats chase three mice while a dog sits next to a man in front of a house",
    16: "eight dogs and eight cats run to the left",
    32: "sixteen dogs and sixteen cats run to the left",
}


def overlapping(canvas) -> list[tuple[str, str]]:
    return [(a, b) for (a, box), (b, other) in combinations(canvas.texts, 2) if box.overlap(other) > 0]


@pytest.mark.parametrize("size", [(720, 480), (320, 576)])
@pytest.mark.parametrize("count", PROMPTS)
def test_no_text_covers_another_and_every_relation_is_said(parser, count, size):
    made = plan(parser, Request(PROMPTS[count], 49, *size, 0))
    assert len(made.tracks) == count
    canvas = compose(made, size[0] / size[1])
    assert overlapping(canvas) == []
    said = [text for text, _ in canvas.texts]
    for phrase in {relation.phrase for relation in made.graph.relations}:
        assert said.count(phrase) == sum(relation.phrase == phrase for relation in made.graph.relations)


def test_each_frame_names_what_is_in_it(parser):
    made = plan(parser, Request(PROMPTS[3], 49, 720, 480, 0))
    said = [text for text, _ in compose(made, 1.5).texts]
    for name in ("1 truck", "2 bird", "3 tree"):
        assert said.count(name) == 6


def test_a_picture_shows_every_label_in_its_colour(parser):
    prompt = "a car drives past a tree while a woman dances"
    picture = draw_plan(plan(parser, Request(prompt, 16, 720, 480, 0)), 1.5)
    colors = {color for _, color in picture.getcolors(maxcolors=1 << 20)}
    for label in MotionLabel:
        assert tuple(bytes.fromhex(COLORS[label][1:])) in colors


STILL = Phase(label=MotionLabel.MOTIONLESS)


def staged(
    phases: dict[str, tuple[Phase, ...]], relations: list[tuple[str, str, str]], parents: dict[str, str]
) -> Plan:
    """Motionless things on a stage, in 17 frames."""
    instances = tuple(
        Instance(id=name, name=name, description=name, label=STILL.label, parent=parents.get(name)) for name in phases
    )
    edges = tuple(
        Relation(source=source, target=target, kind=RelationKind.DYNAMIC, phrase=phrase)
        for source, phrase, target in relations
    )
    reading = Reading(
        graph=MotionGraph(instances=instances, relations=edges),
        background="a stage",
        cues=tuple(InstanceCues(instance=name, phases=its) for name, its in phases.items()),
        depth_order=tuple(phases),
    )
    layout = lay_out(reading, Request("on stage", 17, 720, 480, 0))
    return Plan(
        prompt="on stage",
        graph=reading.graph,
        background=reading.background,
        tracks=layout.tracks,
        depth_order=reading.depth_order,
    )


def test_what_is_absent_is_in_no_frame_and_a_part_is_tied_to_its_whole():
    """Of the frames 0, 3, 6, 10, 13 and 16 the curtain is there in the last three: from after frame 8 on."""
    hidden = STILL.model_copy(update={"until": 0.5, "absent": True})
    phases = {"singer": (STILL,), "hat": (STILL,), "curtain": (hidden, STILL)}
    canvas = compose(staged(phases, [("singer", "pulls", "curtain")], {"hat": "singer"}), 1.5)
    said = [text for text, _ in canvas.texts]
    assert said.count("1 singer") == 6
    assert said.count("3 curtain") == 3
    assert said.count("absent") == said.count("part of") == said.count("pulls") == 1
    assert overlapping(canvas) == []


def test_phrases_of_crossing_arrows_stand_apart():
    """Everybody looks at everybody else, so six pairs of opposite arrows cross in the middle."""
    names = ("a", "b", "c", "d")
    relations = [(x, f"looks closely at {y}", y) for x, y in permutations(names, 2)]
    canvas = compose(staged({name: (STILL,) for name in names}, relations, {}), 1.5)
    assert overlapping(canvas) == []
    assert sum("looks closely" in text for text, _ in canvas.texts) == len(relations)


def test_text_is_fitted_by_its_width():
    assert shorten("a dog", 12, 200) == "a dog"
    cut = shorten("a very long name of a dog", 12, 60)
    assert cut.endswith("…")
    assert text_width(cut, 12) <= 60
    assert wrap("one two three four five six", 12, 70, lines=2)[0] == "one two"
    assert len(wrap("one two three four five six", 12, 70, lines=2)) == 2
