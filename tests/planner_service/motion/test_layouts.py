"""Whatever the cues: boxes in every frame, inside it, true to their labels."""

import math
import os
from itertools import combinations, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner_service.explanation import Explained
from planner_service.motion.arrangements import PHRASES, gap
from planner_service.motion.cues import (
    Direction,
    Edge,
    Goal,
    InstanceCues,
    Manner,
    Phase,
    Pickup,
    Place,
    Reading,
    Size,
    Speed,
)
from planner_service.motion.nouns import noun_of
from planner_service.motion.sizes import FARTHER
from planner_service.parser.planner import Parser
from planner_service.reasoning import Rejected, Request, lay_out, plan
from planner_service.rules.violations import violations
from shared.errors import PlanningFailed
from shared.geometry import MINIMUM_SIDE
from shared.motion_graph import Instance, MotionGraph, MotionLabel, Relation, RelationKind
from shared.plan import ASPECT_TOLERANCE, Plan

RELATION_RULES = (
    "what_is_related_is_seen_together",
    "spatial_relations_hold",
    "depth_is_shown",
    "dynamic_relations_hold",
    "passing_changes_the_order",
)
NAMES = ("bird", "truck", "red car", "tiny ant", "house", "widget", "person", "flag", "arm", "long skirt")


@st.composite
def phases(draw: st.DrawFn, others: list[str]) -> tuple[Phase, ...]:
    count = draw(st.integers(1, 4))
    shown = draw(st.lists(st.sampled_from([True, True, True, False]), min_size=count, max_size=count).filter(any))
    first, last = shown.index(True), count - 1 - shown[::-1].index(True)
    made = []
    for index in range(count):
        label = draw(st.sampled_from(MotionLabel)) if shown[index] else MotionLabel.MOTIONLESS
        until = 1.0 if index == count - 1 else (index + draw(st.floats(0.05, 0.95))) / count
        sudden = draw(st.booleans())
        if label is MotionLabel.MOTIONLESS:
            made.append(Phase(label=label, until=until, sudden=sudden, absent=not shown[index]))
            continue
        movement: dict[str, object] = {}
        kind = draw(st.sampled_from(["none", "direction", "goal", "path", "leaves"]))
        if kind == "direction":
            movement = {"direction": draw(st.sampled_from(Direction))}
        elif kind == "goal" and others:
            movement = {"target": draw(st.sampled_from(others)), "goal": draw(st.sampled_from(Goal))}
        elif kind == "path":
            movement = {"path": tuple(draw(st.lists(st.sampled_from(Place), min_size=1, max_size=4)))}
        elif kind == "leaves" and index == last:
            movement = {"leaves": draw(st.sampled_from(Edge))}
        if index == first:
            movement["enters"] = draw(st.sampled_from([None, None, *Edge]))
        made.append(
            Phase(
                label=label,
                until=until,
                speed=draw(st.sampled_from(Speed)),
                pickup=draw(st.sampled_from(Pickup)),
                scale=draw(st.floats(0.25, 4.0)),
                sudden=sudden,
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


EXAMPLES = int(os.environ.get("PLANNER_EXAMPLES", "40"))
"""How many readings each property is tried on; PLANNER_EXAMPLES=5000 is for a long look by hand."""
SIZES = st.sampled_from([(720, 480), (64, 48), (320, 576)])
thorough = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Dreaming:
    """Reads whatever it has dreamt of into any prompt."""

    name = model = version = "dreaming"

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    def read(self, prompt: str, seed: int, rejected: Rejected | None) -> Explained:
        return Explained(self.reading)

    def check(self) -> None: ...


@pytest.mark.timeout(EXAMPLES * 10)
@thorough
@given(readings(), st.integers(8, 241), SIZES, st.integers(0, 3))
def test_any_reading_gives_a_valid_plan_or_a_named_violation(
    reading: Reading, frames: int, size: tuple[int, int], seed: int
) -> None:
    try:
        made = plan(Dreaming(reading), Request("a prompt", frames, *size, seed))
    except PlanningFailed as failure:
        broken = {reason.message.split(":")[0] for reason in failure.violations}
        assert broken <= {*RELATION_RULES, "everything_is_seen"}
        return
    assert Plan.model_validate_json(made.model_dump_json()) == made
    assert made.frames == frames


@pytest.mark.timeout(EXAMPLES * 10)
@thorough
@given(readings(), st.integers(8, 241), SIZES, st.integers(0, 3))
def test_any_cues_give_a_layout_that_only_relations_can_fault(
    reading: Reading, frames: int, size: tuple[int, int], seed: int
) -> None:
    layout = lay_out(reading, Request("a prompt", frames, *size, seed))
    faults = {fault.message.split(":")[0] for fault in violations(layout)}
    assert faults <= {*RELATION_RULES, "everything_is_seen"}
    assert [track.instance for track in layout.tracks] == list(reading.graph.ids)
    for track in layout.tracks:
        assert len(track.boxes) == frames
        assert track.phases[0].start == 0
        assert track.phases[-1].end == frames - 1
        assert all(a.end + 1 == b.start for a, b in pairwise(track.phases))
        for box in track.boxes:
            assert all(math.isfinite(side) and 0 <= side <= 1 for side in box)
            assert min(box.width, box.height) >= MINIMUM_SIDE - 1e-9
        parent = reading.graph[track.instance].parent
        if parent is None:
            for phase in track.phases:
                boxes = track.boxes[phase.start : phase.end + 1]
                if phase.label is MotionLabel.MOTIONLESS:
                    assert set(boxes) == {boxes[0]}
                if phase.label is MotionLabel.RIGID:
                    aspects = [box.aspect for box in boxes]
                    assert max(aspects) <= min(aspects) * (1 + ASPECT_TOLERANCE)
        else:
            whole = layout.track(parent)
            for own, theirs in zip(track.boxes, whole.boxes, strict=True):
                assert gap(own, theirs) == 0
                assert own.width <= theirs.width + 1e-9
                assert own.height <= theirs.height + 1e-9
            assert all(there or not here for here, there in zip(track.present, whole.present, strict=True))


@pytest.mark.timeout(EXAMPLES * 10)
@thorough
@given(readings(), st.integers(8, 241), SIZES)
def test_any_number_of_frames_shows_the_same_path(reading: Reading, frames: int, size: tuple[int, int]) -> None:
    """Each frame is the path of 241 frames at its moment, in proportion between two of these."""
    few = lay_out(reading, Request("a prompt", frames, *size, 0))
    many = lay_out(reading, Request("a prompt", 241, *size, 0))
    for own, finest in zip(few.tracks, many.tracks, strict=True):
        for frame, box in enumerate(own.boxes):
            tick, rest = divmod(frame * 240, frames - 1)
            after = finest.boxes[min(tick + 1, 240)]
            share = rest / (frames - 1)
            between = [p + (q - p) * share for p, q in zip(finest.boxes[tick], after, strict=True)]
            assert box == pytest.approx(between, abs=1e-9)
            assert own.present[frame] == finest.present[tick + (rest > 0)]


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


@pytest.mark.parametrize("frames", [8, 49, 241])
def test_a_path_goes_through_the_named_places_and_ends_at_the_last(frames: int) -> None:
    phase = Phase(label=MotionLabel.RIGID, path=(Place.UPPER_LEFT, Place.RIGHT))
    boxes = lay_out(one(phase, place=Place.LOWER_LEFT), Request("x", frames, 720, 480, 0)).tracks[0].boxes
    assert boxes[0].center == pytest.approx((0.2, 0.78), abs=0.05)
    assert min(math.dist(box.center, (0.2, 0.25)) for box in boxes) < 0.09
    assert boxes[-1].center == pytest.approx((0.8, 0.55), abs=0.05)


def test_what_enters_begins_at_an_edge_and_what_leaves_ends_at_one() -> None:
    phase = Phase(label=MotionLabel.RIGID, enters=Edge.LEFT, leaves=Edge.RIGHT)
    (track,) = lay_out(one(phase), Request("x", 17, 720, 480, 0)).tracks
    assert (track.boxes[0].x0, track.boxes[-1].x1) == pytest.approx((0.0, 1.0), abs=1e-5)
    # an eighth of the clip at either end is for crossing the edge: frames 0 to 2, and 15 and 16
    assert track.present == (False,) * 3 + (True,) * 12 + (False,) * 2


def test_what_appears_is_there_from_then_on_and_what_disappears_no_more() -> None:
    """Absent up to a quarter of 16 steps, frames 0 to 4, and from three quarters on, frames 13 to 16."""
    gone, back = (Phase(label=MotionLabel.MOTIONLESS, until=until, absent=True) for until in (0.25, 1.0))
    there = Phase(label=MotionLabel.RIGID, until=0.75, direction=Direction.RIGHT)
    reading = one(there.model_copy(update={"until": 1.0}))
    cues = InstanceCues(instance="car", phases=(gone, there, back))
    (track,) = lay_out(reading.model_copy(update={"cues": (cues,)}), Request("x", 17, 720, 480, 0)).tracks
    assert track.present == (False,) * 5 + (True,) * 8 + (False,) * 4
    assert len(set(track.boxes[:5])) == len(set(track.boxes[13:])) == 1
    assert [phase.label for phase in track.phases] == [gone.label, there.label, back.label]


def dancer(*, enters: Edge | None = None, scale: float = 1.0) -> Reading:
    """A dancer with two arms and a skirt, each of which moves by itself as well."""
    labels = {"dancer": MotionLabel.NON_RIGID, "arm_1": MotionLabel.RIGID, "arm_2": MotionLabel.RIGID}
    labels["skirt"] = MotionLabel.NON_RIGID
    own = {
        "dancer": Phase(label=labels["dancer"], manner=Manner.DANCE, enters=enters, scale=scale),
        "arm_1": Phase(label=labels["arm_1"], direction=Direction.UP),
        "arm_2": Phase(label=labels["arm_2"], direction=Direction.DOWN),
        "skirt": Phase(label=labels["skirt"], manner=Manner.FLUTTER),
    }
    instances = tuple(
        Instance(
            id=name,
            name=name.split("_")[0],
            description=name,
            label=label,
            parent=None if name == "dancer" else "dancer",
        )
        for name, label in labels.items()
    )
    return Reading(
        graph=MotionGraph(instances=instances),
        background="a stage",
        cues=tuple(InstanceCues(instance=name, phases=(phase,)) for name, phase in own.items()),
        depth_order=tuple(reversed(labels)),
    )


def test_the_parts_of_a_dancer_hang_where_they_belong_and_grow_with_her() -> None:
    layout = lay_out(dancer(scale=1.5), Request("x", 49, 720, 480, 0))
    assert violations(layout) == ()
    whole, left, right, skirt = (track.boxes for track in layout.tracks)
    assert left[0].center[0] < whole[0].center[0] < right[0].center[0]
    assert left[0].center[1] == pytest.approx(right[0].center[1])
    assert skirt[0].center[1] > left[0].center[1]
    for part in (left, right, skirt):
        assert part[-1].height / part[0].height == pytest.approx(1.5, abs=0.001)
        assert all(whole[f].x0 <= part[f].center[0] <= whole[f].x1 for f in range(49))
    rises = [(part[-1].center[1] - whole[-1].y0) / whole[-1].height for part in (left, right)]
    assert rises[0] < 0.4 < rises[1]


def test_parts_come_in_with_their_whole() -> None:
    whole, *parts = lay_out(dancer(enters=Edge.LEFT), Request("x", 17, 720, 480, 0)).tracks
    assert whole.present == (False,) * 3 + (True,) * 14
    assert [part.present for part in parts] == [whole.present] * 3


def bird(*, size: Size | None = None, manner: Manner | None = None) -> Reading:
    """A bird in a cage of 0.2 by 0.25; `size` and `manner` are its wing's."""
    still, flapping = Phase(label=MotionLabel.MOTIONLESS), Phase(label=MotionLabel.NON_RIGID, manner=manner)
    cage = Instance(id="cage", name="cage", description="a cage", label=still.label)
    body = Instance(id="bird", name="bird", description="a bird", label=still.label)
    wing = Instance(id="wing", name="wing", description="a wing", label=flapping.label, parent="bird")
    inside = Relation(source="bird", target="cage", kind=RelationKind.SPATIAL, phrase="in")
    return Reading(
        graph=MotionGraph(instances=(cage, body, wing), relations=(inside,)),
        background="a room",
        cues=(
            InstanceCues(instance="cage", size=Size(width=0.2, height=0.25), phases=(still,)),
            InstanceCues(instance="bird", phases=(still,)),
            InstanceCues(instance="wing", size=size, phases=(flapping,)),
        ),
        depth_order=("wing", "bird", "cage"),
    )


def test_a_part_takes_its_share_of_a_whole_that_is_made_to_fit() -> None:
    """A wing has 0.48 of a bird's width and 0.55 of its height, also where the bird has 0.6 of its cage's width."""
    _, body, wing = (track.boxes[0] for track in lay_out(bird(), Request("x", 17, 720, 480, 0)).tracks)
    assert body.width == pytest.approx(0.6 * 0.2)
    assert (wing.width / body.width, wing.height / body.height) == pytest.approx((0.48, 0.55))


def test_a_part_is_cut_to_its_whole_whatever_its_cue_says() -> None:
    """Of 0.4 by 0.03 on a bird that is smaller: nearly its width, and the height asked for."""
    reading = bird(size=Size(width=0.4, height=0.03))
    _, body, wing = (track.boxes[0] for track in lay_out(reading, Request("x", 17, 720, 480, 0)).tracks)
    assert (wing.width, wing.height) == pytest.approx((0.95 * body.width, 0.03))


def test_a_part_deforms_no_wider_than_its_whole() -> None:
    """The dance spreads it by 0.18 of its width, from 0.95 of its whole's."""
    reading = bird(size=Size(width=0.4, height=0.03), manner=Manner.DANCE)
    _, body, wing = lay_out(reading, Request("x", 49, 720, 480, 0)).tracks
    assert max(box.width for box in wing.boxes) == pytest.approx(body.boxes[0].width)
    assert min(box.width for box in wing.boxes) < 0.95 * body.boxes[0].width


@pytest.mark.parametrize("phrase", ["behind", "in front of"])
def test_depth_is_shown_by_order_overlap_and_size(phrase: str) -> None:
    """Of two equal boxes the farther one is smaller, partly covered, and stands higher in the picture."""
    still = Phase(label=MotionLabel.MOTIONLESS)
    instances = tuple(Instance(id=name, name="box", description=name, label=still.label) for name in ("a", "b"))
    relation = Relation(source="a", target="b", kind=RelationKind.SPATIAL, phrase=phrase)
    reading = Reading(
        graph=MotionGraph(instances=instances, relations=(relation,)),
        background="a floor",
        cues=tuple(InstanceCues(instance=name, phases=(still,)) for name in ("a", "b")),
        depth_order=("b", "a") if phrase == "behind" else ("a", "b"),
    )
    layout = lay_out(reading, Request("x", 8, 720, 480, 0))
    assert violations(layout) == ()
    near, far = (layout.track(name).boxes[0] for name in reading.depth_order)
    assert far.width == pytest.approx(FARTHER * near.width)
    assert 0 < far.overlap(near) < 0.6 * far.area
    assert far.y1 < near.y1


def test_what_passes_something_begins_on_one_side_and_ends_on_the_other() -> None:
    moving = Phase(label=MotionLabel.RIGID, direction=Direction.RIGHT)
    instances = tuple(
        Instance(id=name, name=name, description=name, label=label)
        for name, label in (("car", MotionLabel.RIGID), ("tree", MotionLabel.MOTIONLESS))
    )
    relation = Relation(source="car", target="tree", kind=RelationKind.DYNAMIC, phrase="drives past")
    reading = Reading(
        graph=MotionGraph(instances=instances, relations=(relation,)),
        background="a road",
        cues=(
            InstanceCues(instance="car", phases=(moving,)),
            InstanceCues(instance="tree", phases=(Phase(label=MotionLabel.MOTIONLESS),)),
        ),
        depth_order=("car", "tree"),
    )
    layout = lay_out(reading, Request("x", 17, 720, 480, 0))
    assert violations(layout) == ()
    car, tree = (track.boxes for track in layout.tracks)
    assert car[0].center[0] < tree[0].center[0] < car[-1].center[0]


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


@pytest.mark.parametrize("prompt", ["three dogs run to the left on a beach", "four cats walk to the right"])
def test_a_group_on_its_way_is_made_smaller_rather_than_piled_up(parser: Parser, prompt: str) -> None:
    made = plan(parser, Request(prompt, 17, 720, 480, 0))
    for a, b in combinations([track.boxes for track in made.tracks], 2):
        assert all(p.overlap(q) < 0.35 * min(p.area, q.area) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize(
    "way",
    [{"path": (Place.UPPER_LEFT, Place.RIGHT)}, {"enters": Edge.LEFT}, {"direction": Direction.RIGHT, "scale": 1.3}],
)
def test_a_rider_goes_the_way_of_what_carries_it(way: dict[str, object]) -> None:
    phase = Phase(label=MotionLabel.RIGID, **way)
    instances = tuple(Instance(id=name, name=name, description=name, label=phase.label) for name in ("bird", "truck"))
    on = Relation(source="bird", target="truck", kind=RelationKind.SPATIAL, phrase="on")
    reading = Reading(
        graph=MotionGraph(instances=instances, relations=(on,)),
        background="a road",
        cues=tuple(InstanceCues(instance=name, phases=(phase,)) for name in ("bird", "truck")),
        depth_order=("bird", "truck"),
    )
    bird, truck = lay_out(reading, Request("x", 17, 720, 480, 0)).tracks
    assert bird.present == truck.present
    ways = [
        [(p.center[0] - own[0].center[0], p.center[1] - own[0].center[1]) for p in own]
        for own in (bird.boxes, truck.boxes)
    ]
    for one_step, other_step in zip(*ways, strict=True):
        assert one_step == pytest.approx(other_step, abs=0.05)


def test_a_goal_is_where_its_target_is_by_then() -> None:
    """A dog walks to a ball in the first half; in the second the ball rolls away to the right."""
    still = Phase(label=MotionLabel.MOTIONLESS)
    first_still = still.model_copy(update={"until": 0.5})
    toward = Phase(label=MotionLabel.RIGID, until=0.5, target="ball", goal=Goal.TOWARD)
    away = Phase(label=MotionLabel.RIGID, direction=Direction.RIGHT)
    instances = tuple(Instance(id=name, name=name, description=name, label=away.label) for name in ("dog", "ball"))
    reading = Reading(
        graph=MotionGraph(instances=instances),
        background="a lawn",
        cues=(
            InstanceCues(instance="dog", place=Place.LEFT, phases=(toward, still)),
            InstanceCues(instance="ball", phases=(first_still, away)),
        ),
        depth_order=("dog", "ball"),
    )
    dog, ball = (track.boxes for track in lay_out(reading, Request("x", 17, 720, 480, 0)).tracks)
    assert ball[-1].x0 - ball[8].x0 > 0.1
    assert gap(dog[8], ball[8]) < 0.01
    assert gap(dog[-1], ball[-1]) > 0.1


@pytest.mark.parametrize(
    ("prompt", "chaser", "chased", "sign"),
    [
        ("a cat chases a mouse", "cat", "mouse", 1),
        ("a mouse is chased by a cat", "cat", "mouse", 1),
        ("a dog chases a rabbit to the left", "dog", "rabbit", -1),
    ],
)
def test_what_chases_something_comes_after_it(parser: Parser, prompt: str, chaser: str, chased: str, sign: int) -> None:
    boxes = {track.instance: track.boxes for track in plan(parser, Request(prompt, 17, 720, 480, 0)).tracks}
    ahead = [sign * (b.center[0] - a.center[0]) for a, b in zip(boxes[chaser], boxes[chased], strict=True)]
    assert min(ahead) > 0.1


def test_what_stands_on_the_ground_is_made_smaller_rather_than_lifted(parser: Parser) -> None:
    """A dog that must have a way to go to a cat has it beside the cat, not above."""
    made = plan(parser, Request("a dog approaches a cat and a bird", 17, 720, 480, 0))
    assert made.tracks[0].boxes[0].y1 > 0.8


@pytest.mark.parametrize(
    "prompt", ["a bus and a truck pass each other", "a bus drives past a house", "a cat runs past a dog"]
)
def test_what_passes_something_has_room_on_both_sides(parser: Parser, prompt: str) -> None:
    """It goes at least a fifth of the frame, at more than half of what it usually measures."""
    made = plan(parser, Request(prompt, 17, 720, 480, 0))
    boxes = made.tracks[0].boxes
    noun = noun_of(made.graph.instances[0].name)
    assert abs(boxes[-1].center[0] - boxes[0].center[0]) > 0.2
    assert boxes[0].height > noun.height / 2


def test_a_crowd_that_finds_no_room_at_any_size_is_laid_out_all_the_same(parser: Parser) -> None:
    prompt = (
        "Two figure skaters glide across the ice hand in hand. He lifts her above his head and she spreads her arms. "
        "The audience claps. A waitress in roller skates carries two milkshakes to a pink convertible. The driver "
        "takes one and tips his hat. A jukebox plays in the background. Two spotlights glow."
    )
    assert len(plan(parser, Request(prompt, 17, 720, 480, 0)).tracks) > 12
