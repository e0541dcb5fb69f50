"""Whatever the cues: boxes in every frame, inside it, true to their labels."""

import math
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner_service.arrangements import PHRASES
from planner_service.cues import Direction, Edge, Goal, InstanceCues, Manner, Phase, Pickup, Place, Reading, Size, Speed
from planner_service.parser.planner import Parser
from planner_service.reasoning import Request, lay_out, plan
from planner_service.rules import violations
from shared.geometry import MINIMUM_SIDE
from shared.motion_graph import Instance, MotionGraph, MotionLabel, Relation, RelationKind
from shared.plan import ASPECT_TOLERANCE

NAMES = ("bird", "truck", "red car", "tiny ant", "house", "widget", "person", "flag")


@st.composite
def phases(draw: st.DrawFn, others: list[str]) -> tuple[Phase, ...]:
    count = draw(st.integers(1, 4))
    made = []
    for index in range(count):
        label = draw(st.sampled_from(MotionLabel))
        until = 1.0 if index == count - 1 else (index + draw(st.floats(0.05, 0.95))) / count
        if label is MotionLabel.MOTIONLESS:
            made.append(Phase(label=label, until=until))
            continue
        movement: dict[str, object] = {}
        kind = draw(st.sampled_from(["none", "direction", "goal", "path", "leaves"]))
        if kind == "direction":
            movement = {"direction": draw(st.sampled_from(Direction))}
        elif kind == "goal" and others:
            movement = {"target": draw(st.sampled_from(others)), "goal": draw(st.sampled_from(Goal))}
        elif kind == "path":
            movement = {"path": tuple(draw(st.lists(st.sampled_from(Place), min_size=1, max_size=4)))}
        elif kind == "leaves" and index == count - 1:
            movement = {"leaves": draw(st.sampled_from(Edge))}
        if not made:
            movement["enters"] = draw(st.sampled_from([None, None, *Edge]))
        made.append(
            Phase(
                label=label,
                until=until,
                speed=draw(st.sampled_from(Speed)),
                pickup=draw(st.sampled_from(Pickup)),
                scale=draw(st.floats(0.25, 4.0)),
                sudden=draw(st.booleans()),
                manner=draw(st.sampled_from([None, *Manner])) if label is MotionLabel.NON_RIGID else None,
                **movement,
            )
        )
    return tuple(made)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    ids = [f"thing_{index}" for index in range(draw(st.integers(1, 5)))]
    instances, cues = [], []
    for index, name in enumerate(ids):
        own = draw(phases([other for other in ids if other != name]))
        parent = draw(st.sampled_from([None, None, None, *ids[:index]]))
        label = draw(st.sampled_from([phase.label for phase in own]))
        noun = draw(st.sampled_from(NAMES))
        instances.append(Instance(id=name, name=noun, description=noun, label=label, parent=parent))
        size = st.builds(Size, width=st.floats(MINIMUM_SIDE, 1.0), height=st.floats(MINIMUM_SIDE, 1.0))
        cues.append(
            InstanceCues(
                instance=name,
                place=draw(st.sampled_from([None, *Place])),
                size=draw(st.none() | size),
                phases=own,
            )
        )
    pairs = [(a, b) for a in ids for b in ids if a != b]
    relations = [
        Relation(
            source=source,
            target=target,
            kind=draw(st.sampled_from(RelationKind)),
            phrase=draw(st.sampled_from([*PHRASES])),
        )
        for source, target in draw(st.lists(st.sampled_from(pairs), max_size=4, unique=True) if pairs else st.just([]))
    ]
    return Reading(
        graph=MotionGraph(instances=tuple(instances), relations=tuple(relations)),
        background="a field",
        cues=tuple(cues),
        depth_order=tuple(draw(st.permutations(ids))),
    )


@pytest.mark.timeout(300)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(readings(), st.integers(8, 241), st.sampled_from([(720, 480), (64, 48), (320, 576)]), st.integers(0, 3))
def test_any_cues_give_a_layout_that_only_relations_can_fault(
    reading: Reading, frames: int, size: tuple[int, int], seed: int
) -> None:
    layout = lay_out(reading, Request("a prompt", frames, *size, seed))
    faults = [fault for fault in violations(layout) if not fault.message.startswith("relations_hold")]
    assert faults == []
    assert [track.instance for track in layout.tracks] == list(reading.graph.ids)
    for track in layout.tracks:
        assert len(track.boxes) == frames
        assert track.phases[0].start == 0
        assert track.phases[-1].end == frames - 1
        assert all(a.end + 1 == b.start for a, b in pairwise(track.phases))
        for box in track.boxes:
            assert all(math.isfinite(side) and 0 <= side <= 1 for side in box)
            assert min(box.width, box.height) >= MINIMUM_SIDE - 1e-9
        if reading.graph[track.instance].parent is None:
            for phase in track.phases:
                boxes = track.boxes[phase.start : phase.end + 1]
                if phase.label is MotionLabel.MOTIONLESS:
                    assert set(boxes) == {boxes[0]}
                if phase.label is MotionLabel.RIGID:
                    aspects = [box.aspect for box in boxes]
                    assert max(aspects) <= min(aspects) * (1 + ASPECT_TOLERANCE)


def one(phase: Phase, **cues: object) -> Reading:
    instance = Instance(id="car", name="car", description="a car", label=phase.label)
    return Reading(
        graph=MotionGraph(instances=(instance,)),
        background="a road",
        cues=(InstanceCues(instance="car", phases=(phase,), **cues),),
        depth_order=("car",),
    )


@pytest.mark.parametrize("direction", Direction)
def test_a_movement_goes_where_its_cue_says(direction: Direction) -> None:
    reading = one(Phase(label=MotionLabel.RIGID, direction=direction))
    boxes = lay_out(reading, Request("x", 17, 720, 480, 0)).tracks[0].boxes
    dx, dy = (b - a for a, b in zip(boxes[0].center, boxes[-1].center, strict=True))
    signs = (round(dx, 6) > 0) - (round(dx, 6) < 0), (round(dy, 6) > 0) - (round(dy, 6) < 0)
    assert signs == direction.unit
    assert max(abs(dx), abs(dy)) > 0.2


def test_the_same_path_at_any_number_of_frames() -> None:
    reading = one(Phase(label=MotionLabel.RIGID, direction=Direction.UP_LEFT, pickup=Pickup.SPEEDING_UP))
    few = lay_out(reading, Request("x", 13, 720, 480, 0)).tracks[0].boxes
    many = lay_out(reading, Request("x", 241, 720, 480, 0)).tracks[0].boxes
    assert many[0] == pytest.approx(few[0], abs=1e-6)
    assert many[120] == pytest.approx(few[6], abs=0.03)
    assert many[-1] == pytest.approx(few[-1], abs=0.03)


@pytest.mark.parametrize("frames", [8, 49, 241])
def test_a_path_goes_through_the_named_places_and_ends_at_the_last(frames: int) -> None:
    phase = Phase(label=MotionLabel.RIGID, path=(Place.UPPER_LEFT, Place.RIGHT))
    boxes = lay_out(one(phase, place=Place.LOWER_LEFT), Request("x", frames, 720, 480, 0)).tracks[0].boxes
    assert boxes[0].center == pytest.approx((0.2, 0.78), abs=0.05)
    assert min(math.dist(box.center, (0.2, 0.25)) for box in boxes) < 0.09
    assert boxes[-1].center == pytest.approx((0.8, 0.55), abs=0.05)


def test_what_enters_begins_at_an_edge_and_what_leaves_ends_at_one() -> None:
    phase = Phase(label=MotionLabel.RIGID, enters=Edge.LEFT, leaves=Edge.RIGHT)
    boxes = lay_out(one(phase), Request("x", 17, 720, 480, 0)).tracks[0].boxes
    assert (boxes[0].x0, boxes[-1].x1) == pytest.approx((0.0, 1.0), abs=1e-5)


def test_fast_is_farther_than_slow() -> None:
    def travel(speed: Speed) -> float:
        reading = one(Phase(label=MotionLabel.RIGID, direction=Direction.DOWN, speed=speed))
        boxes = lay_out(reading, Request("x", 9, 720, 480, 0)).tracks[0].boxes
        return boxes[-1].y0 - boxes[0].y0

    assert travel(Speed.SLOW) < travel(Speed.NORMAL) < travel(Speed.FAST)


def test_what_approaches_the_camera_grows_in_both_sides() -> None:
    boxes = lay_out(one(Phase(label=MotionLabel.RIGID, scale=1.6)), Request("x", 9, 720, 480, 0)).tracks[0].boxes
    assert boxes[-1].width / boxes[0].width == pytest.approx(1.6)
    assert boxes[-1].height / boxes[0].height == pytest.approx(1.6)


def test_a_size_cue_is_kept() -> None:
    reading = one(Phase(label=MotionLabel.MOTIONLESS), size=Size(width=0.37, height=0.21), place=Place.UPPER_RIGHT)
    box = lay_out(reading, Request("x", 8, 720, 480, 0)).tracks[0].boxes[0]
    assert (box.width, box.height) == pytest.approx((0.37, 0.21))
    assert box.center[0] > 0.6
    assert box.center[1] < 0.4


@pytest.mark.parametrize(
    ("prompt", "nearer"),
    [("two people walk toward each other", True), ("a dog and a cat run away from one another", False)],
)
def test_what_moves_toward_each_other_meets_and_does_not_cross(parser: Parser, prompt: str, nearer: bool) -> None:
    layout = lay_out(parser.read(prompt, 0, None).reading, Request(prompt, 25, 720, 480, 0))
    left, right = sorted((track.boxes for track in layout.tracks), key=lambda boxes: boxes[0].center[0])
    begin, end = (right[frame].center[0] - left[frame].center[0] for frame in (0, -1))
    assert (end < begin - 0.1) if nearer else (end > begin + 0.1)
    assert end > 0.05


@pytest.mark.parametrize("count", ["a", "two", "three", "four"])
@pytest.mark.parametrize(
    ("movers", "target"), [("dog", "cat"), ("person", "house"), ("fish", "tree"), ("car", "table")]
)
def test_what_moves_toward_something_has_a_way_to_go(parser: Parser, count: str, movers: str, target: str) -> None:
    plural = {"person": "people", "fish": "fish"}.get(movers, f"{movers}s")
    prompt = f"{count} {movers} moves toward a {target}" if count == "a" else f"{count} {plural} move toward a {target}"
    made = plan(parser, Request(prompt, 17, 720, 480, 0))
    *moving, _ = made.tracks
    assert len(made.graph.relations) == len(moving) == ["a", "two", "three", "four"].index(count) + 1
    for track in moving:
        assert math.dist(track.boxes[0].center, track.boxes[-1].center) > 0.1


@pytest.mark.parametrize(
    ("prompt", "rider", "carrier"),
    [
        ("a man rides a horse toward a castle", "man", "horse"),
        ("a boy rides a bike away from a dog", "boy", "bike"),
        ("a bird sits on a truck that drives to the right", "bird", "truck"),
        ("a dog sits in a boat that sails to the left", "dog", "boat"),
        ("a woman drives a car to the right", "woman", "car"),
    ],
)
def test_what_is_carried_stays_with_what_carries_it(parser: Parser, prompt: str, rider: str, carrier: str) -> None:
    made = plan(parser, Request(prompt, 17, 720, 480, 0))
    boxes = {track.instance: track.boxes for track in made.tracks}
    (relation,) = [relation for relation in made.graph.relations if relation.target == carrier]
    assert relation.source == rider
    moves = [
        tuple(b - a for a, b in zip(boxes[name][0].center, boxes[name][-1].center, strict=True))
        for name in (rider, carrier)
    ]
    assert math.hypot(*moves[1]) > 0.1
    assert moves[0] == pytest.approx(moves[1], abs=0.01)


def test_a_leg_to_a_goal_starts_where_the_leg_before_really_ended() -> None:
    first = Phase(label=MotionLabel.RIGID, until=0.5, direction=Direction.UP, pickup=Pickup.SPEEDING_UP)
    still = Phase(label=MotionLabel.MOTIONLESS, until=0.6)
    back = Phase(label=MotionLabel.RIGID, target="box", goal=Goal.RIGHT_OF)
    instances = tuple(
        Instance(id=name, name=name, description=name, label=label)
        for name, label in (("ball", MotionLabel.RIGID), ("box", MotionLabel.MOTIONLESS))
    )
    cues = (
        InstanceCues(instance="ball", place=Place.LEFT, phases=(first, still, back)),
        InstanceCues(instance="box", place=Place.CENTER, phases=(Phase(label=MotionLabel.MOTIONLESS),)),
    )
    reading = Reading(
        graph=MotionGraph(instances=instances), background="a floor", cues=cues, depth_order=("ball", "box")
    )
    ball, box = (track.boxes[-1] for track in lay_out(reading, Request("x", 25, 720, 480, 0)).tracks)
    assert ball.y1 == pytest.approx(box.y1, abs=0.002)
