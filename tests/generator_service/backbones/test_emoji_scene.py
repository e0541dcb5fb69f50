"""A plan becomes one that the emoji world can draw: cast, motions, sizes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from emoji_world import grammar
from emoji_world.scene import CLEARANCE_PX
from emoji_world.spec import SECOND_WORLD, WORLD
from generator_service.backbones.emoji_scene import CROWDED, STRETCH, emoji_scene
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel, Relation, RelationKind
from shared.plan import Phase, Plan, Track

FRAMES = 9


def plan_of(*things: tuple[str, MotionLabel, Sequence[Box]], **changes: Any) -> Plan:
    """things: name, label and boxes; ids are a, b, c, …"""
    ids = "abcdef"[: len(things)]
    return Plan(
        prompt="a prompt",
        graph=MotionGraph(
            instances=tuple(
                Instance(
                    id=its,
                    name=name,
                    description=name,
                    label=label,
                    parent=changes.get("parents", {}).get(its),
                    attributes=changes.get("attributes", ()),
                )
                for its, (name, label, _) in zip(ids, things, strict=True)
            ),
            relations=changes.get("relations", ()),
        ),
        background=changes.get("background", "a place"),
        tracks=tuple(
            Track(instance=its, phases=changes.get("phases", _throughout(label, boxes)), boxes=tuple(boxes))
            for its, (_, label, boxes) in zip(ids, things, strict=True)
        ),
        depth_order=tuple(ids),
    )


def _throughout(label: MotionLabel, boxes: Sequence[Box]) -> tuple[Phase, ...]:
    return (Phase(label=label, start=0, end=len(boxes) - 1),)


def still(x: float = 0.5, y: float = 0.5, width: float = 0.1, height: float = 0.1) -> tuple[Box, ...]:
    return (Box.around(x, y, width, height),) * FRAMES


def moving(dx: float, dy: float) -> tuple[Box, ...]:
    return tuple(Box.around(0.5 + dx * k / 8, 0.5 + dy * k / 8, 0.2, 0.2) for k in range(FRAMES))


def test_wholes_come_before_parts_and_no_more_are_drawn_than_the_world_can_have() -> None:
    plan = plan_of(
        ("wheel", MotionLabel.MOTIONLESS, still(0.2)),
        ("green tree", MotionLabel.MOTIONLESS, still(0.2)),
        ("lamp", MotionLabel.MOTIONLESS, still(0.3)),
        ("tree", MotionLabel.MOTIONLESS, still(0.4)),
        ("blue car", MotionLabel.MOTIONLESS, still(0.6)),
        ("puppy", MotionLabel.MOTIONLESS, still(0.8)),
        parents={"a": "e"},
        relations=(
            Relation(source="b", target="e", kind=RelationKind.SPATIAL, phrase="next to"),
            Relation(source="b", target="f", kind=RelationKind.SPATIAL, phrase="next to"),
        ),
    )
    scene = emoji_scene(plan)
    assert [(its, drawn.sprite) for its, drawn in zip(scene.plan.graph.ids, scene.objects, strict=True)] == [
        ("b", "tree"),  # two at most, and of different kinds
        ("e", "car"),
    ]
    assert scene.plan.depth_order == ("b", "e")
    assert [relation.target for relation in scene.plan.graph.relations] == ["e"]
    assert scene.notes == ("'blue car' is drawn as 'red car'", "not drawn: 'wheel', 'lamp', 'tree', 'puppy'")
    wider = emoji_scene(plan, SECOND_WORLD)
    assert [drawn.sprite for drawn in wider.objects] == ["tree", "tree", "car"]
    assert wider.caption == ("two green trees are standing still while a small red car is standing still on the grass")


def test_something_is_always_drawn() -> None:
    scene = emoji_scene(plan_of(("teapot", MotionLabel.MOTIONLESS, still())))
    assert scene.plan.graph.ids == ("a",)
    assert scene.objects[0].sprite == "ball"
    assert scene.notes == ("'teapot' is drawn as 'ball'",)


@pytest.mark.parametrize(
    ("label", "boxes", "motion"),
    [
        (MotionLabel.RIGID, moving(0.3, 0.1), "right"),
        (MotionLabel.RIGID, moving(-0.3, 0.1), "left"),
        (MotionLabel.RIGID, moving(0.1, 0.3), "down"),
        (MotionLabel.NON_RIGID, moving(0.1, -0.3), "up"),
        (MotionLabel.RIGID, moving(0.03, 0.03), "still"),  # 3 px: it has not moved
        (MotionLabel.MOTIONLESS, still(), "still"),
    ],
)
def test_the_caption_says_what_the_boxes_do(label: MotionLabel, boxes: Sequence[Box], motion: str) -> None:
    scene = emoji_scene(plan_of(("sheep", label, boxes)))
    assert scene.objects[0].motion == motion
    assert scene.caption == grammar.caption([grammar.Told("sheep", motion)], scene.background, grammar.first)


def test_a_deformation_is_the_prompts_own_or_what_the_box_changes_most() -> None:
    taller = tuple(Box.around(0.5, 0.5, 0.2, 0.2 + 0.02 * (k % 2)) for k in range(FRAMES))
    wider = tuple(Box.around(0.5, 0.5, 0.2 + 0.02 * (k % 2), 0.2) for k in range(FRAMES))
    for name, attributes, boxes, motion in (
        ("sheep", ("bounces in joy",), wider, "squash"),
        ("sheep", ("is waving",), taller, "sway"),  # the first world does not flutter
        ("sheep", (), wider, "sway"),
        ("sheep", (), taller, "squash"),
    ):
        plan = plan_of((name, MotionLabel.NON_RIGID, boxes), attributes=attributes)
        assert emoji_scene(plan).objects[0].motion == motion
    flag = plan_of(("flag", MotionLabel.NON_RIGID, wider))
    assert emoji_scene(flag, SECOND_WORLD).objects[0].motion == "flutter"


@pytest.mark.parametrize(
    ("boxes", "motion"),
    [
        (moving(0.3, 0.1), "right"),
        (moving(0.2, -0.25), "up-right"),  # 19 px and 16 px
        (tuple(Box.around(0.5, 0.5, 0.1 + 0.02 * k, 0.1 + 0.02 * k) for k in range(FRAMES)), "approach"),
        (tuple(Box.around(0.5 - 0.03 * k, 0.5, 0.3 - 0.02 * k, 0.3 - 0.02 * k) for k in range(FRAMES)), "recede"),
    ],
)
def test_a_wider_world_has_diagonals_and_what_comes_and_goes(boxes: Sequence[Box], motion: str) -> None:
    scene = emoji_scene(plan_of(("horse", MotionLabel.RIGID, boxes)), SECOND_WORLD)
    assert scene.objects[0].motion == motion
    growth = edges(scene.tracks[0].boxes[-1]) / edges(scene.tracks[0].boxes[0])
    assert growth == pytest.approx({"approach": 2.6, "recede": 14.4 / 28.8}.get(motion, 1), rel=0.4)


def test_a_rest_is_told_where_the_world_knows_rests() -> None:
    boxes = still()[:5] + tuple(Box.around(0.5 + 0.1 * k, 0.5, 0.1, 0.1) for k in range(4))
    phases = (
        Phase(label=MotionLabel.MOTIONLESS, start=0, end=4),
        Phase(label=MotionLabel.RIGID, start=5, end=8),
    )
    plan = plan_of(("dog", MotionLabel.RIGID, boxes), phases=phases, background="a beach")
    assert emoji_scene(plan).objects[0].timing == "throughout"
    scene = emoji_scene(plan, SECOND_WORLD)
    assert scene.objects[0].timing == "starts"
    assert scene.caption == "a small brown dog is standing still then walking to the right in the desert"


def edges(box: Box) -> float:
    return max(box.width * WORLD.width, box.height * WORLD.height)


def test_sizes_become_the_worlds_own() -> None:
    small = emoji_scene(plan_of(("car", MotionLabel.RIGID, moving(0.3, 0)))).tracks[0].boxes
    assert [edges(box) for box in small] == pytest.approx([WORLD.size_px[0]] * FRAMES)
    large = emoji_scene(plan_of(("car", MotionLabel.MOTIONLESS, still(width=0.8, height=0.9)))).tracks[0].boxes
    assert edges(large[0]) == pytest.approx(WORLD.size_px[1])
    pair = plan_of(*((name, MotionLabel.MOTIONLESS, still()) for name in ("car", "pig")))
    assert {round(edges(track.boxes[0]), 6) for track in emoji_scene(pair).tracks} == {CROWDED * WORLD.size_px[0]}


def test_centres_stay_where_they_are_planned_as_far_as_the_frame_allows() -> None:
    middle = emoji_scene(plan_of(("car", MotionLabel.MOTIONLESS, still(0.5, 0.4)))).tracks[0].boxes[0]
    assert middle.center == pytest.approx((0.5, 0.4))
    corner = emoji_scene(plan_of(("car", MotionLabel.MOTIONLESS, still(0.95, 0.05)))).tracks[0].boxes[0]
    assert (corner.x1, corner.y0) == (1.0, 0.0)


def test_two_things_are_drawn_apart_the_shortest_way_and_move_as_planned() -> None:
    passing = moving(0.3, 0)  # 0.5 to 0.8, at the height of a cat at 0.65
    scene = emoji_scene(plan_of(("cat", MotionLabel.MOTIONLESS, still(0.65)), ("car", MotionLabel.RIGID, passing)))
    cat, car = (track.boxes for track in scene.tracks)
    assert len(set(cat)) == 1
    ways = np.diff([box.center for box in car], axis=0)
    np.testing.assert_allclose(ways, [(0.3 / 8, 0)] * (FRAMES - 1), atol=1e-9)
    assert [car[0].center[0], cat[0].center[0]] == pytest.approx([0.5, 0.65])  # it passes above or below
    gap = max(car[0].y0 - cat[0].y1, cat[0].y0 - car[0].y1) * WORLD.height
    assert gap == pytest.approx(CLEARANCE_PX)
    assert abs(cat[0].center[1] - 0.5) == pytest.approx(abs(car[0].center[1] - 0.5))
    drawn = emoji_scene(
        plan_of(("cat", MotionLabel.MOTIONLESS, still(0.2, 0.4)), ("car", MotionLabel.MOTIONLESS, still(0.8, 0.4)))
    )
    assert [track.boxes[0].center for track in drawn.tracks] == [pytest.approx((x, 0.4)) for x in (0.2, 0.8)]


def test_where_there_is_no_room_things_stay_where_they_are_planned() -> None:
    big = still(width=0.8, height=0.9)
    across = tuple(Box.around(0.3 + 0.05 * k, 0.5, 0.5, 0.9) for k in range(FRAMES))
    scene = emoji_scene(plan_of(("tree", MotionLabel.MOTIONLESS, big), ("robot", MotionLabel.RIGID, across)))
    assert [track.boxes[0].center for track in scene.tracks] == [pytest.approx((0.5, 0.5)), pytest.approx((0.3, 0.5))]


def test_only_what_deforms_changes_its_size_and_not_beyond_what_the_world_does() -> None:
    boxes = tuple(Box.around(0.5, 0.5, 0.2, height) for height in (0.2,) * 8 + (0.4,))  # mean 0.2222
    deformed = emoji_scene(plan_of(("sheep", MotionLabel.NON_RIGID, boxes))).tracks[0].boxes
    assert deformed[8].height / deformed[0].height == pytest.approx(STRETCH[1] / 0.9)
    assert deformed[8].width == pytest.approx(deformed[0].width)


def test_a_part_whose_whole_is_not_drawn_moves_by_itself() -> None:
    plan = plan_of(
        ("tree", MotionLabel.MOTIONLESS, still(0.2)),
        ("machine", MotionLabel.RIGID, moving(0.3, 0.0)),
        ("car", MotionLabel.MOTIONLESS, moving(0.3, 0.0)),
        parents={"c": "b"},
    )
    scene = emoji_scene(plan)
    assert scene.plan.graph.ids == ("a", "c")
    assert scene.plan.graph["c"].parent is None
    assert scene.tracks[1].phases[0].label is MotionLabel.RIGID


def test_a_box_reads_of_its_own_thing_and_what_is_around_them_of_the_place() -> None:
    car = ("car", MotionLabel.MOTIONLESS, still(0.2))
    alone = emoji_scene(plan_of(car))
    assert alone.descriptions == ("a red car is standing still on the road",)
    assert alone.surroundings == "on the road"
    pair = emoji_scene(plan_of(car, ("pig", MotionLabel.MOTIONLESS, still(0.8))))
    assert pair.descriptions == ("a red car is standing still on the road", "a pink pig is standing still on the road")
