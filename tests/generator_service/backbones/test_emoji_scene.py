"""A plan becomes one that the emoji world can draw: cast, motions, sizes."""

from collections.abc import Sequence
from typing import Any

import pytest

from emoji_world import grammar
from emoji_world.spec import WORLD
from generator_service.backbones.emoji_scene import PAIR_EDGE_PX, STRETCH, EmojiScene, emoji_scene
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel, Relation, RelationKind
from shared.plan import Phase, Plan, Track

FRAMES = 9


def plan_of(prompt: str, *things: tuple[str, MotionLabel, Sequence[Box]], **changes: Any) -> Plan:
    """things: name, label and boxes; ids are a, b, c, …"""
    ids = "abcdef"[: len(things)]
    return Plan(
        prompt=prompt,
        graph=MotionGraph(
            instances=tuple(
                Instance(id=its, name=name, description=name, label=label, parent=changes.get("parents", {}).get(its))
                for its, (name, label, _) in zip(ids, things, strict=True)
            ),
            relations=changes.get("relations", ()),
        ),
        background="a place",
        tracks=tuple(
            Track(instance=its, phases=(Phase(label=label, start=0, end=FRAMES - 1),), boxes=tuple(boxes))
            for its, (_, label, boxes) in zip(ids, things, strict=True)
        ),
        depth_order=tuple(ids),
    )


def scene_of(plan: Plan) -> EmojiScene:
    return emoji_scene(plan.prompt, plan)


def still(x: float = 0.5, y: float = 0.5, width: float = 0.1, height: float = 0.1) -> tuple[Box, ...]:
    return (Box.around(x, y, width, height),) * FRAMES


def moving(dx: float, dy: float) -> tuple[Box, ...]:
    return tuple(Box.around(0.5 + dx * k / 8, 0.5 + dy * k / 8, 0.2, 0.2) for k in range(FRAMES))


def test_each_object_of_the_caption_gets_the_instance_of_its_name() -> None:
    plan = plan_of(
        "a big tree, a puppy and two cars on the road",
        ("tree", MotionLabel.MOTIONLESS, still(0.2)),
        ("puppy", MotionLabel.MOTIONLESS, still(0.4)),
        ("car", MotionLabel.MOTIONLESS, still(0.6)),
        ("car", MotionLabel.MOTIONLESS, still(0.8)),
        relations=(
            Relation(source="a", target="c", kind=RelationKind.SPATIAL, phrase="next to"),
            Relation(source="a", target="b", kind=RelationKind.SPATIAL, phrase="next to"),
        ),
    )
    scene = scene_of(plan)
    assert scene.plan.graph.ids == ("a", "c")  # two at most, what the world has before what it has a stand-in for
    assert [drawn.sprite for drawn in scene.objects] == ["tree", "car"]
    assert scene.plan.depth_order == ("a", "c")
    assert [relation.target for relation in scene.plan.graph.relations] == ["c"]
    assert scene.notes == ("not drawn: 'big', 'two', 'puppy'",)


def test_a_thing_that_the_world_has_no_word_for_is_the_one_that_stands_in() -> None:
    scene = scene_of(plan_of("a teapot", ("teapot", MotionLabel.MOTIONLESS, still())))
    assert [(drawn.noun, drawn.sprite) for drawn in scene.objects] == [("ball", "ball")]


def test_something_is_always_drawn() -> None:
    scene = scene_of(plan_of("a car", ("zebra", MotionLabel.MOTIONLESS, still())))
    assert scene.plan.graph.ids == ("a",)
    assert scene.objects[0].sprite == "car"


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
    scene = scene_of(plan_of("a sheep", ("sheep", label, boxes)))
    assert scene.objects[0].motion == motion
    assert scene.caption == grammar.caption([grammar.Told("sheep", motion)], scene.background, grammar.first)


def test_a_deformation_is_the_prompts_own_or_what_the_box_changes_most() -> None:
    taller = tuple(Box.around(0.5, 0.5, 0.2, 0.2 + 0.02 * (k % 2)) for k in range(FRAMES))
    wider = tuple(Box.around(0.5, 0.5, 0.2 + 0.02 * (k % 2), 0.2) for k in range(FRAMES))
    for prompt, boxes, motion in (
        ("a sheep bounces", wider, "squash"),
        ("a sheep", wider, "sway"),
        ("a sheep", taller, "squash"),
    ):
        assert scene_of(plan_of(prompt, ("sheep", MotionLabel.NON_RIGID, boxes))).objects[0].motion == motion


def edges(box: Box) -> float:
    return max(box.width * WORLD.width, box.height * WORLD.height)


def test_sizes_become_the_worlds_own() -> None:
    small = scene_of(plan_of("a car", ("car", MotionLabel.RIGID, moving(0.3, 0)))).tracks[0].boxes
    assert [edges(box) for box in small] == pytest.approx([WORLD.size_px[0]] * FRAMES)
    large = scene_of(plan_of("a car", ("car", MotionLabel.MOTIONLESS, still(width=0.8, height=0.9)))).tracks[0].boxes
    assert edges(large[0]) == pytest.approx(WORLD.size_px[1])
    pair = plan_of("a car and a pig", *((name, MotionLabel.MOTIONLESS, still()) for name in ("car", "pig")))
    assert {round(edges(track.boxes[0]), 6) for track in scene_of(pair).tracks} == {PAIR_EDGE_PX[0]}


def test_centres_stay_where_they_are_planned_as_far_as_the_frame_allows() -> None:
    middle = scene_of(plan_of("a car", ("car", MotionLabel.MOTIONLESS, still(0.5, 0.4)))).tracks[0].boxes[0]
    assert middle.center == pytest.approx((0.5, 0.4))
    corner = scene_of(plan_of("a car", ("car", MotionLabel.MOTIONLESS, still(0.95, 0.05)))).tracks[0].boxes[0]
    assert (corner.x1, corner.y0) == (1.0, 0.0)


def test_only_what_deforms_changes_its_size_and_not_beyond_what_the_world_does() -> None:
    boxes = tuple(Box.around(0.5, 0.5, 0.2, height) for height in (0.2,) * 8 + (0.4,))  # mean 0.2222
    deformed = scene_of(plan_of("a sheep", ("sheep", MotionLabel.NON_RIGID, boxes))).tracks[0].boxes
    assert deformed[8].height / deformed[0].height == pytest.approx(STRETCH[1] / 0.9)
    assert deformed[8].width == pytest.approx(deformed[0].width)


def test_a_part_whose_whole_is_not_drawn_moves_by_itself() -> None:
    plan = plan_of(
        "a car and a tree",
        ("tree", MotionLabel.MOTIONLESS, still(0.2)),
        ("bus", MotionLabel.RIGID, moving(0.3, 0.0)),
        ("car", MotionLabel.MOTIONLESS, moving(0.3, 0.0)),
        parents={"c": "b"},
    )
    scene = scene_of(plan)
    assert scene.plan.graph.ids == ("a", "c")
    assert scene.plan.graph["c"].parent is None
    assert scene.tracks[1].phases[0].label is MotionLabel.RIGID


def test_a_box_reads_of_its_own_thing_and_what_is_around_them_of_the_place() -> None:
    car = ("car", MotionLabel.MOTIONLESS, still(0.2))
    alone = scene_of(plan_of("a car on the road", car))
    assert alone.descriptions == ("a red car is standing still on the road",)
    assert alone.surroundings == "on the road"
    pair = scene_of(plan_of("a car and a pig on the road", car, ("pig", MotionLabel.MOTIONLESS, still(0.8))))
    assert pair.descriptions == ("a red car is standing still on the road", "a pink pig is standing still on the road")


def test_without_a_plan_there_is_a_caption_and_nothing_to_guide() -> None:
    scene = emoji_scene("a puppy on the road", None)
    assert scene.caption == "a yellow cat is standing still on the road"
    assert (scene.plan, scene.tracks, scene.descriptions) == (None, (), ())
