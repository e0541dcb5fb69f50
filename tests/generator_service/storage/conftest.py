import pytest

from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track


@pytest.fixture
def plan() -> Plan:
    """Nine frames: a car that goes to the right, in front of a tree."""
    instances = (
        Instance(id="car", name="red car", description="a red car", label=MotionLabel.RIGID),
        Instance(id="tree", name="tree", description="a green tree", label=MotionLabel.MOTIONLESS),
    )
    boxes = {
        "car": tuple(Box.around(0.25 + 0.05 * frame, 0.75, 0.25, 0.25) for frame in range(9)),
        "tree": (Box(0.75, 0.25, 0.875, 0.5),) * 9,
    }
    tracks = tuple(
        Track(instance=item.id, phases=(Phase(label=item.label, start=0, end=8),), boxes=boxes[item.id])
        for item in instances
    )
    return Plan(
        prompt="a red car drives to the right past a tree",
        graph=MotionGraph(instances=instances),
        background="a street",
        tracks=tracks,
        depth_order=("car", "tree"),
    )
