"""A plan is edited as JSON and goes to the generator as it is: what `POST /plans` answers, `POST /jobs` takes."""

import copy

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from generator_service.contract.request import JobRequest
from planner_service.api import create_app

FRAMES = 9


@pytest.fixture(scope="module")
def answer(parser):
    body = {"prompt": "a red car drives to the right while a tree stands still", "frames": FRAMES, "seed": 3}
    with TestClient(create_app({"parser": parser}, maximum_body_bytes=2048)) as client:
        return client.post("/plans", json=body).json()


@pytest.fixture
def plan(answer):
    return copy.deepcopy(answer)


def accepted(plan):
    """The plan of a job that brings it, after all that `POST /jobs` checks of a request."""
    request = JobRequest.model_validate({"plan": plan, "seed": 7})
    assert request.settings().frames == FRAMES
    return request.plan


def test_a_plan_is_accepted_as_it_comes(plan):
    assert not accepted(plan).is_edited


def test_a_box_is_moved(plan):
    """The car drives a little higher in every frame."""
    for box in plan["tracks"][0]["boxes"]:
        box[1], box[3] = box[1] - 0.05, box[3] - 0.05
    edited = accepted(plan)
    assert edited.tracks[0].boxes[4] == tuple(plan["tracks"][0]["boxes"][4])
    assert edited.is_edited


def test_a_label_is_changed(plan):
    plan["graph"]["instances"][0]["label"] = plan["tracks"][0]["phases"][0]["label"] = "non_rigid"
    assert accepted(plan).graph["car"].label == "non_rigid"


def test_a_tree_appears_half_way_and_a_relation_is_added(plan):
    plan["tracks"][1]["phases"] = [
        {"label": "motionless", "start": 0, "end": 3, "absent": True},
        {"label": "motionless", "start": 4, "end": FRAMES - 1},
    ]
    plan["graph"]["relations"] = [{"source": "car", "target": "tree", "kind": "dynamic", "phrase": "passes"}]
    assert accepted(plan).tracks[1].present == (False,) * 4 + (True,) * 5


def test_what_an_edit_breaks_is_named(plan):
    plan["tracks"][1]["boxes"][4][0] += 0.01
    with pytest.raises(ValidationError, match="track 'tree': motionless in frames 0 to 8, but its box changes"):
        accepted(plan)
