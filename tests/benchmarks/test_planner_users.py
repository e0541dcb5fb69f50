"""What a plan is held against: by hand, a car that drives to the right past a tree, and a bird that comes later."""

import runpy
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = runpy.run_path(str(BENCHMARKS / "planner_users.py"))
Expected, shortfalls = SCRIPT["Expected"], SCRIPT["shortfalls"]
RIGID, MOTIONLESS = MotionLabel.RIGID, MotionLabel.MOTIONLESS
FRAMES = 9


def track(name: str, xs: tuple[float, float], y: float, *phases: Phase) -> Track:
    steps = [xs[0] + (xs[1] - xs[0]) * frame / (FRAMES - 1) for frame in range(FRAMES)]
    return Track(instance=name, phases=phases, boxes=tuple(Box.around(x, y, 0.2, 0.2) for x in steps))


@pytest.fixture
def plan() -> Plan:
    whole = {"start": 0, "end": FRAMES - 1}
    labels = {"car": RIGID, "tree": MOTIONLESS, "bird": MOTIONLESS}
    return Plan(
        prompt="x",
        graph=MotionGraph(
            instances=tuple(
                Instance(id=name, name=f"small {name}", description="x", label=label) for name, label in labels.items()
            )
        ),
        background="x",
        tracks=(
            track("car", (0.2, 0.6), 0.7, Phase(label=RIGID, **whole)),
            track("tree", (0.8, 0.8), 0.7, Phase(label=MOTIONLESS, **whole)),
            track(
                "bird",
                (0.2, 0.2),
                0.2,
                Phase(label=MOTIONLESS, start=0, end=4, absent=True),
                Phase(label=MOTIONLESS, start=5, end=8),
            ),
        ),
        depth_order=("car", "tree", "bird"),
    )


HOLDS = [
    {"things": ["car", "oak|tree"], "nothing": ["person"]},
    {"counts": {"car|tree": 2}, "goes": {"car": "right", "tree": "still"}},
    {"begins": {"car": "lower_left"}, "ends": {"car": "right", "bird": "upper_left"}},
    {"touch": [["car", "tree"]], "appears": ["bird"]},
]
FALLS_SHORT = [
    ({"things": ["person"]}, "no person"),
    ({"nothing": ["car"]}, "a box for car"),
    ({"counts": {"small": 2}}, "3 × small, not 2"),
    ({"goes": {"car": "left"}}, "car does not go left"),
    ({"goes": {"car": "still"}}, "car is not still"),
    ({"goes": {"person": "left"}}, "person does not go left"),
    ({"begins": {"car": "upper_left"}}, "car is not at first upper_left"),
    ({"ends": {"car": "left"}}, "car is not at last left"),
    ({"touch": [["car", "bird"]]}, "car does not touch bird"),
    ({"appears": ["car"]}, "car is there too early, or not at all"),
]


@pytest.mark.parametrize("expected", HOLDS)
def test_what_holds(expected, plan):
    assert list(shortfalls(Expected(prompt="x", **expected), plan)) == []


@pytest.mark.parametrize(("expected", "said"), FALLS_SHORT)
def test_what_falls_short(expected, said, plan):
    assert list(shortfalls(Expected(prompt="x", **expected), plan)) == [said]


def test_every_prompt_says_what_is_expected_of_it():
    prompts = TypeAdapter(list[Expected]).validate_json((BENCHMARKS / "user_prompts.json").read_bytes())
    assert len(prompts) == 10
    assert all(len(expected.model_fields_set) > 1 for expected in prompts)
