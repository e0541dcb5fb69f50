"""A plan says no to what makes no sense, and is the same after a round trip."""

import copy

import pytest
from pydantic import ValidationError

from shared.errors import violations_of
from shared.motion_graph import MotionGraph
from shared.plan import Plan

BOX = [0.1, 0.2, 0.5, 0.3]
MOVED = [0.2, 0.2, 0.6, 0.3]
WIDER = [0.1, 0.2, 0.7, 0.3]

CONTENT = {
    "prompt": "a car passes a tree",
    "graph": {
        "instances": [
            {"id": "car", "name": "car", "description": "a car", "label": "rigid"},
            {"id": "tree", "name": "tree", "description": "a tree", "label": "motionless"},
        ],
        "relations": [{"source": "car", "target": "tree", "kind": "dynamic", "phrase": "passes"}],
    },
    "background": "a road",
    "tracks": [
        {"instance": "car", "phases": [{"label": "rigid", "start": 0, "end": 2}], "boxes": [BOX, MOVED, MOVED]},
        {"instance": "tree", "phases": [{"label": "motionless", "start": 0, "end": 2}], "boxes": [BOX, BOX, BOX]},
    ],
    "depth_order": ["tree", "car"],
}


def changed(path, value):
    content = copy.deepcopy(CONTENT)
    *parents, last = path
    place = content
    for key in parents:
        place = place[key]
    place[last] = value
    return content


def test_a_round_trip_through_json():
    plan = Plan.model_validate(CONTENT)
    assert plan.frames == 3
    assert plan.graph["tree"].name == "tree"
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_signing_does_not_change_the_hash_and_editing_does():
    plan = Plan.model_validate(CONTENT)
    signed = plan.sign(planner="parser", model="m", version="1", seed=4)
    assert signed.provenance.hash == signed.content_hash == plan.content_hash
    assert Plan.model_validate_json(signed.model_dump_json()) == signed
    assert Plan.model_validate(changed(["background"], "a lane")).content_hash != plan.content_hash


def test_zero_has_one_sign():
    edge, negative = [0.0, 0.2, 0.5, 0.3], [-0.0, 0.2, 0.5, 0.3]
    plans = [Plan.model_validate(changed(["tracks", 1, "boxes"], [box] * 3)) for box in (edge, negative)]
    assert plans[0] == plans[1]
    assert plans[0].content_hash == plans[1].content_hash


def test_an_edited_plan_keeps_its_provenance_and_can_be_told():
    plan = Plan.model_validate(CONTENT).sign(planner="parser", model="m", version="1", seed=4)
    edited = Plan.model_validate(plan.model_dump(mode="json") | {"background": "a lane"})
    assert edited.provenance == plan.provenance
    assert (plan.is_edited, edited.is_edited, Plan.model_validate(CONTENT).is_edited) == (False, True, False)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["extra"], 1, "Extra inputs"),
        (["prompt"], "  ", "at least 1 character"),
        (["tracks", 0, "boxes"], [BOX, MOVED], "span 3 frames, but there are 2 boxes"),
        (["tracks", 0, "boxes"], [BOX, MOVED, WIDER], "aspect changes"),
        (["tracks", 1, "boxes"], [BOX, BOX, MOVED], "its box changes"),
        (["tracks", 0, "phases", 0, "start"], 1, "should start at frame 0"),
        (["tracks", 0, "phases", 0, "absent"], True, "an absent phase is motionless"),
        (["tracks", 1, "phases", 0, "absent"], True, "absent in every frame"),
        (["tracks", 0, "phases", 0, "start"], "0", "valid integer"),
        (["tracks", 0, "phases", 0, "absent"], 0, "valid boolean"),
        (["tracks", 0, "boxes", 0, 0], False, "valid number"),
        (["tracks", 0, "boxes", 0, 2], "0.5", "valid number"),
        (["tracks", 0, "instance"], "bus", "one track for each instance"),
        (["tracks"], [], "one track for each instance"),
        (["depth_order"], ["car", "car"], "every instance once"),
        (["graph", "relations", 0, "target"], "house", "unknown instance 'house'"),
        (["graph", "relations", 0, "target"], "car", "to itself"),
        (["graph", "instances", 0, "parent"], "house", "unknown parent"),
        (["graph", "instances", 0, "parent"], "car", "its own ancestor"),
        (["graph", "instances", 1, "id"], "car", "unique"),
        (["graph", "instances", 1, "id"], "A tree", "pattern"),
    ],
)
def test_what_makes_no_sense_is_refused(path, value, reason):
    with pytest.raises(ValidationError, match=reason):
        Plan.model_validate(changed(path, value))


def test_tracks_must_be_equally_long():
    short = {"instance": "tree", "phases": [{"label": "motionless", "start": 0, "end": 1}], "boxes": [BOX, BOX]}
    with pytest.raises(ValidationError, match="equally many boxes"):
        Plan.model_validate(changed(["tracks", 1], short))


def test_a_part_may_move_though_it_is_motionless_itself():
    content = changed(["graph", "instances", 1, "parent"], "car")
    content["tracks"][1]["boxes"] = [BOX, MOVED, MOVED]
    assert Plan.model_validate(content).tracks[1].boxes[1] == tuple(MOVED)


def test_each_frame_says_whether_the_instance_is_there():
    phases = [
        {"label": "motionless", "start": 0, "end": 1, "absent": True},
        {"label": "motionless", "start": 2, "end": 2},
    ]
    assert Plan.model_validate(changed(["tracks", 1, "phases"], phases)).tracks[1].present == (False, False, True)


def test_an_unknown_instance_is_a_key_error():
    with pytest.raises(KeyError):
        MotionGraph.model_validate(CONTENT["graph"])["bus"]


@pytest.mark.parametrize(
    ("path", "value", "limit"),
    [
        (["graph", "instances"], [CONTENT["graph"]["instances"][1]] * 33, "32"),
        (["graph", "relations"], CONTENT["graph"]["relations"] * 65, "64"),
        (["graph", "instances", 0, "attributes"], ["fast"] * 17, "16"),
        (["graph", "instances", 0, "description"], "a" * 401, "400"),
        (["tracks"], CONTENT["tracks"] * 17, "32"),
        (["tracks", 0, "boxes"], [BOX] * 242, "241"),
        (["tracks", 0, "phases"], CONTENT["tracks"][0]["phases"] * 242, "241"),
        (["depth_order"], ["car"] * 33, "32"),
        (["prompt"], "a" * 2001, "2000"),
        (["background"], "a" * 121, "120"),
    ],
)
def test_a_plan_has_a_greatest_size_and_what_exceeds_it_is_named(path, value, limit):
    with pytest.raises(ValidationError) as refusal:
        Plan.model_validate(changed(path, value))
    (violation,) = violations_of(refusal.value)
    assert violation.field == ".".join(map(str, path))
    assert f"at most {limit} " in violation.message
