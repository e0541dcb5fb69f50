"""A plan that passes validation can be rendered; every way to be wrong is named."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from shared.plan import Plan

FRAMES = 5
Document = dict[str, Any]


def rigid_boxes() -> list[list[float]]:
    return [[0.1 * frame, 0.5, 0.1 * frame + 0.3, 0.7] for frame in range(FRAMES)]


@pytest.fixture
def document() -> Document:
    """A car passes a tree; a flag is part of the car."""
    car = {"id": "car", "name": "red car", "description": "a red car driving", "label": "rigid"}
    flag = {"id": "flag", "name": "flag", "description": "a fluttering flag", "label": "non_rigid", "parent": "car"}
    tree = {"id": "tree", "name": "tree", "description": "a tree", "label": "motionless", "attributes": ["stands"]}
    still = [[0.6, 0.1, 0.9, 0.8]] * FRAMES
    waving = [[x0, 0.4, x1, 0.5 + 0.01 * (frame % 2)] for frame, (x0, _, x1, _) in enumerate(rigid_boxes())]

    def track(instance: str, label: str, boxes: list[list[float]]) -> Document:
        return {
            "instance": instance,
            "phases": [{"label": label, "start": 0, "end": FRAMES - 1}],
            "boxes": boxes,
        }

    return {
        "prompt": "a red car with a fluttering flag passes a tree",
        "graph": {
            "instances": [car, flag, tree],
            "relations": [{"source": "car", "target": "tree", "kind": "dynamic", "phrase": "passes"}],
        },
        "background": "a street",
        "tracks": [
            track("car", "rigid", rigid_boxes()),
            track("flag", "non_rigid", waving),
            track("tree", "motionless", still),
        ],
        "depth_order": ["flag", "car", "tree"],
    }


def test_a_plan_round_trips_through_json(document: Document) -> None:
    plan = Plan.model_validate(document).signed(planner="parser", model="spacy", version="1", seed=3)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert plan.frames == FRAMES


def test_the_published_schema_accepts_a_plan_and_refuses_another(document: Document) -> None:
    schema = Plan.model_json_schema()
    jsonschema.validate(document, schema)
    document["tracks"][0]["boxes"][0] = [0.1, 0.2, 0.3]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_equal_plans_hash_alike_whoever_made_them(document: Document) -> None:
    plan = Plan.model_validate(document)
    signed = plan.signed(planner="parser", model="spacy", version="1", seed=3)
    assert signed.content_hash == plan.content_hash
    assert signed.provenance is not None
    assert signed.provenance.hash == plan.content_hash
    document["tracks"][2]["boxes"] = [[0.6, 0.1, 0.9, 0.81]] * FRAMES
    assert Plan.model_validate(document).content_hash != plan.content_hash


def test_a_label_may_change_between_phases(document: Document) -> None:
    """A leaf at rest, then blown away (Fig. 5a)."""
    tree = document["tracks"][2]
    tree["phases"] = [
        {"label": "motionless", "start": 0, "end": 2},
        {"label": "non_rigid", "start": 3, "end": 4},
    ]
    tree["boxes"][4] = [0.5, 0.1, 0.9, 0.9]
    Plan.model_validate(document)
    tree["boxes"] = [*tree["boxes"][:2], [0.5, 0.1, 0.9, 0.9], *tree["boxes"][3:]]
    with pytest.raises(ValidationError, match="'tree': motionless in frames 0 to 2, but its box changes"):
        Plan.model_validate(document)


def test_a_part_is_not_held_to_its_own_label(document: Document) -> None:
    document["graph"]["instances"][1]["label"] = "motionless"
    document["tracks"][1]["phases"][0]["label"] = "motionless"
    Plan.model_validate(document)


def rename(document: Document, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    place: Any = document
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    place[int(last) if last.isdigit() else last] = value


def set_to(path: str, value: Any) -> Callable[[Document], None]:
    return lambda document: rename(document, path, value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (set_to("prompt", " "), "at least 1 character"),
        (set_to("graph.instances.1.id", "car"), "car is used more than once"),
        (set_to("graph.instances.0.id", "Red Car"), "should match pattern"),
        (set_to("graph.instances.1.parent", "bus"), "'flag' names the unknown parent 'bus'"),
        (set_to("graph.instances.0.parent", "flag"), "its own ancestor"),
        (set_to("graph.relations.0.target", "house"), "names the unknown instance 'house'"),
        (set_to("graph.relations.0.target", "car"), "joins 'car' to itself"),
        (set_to("graph.instances.0.label", "wobbly"), "'motionless', 'rigid' or 'non_rigid'"),
        (set_to("tracks.0.boxes", rigid_boxes()[:4]), "the phases span 5 frames, but there are 4 boxes"),
        (set_to("tracks.0.boxes.2", [0.2, 0.5, 1.2, 0.7]), "less than or equal to 1"),
        (set_to("tracks.0.boxes.2", [0.2, 0.5, 0.7, 0.7]), "its aspect changes by more than 2%"),
        (set_to("tracks.2.boxes.2", [0.6, 0.1, 0.9, 0.81]), "'tree': motionless in frames 0 to 4"),
        (set_to("tracks.0.phases.0.start", 1), "a phase should start at frame 0"),
        (set_to("tracks.0.phases.0.end", 3), "the phases span 4 frames"),
        (set_to("tracks.0.instance", "tree"), "one track for each instance, in the graph's order"),
        (set_to("depth_order", ["car", "tree"]), "depth_order must name every instance once"),
        (set_to("depth_order", ["car", "car", "tree"]), "depth_order must name every instance once"),
        (set_to("colour", "red"), "Extra inputs are not permitted"),
        (lambda document: document["tracks"].pop(), "one track for each instance"),
        (lambda document: document["graph"].update(instances=[]), "at least 1 item"),
    ],
)
def test_every_way_to_be_wrong_is_named(document: Document, spoil: Callable[[Document], None], message: str) -> None:
    spoil(document)
    with pytest.raises(ValidationError, match=message):
        Plan.model_validate_json(json.dumps(document))


def test_tracks_of_different_lengths_are_refused(document: Document) -> None:
    document["tracks"][2]["boxes"] = [[0.6, 0.1, 0.9, 0.8]] * 4
    document["tracks"][2]["phases"][0]["end"] = 3
    with pytest.raises(ValidationError, match="'car' has 5 and 'tree' has 4"):
        Plan.model_validate(document)
