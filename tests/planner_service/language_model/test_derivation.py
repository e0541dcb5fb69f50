"""What is filled into the movements of a car that drives, a tree that stands and a girl who walks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner_service.language_model.derivation import derive
from planner_service.motion.cues import InstanceCues
from shared.motion_graph import Instance, MotionGraph, MotionLabel

LABELS = {"car": MotionLabel.RIGID, "tree": MotionLabel.MOTIONLESS, "girl": MotionLabel.NON_RIGID}
GRAPH = MotionGraph(
    instances=tuple(Instance(id=name, name=name, description=name, label=label) for name, label in LABELS.items())
)


def derived(instance, phases):
    written = {"movements": [{"cues": {"instance": instance, "phases": phases}}]}
    said = derive(json.loads(json.dumps(written)), GRAPH)
    return said["movements"][0]["cues"]["phases"]


REST = {"label": "motionless"}
LEFT = {"direction": "left"}


@pytest.mark.parametrize(
    ("instance", "phases", "as_derived"),
    [
        ("car", [LEFT], [{"label": "rigid"} | LEFT]),
        ("tree", [{}], [REST]),
        ("car", [REST | LEFT], [{"label": "rigid"} | LEFT]),
        ("girl", [REST | {"manner": "dance"}], [{"label": "non_rigid", "manner": "dance"}]),
        ("car", [REST], [{"label": "rigid"}]),
        ("car", [REST | {"until": 0.5}, REST], [REST | {"until": 0.5}, {"label": "rigid"}]),
        (
            "girl",
            [REST | {"until": 0.5}, {"label": "rigid"} | LEFT],
            [REST | {"until": 0.5}, {"label": "non_rigid"} | LEFT],
        ),
        ("car", [{"label": "non_rigid", "manner": "sway"} | LEFT], [{"label": "rigid"} | LEFT]),
        (
            "car",
            [{"absent": True, "until": 0.5}, LEFT],
            [REST | {"absent": True, "until": 0.5}, {"label": "rigid"} | LEFT],
        ),
        ("car", [{"label": "rigid", "until": 0.7}], [{"label": "rigid"}]),
        ("car", [REST, LEFT], [REST | {"until": 0.5}, {"label": "rigid"} | LEFT]),
        ("car", [{"label": "rigid", "target": "car", "goal": "past"}], [{"label": "rigid"}]),
        ("car", [{"label": "rigid", "goal": "past"}], [{"label": "rigid"}]),
        # what is a matter of opinion stays
        ("tree", [REST | LEFT], [REST | LEFT]),
        ("tree", [{"label": "rigid"} | LEFT], [{"label": "rigid"} | LEFT]),
        (
            "girl",
            [{"label": "rigid", "until": 0.5} | LEFT, {"label": "non_rigid"}],
            [{"label": "rigid", "until": 0.5} | LEFT, {"label": "non_rigid"}],
        ),
        ("car", [{"label": "rigid", "target": "tree"}], [{"label": "rigid", "target": "tree"}]),
        ("house", [LEFT], [LEFT]),
    ],
)
def test_worked_examples(instance, phases, as_derived):
    assert derived(instance, phases) == as_derived


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["car", "rigid", "motionless", ""]),
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.dictionaries(
            st.sampled_from(["movements", "cues", "instance", "phases", "label", "until", "absent", "scale", "target"]),
            parts,
        )
    ),
)


@given(json_values)
def test_whatever_is_written_it_does_not_fail(written):
    derive(written, GRAPH)


@given(
    st.sampled_from(["car", "girl"]),
    st.lists(st.sampled_from([REST, LEFT, REST | LEFT, {"label": "rigid"}, {}]), min_size=1, max_size=4),
)
def test_what_moves_in_the_graph_does_in_some_phase(instance, phases):
    cues = InstanceCues.model_validate({"instance": instance, "phases": derived(instance, phases)})
    assert LABELS[instance] in {phase.label for phase in cues.phases}
