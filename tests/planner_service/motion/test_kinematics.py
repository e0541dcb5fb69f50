"""Eqs. (1), (5) and (6) by hand; the path in the frame and at its frames; parts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner_service.motion.framing import fit, resample
from planner_service.motion.kinematics import (
    ACTION_WEIGHT,
    RAMP,
    TICKS,
    Course,
    Keyframe,
    Leg,
    Path,
    action_cue,
    displacement,
    drift,
    joint_velocities,
    motionless,
    non_rigid,
    predict,
    rigid,
    trace,
)
from planner_service.motion.parts import attach
from shared.geometry import Box
from shared.motion_graph import MotionLabel

STILL, RIGID, SOFT = MotionLabel.MOTIONLESS, MotionLabel.RIGID, MotionLabel.NON_RIGID
BOX = Box(0.10, 0.40, 0.30, 0.50)


def approximately(box: Box) -> object:
    return pytest.approx(tuple(box), abs=1e-9)


def boxes_of(path) -> list[Box]:
    return [Box(*sides) for sides in path.tolist()]


def moves(path) -> list[float]:
    return [b.center[0] - a.center[0] for a, b in pairwise(boxes_of(path))]


def test_eq_1_a_motionless_box_is_the_first_box_in_every_frame():
    assert boxes_of(motionless(BOX, 3)) == [BOX, BOX, BOX]


def test_eq_5_a_steady_velocity_divides_the_travel_into_equal_moves():
    boxes = boxes_of(rigid(BOX, Leg(RIGID, ticks=4, travel=(0.4, -0.2))))
    assert boxes[0] == approximately(BOX.translate(0.1, -0.05))
    assert boxes[3] == approximately(BOX.translate(0.4, -0.2))


def test_eq_5_adds_half_the_acceleration_and_a_single_leg_follows_its_cue():
    """Travel 0.3 in 3 ticks from rest: the speed rises to 0.2, by 1/15 a tick; v = 0, 1/15, 2/15 and a / 2 = 1/30.

    The window of one who accelerates evenly says the same as the cue.
    """
    boxes = boxes_of(rigid(Box(0.0, 0.4, 0.2, 0.5), Leg(RIGID, ticks=3, travel=(0.3, 0.0), pickup=2.0)))
    assert [box.x0 for box in boxes] == pytest.approx([1 / 30, 4 / 30, 9 / 30])


def test_eq_5_mixes_what_the_window_says_with_what_the_cue_says():
    """The cue stops at once, the window does not: mean 0.1 and no slope, so v = 0.05.

    Then the window is 0.1, 0.05: slope -0.05, mean 0.075, one tick on 0.025.  v = 0.0125, a / 2 = -0.0125.
    """
    assert ACTION_WEIGHT == 0.5
    assert predict(np.zeros((2, 2)), [0.1, 0.1], length=2) == pytest.approx([0.05, 0.0])


def test_an_action_cue_ramps_from_one_velocity_to_the_next():
    """Nine ticks: 0 to c in three, three at c, c to 0.1 in three.  3 c / 2 + 3 c + 3 (c + 0.1) / 2 = 1.35: c = 0.2."""
    leg = Leg(RIGID, ticks=9)
    velocities = [v for v, _ in action_cue(1.35, leg, 0.0, 0.1)]
    c = 0.2
    assert velocities == pytest.approx([0, c / 3, 2 * c / 3, c, c, c, c, 0.1 + 2 * (c - 0.1) / 3, 0.1 + (c - 0.1) / 3])


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (Leg(RIGID, 10, (0.4, 0.3)), (0.02, 0.0)),  # along x both go right, 0.02 a tick is the slower
        (Leg(RIGID, 10, (-0.4, 0.0)), (0.0, 0.0)),
        (Leg(STILL, 10), (0.0, 0.0)),
        (Leg(RIGID, 10, (0.4, 0.3), sudden=True), None),
        (Leg(STILL, 10, absent=True), None),
    ],
)
def test_legs_join_at_the_slower_velocity_of_both(after, expected):
    before = Leg(RIGID, 10, (0.2, -0.1))
    assert joint_velocities((before, after)) == [(None, expected), (expected, None)]


def test_a_sudden_leg_forgets_the_velocity_of_the_leg_before():
    course = Course(BOX, (Leg(RIGID, ticks=2, travel=(0.2, 0.0)), Leg(RIGID, ticks=2, sudden=True)))
    assert trace(course).boxes[:, 0] == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3])


@st.composite
def legs(draw: st.DrawFn) -> tuple[Leg, ...]:
    """Two to four, each long enough for a whole ramp at both ends."""
    made = []
    for _ in range(draw(st.integers(2, 4))):
        label = draw(st.sampled_from(MotionLabel))
        ticks = draw(st.integers(3 * RAMP, 4 * RAMP))
        travel = (draw(st.floats(-0.4, 0.4)), 0.0) if label is not STILL else (0.0, 0.0)
        pickup = draw(st.sampled_from([-1.5, 0.0, 1.5]))
        made.append(Leg(label, ticks, travel, pickup, sudden=draw(st.sampled_from([False, False, True]))))
    return tuple(made)


@settings(max_examples=60, deadline=None)
@given(legs())
def test_velocity_is_continuous_where_legs_join_and_every_leg_ends_where_its_cue_says(course):
    """From tick to tick it changes by no more than a twelfth of the greatest speed: a ramp takes 20 ticks."""
    made = moves(trace(Course(BOX, course)).boxes)
    begun = 0
    for index, leg in enumerate(course):
        end = begun + leg.ticks
        assert sum(made[begun:end]) == pytest.approx(leg.travel[0], abs=1e-9)
        if index and not leg.sudden:
            around = made[begun - RAMP : begun + RAMP]
            changes = [abs(b - a) for a, b in pairwise(around)]
            greatest = max(map(abs, made[begun - course[index - 1].ticks : end]))
            assert max(changes) <= greatest / 12 + 1e-12
        begun = end


def test_what_suddenly_stops_does_so_at_full_speed():
    fast, slowing = (
        moves(trace(Course(BOX, (Leg(RIGID, 60, (0.6, 0.0)), Leg(STILL, 60, sudden=sudden)))).boxes)
        for sudden in (True, False)
    )
    assert fast[59] == pytest.approx(0.01)
    assert slowing[59] < 0.001
    assert fast[60] == slowing[60] == 0.0


def test_eq_5_a_scale_cue_keeps_centre_and_aspect():
    boxes = boxes_of(rigid(BOX, Leg(RIGID, ticks=3, scale=2.0)))
    assert boxes[-1].width == pytest.approx(0.4)
    assert boxes[-1].height == pytest.approx(0.2)
    assert boxes[-1].center == pytest.approx(BOX.center)


def test_eq_6_each_boundary_has_its_own_displacement():
    """Width 0.2, height 0.1: at the end left by -0.1 x 0.2, top by 0.2 x 0.1, right by 0.3 x 0.2, bottom by 0."""
    leg = Leg(SOFT, ticks=2, keyframes=(Keyframe(0.0, 0, 0, 0, 0), Keyframe(1.0, -0.1, 0.2, 0.3, 0.0)))
    boxes = boxes_of(non_rigid(BOX, leg, np.array([BOX, BOX, BOX])))
    assert boxes[1] == approximately(Box(0.10 - 0.02, 0.40 + 0.02, 0.30 + 0.06, 0.50))
    assert boxes[0] == approximately(Box(0.10 - 0.01, 0.40 + 0.01, 0.30 + 0.03, 0.50))


def test_eq_6_drift_adds_to_the_deformation():
    keyframes = (Keyframe(0.0, 0, 0, 0, 0), Keyframe(1.0, 0.5, 0, 0, 0))
    leg = Leg(SOFT, ticks=4, travel=(0.2, 0.1), keyframes=keyframes)
    boxes = boxes_of(non_rigid(BOX, leg, np.array([BOX, *drift(BOX, leg)])))
    assert boxes[-1] == approximately(Box(0.10 + 0.2 + 0.1, 0.40 + 0.1, 0.30 + 0.2, 0.50 + 0.1))


def test_keyframes_are_joined_by_a_cosine():
    keyframes = (Keyframe(0.0, 0, 0, 0, 0), Keyframe(0.5, 1, 0, 0, 0), Keyframe(1.0, 0, 0, 0, 0))
    left = displacement(keyframes, np.array([0.0, 0.125, 0.25, 0.5, 1.0]))[:, 0]
    assert left == pytest.approx([0.0, 0.146447, 0.5, 1.0, 0.0], abs=1e-6)


def test_a_path_that_leaves_the_frame_is_shifted():
    boxes = boxes_of(fit(np.array([Box(0.5, 0.2, 0.7, 0.3), Box(0.9, 0.2, 1.1, 0.3)])))
    assert boxes[0] == pytest.approx((0.4, 0.2, 0.6, 0.3), abs=1e-5)
    assert boxes[1] == pytest.approx((0.8, 0.2, 1.0, 0.3), abs=1e-5)


def test_a_path_too_long_for_the_frame_is_shortened_along_its_axis_alone():
    """Width 0.2 leaves 0.8 for a travel of 1.6, so half of every move remains; the way down stays as it is."""
    boxes = boxes_of(fit(np.array([Box(0, 0.1, 0.2, 0.2), Box(0.8, 0.2, 1.0, 0.3), Box(1.6, 0.3, 1.8, 0.4)])))
    assert [box.x0 for box in boxes] == pytest.approx([0.0, 0.4, 0.8], abs=1e-5)
    assert [box.y0 for box in boxes] == pytest.approx([0.1, 0.2, 0.3], abs=1e-5)


def test_a_leg_begins_where_the_one_before_ends():
    boxes = boxes_of(trace(Course(BOX, (Leg(STILL, 3), Leg(RIGID, 2, (0.2, 0.0)), Leg(STILL, 2)))).boxes)
    assert len(boxes) == 8
    assert boxes[0] == boxes[3]
    assert boxes[5].x0 == pytest.approx(0.3)
    assert boxes[5] == boxes[7]


def test_a_layout_is_the_path_at_evenly_spaced_moments():
    """Five boxes are four ticks: three frames take every second, four every 4/3."""
    boxes = [BOX.translate(dx, 0.0) for dx in (0.0, 0.1, 0.2, 0.4, 0.6)]
    path = np.array(boxes)
    assert resample(path, 5) == tuple(boxes)
    assert [box.x0 for box in resample(path, 3)] == pytest.approx([0.1, 0.3, 0.7])
    assert [box.x0 for box in resample(path, 4)] == pytest.approx([0.1, 0.2 + 0.1 / 3, 0.3 + 0.4 / 3, 0.7])


def path_of(*boxes: Box) -> Path:
    return Path(np.array(boxes), np.array(boxes))


def test_a_part_moves_with_its_whole():
    whole = path_of(BOX, BOX.translate(0.1, 0.05), BOX.translate(0.2, 0.1))
    part = path_of(*[Box(0.15, 0.42, 0.20, 0.44)] * 3)
    assert attach(part, whole, BOX).boxes[2] == pytest.approx((0.35, 0.52, 0.40, 0.54))


def test_a_part_grows_with_its_whole_around_where_it_hangs():
    """The whole is 0.2 by 0.1 and doubles; the part's centre hangs a quarter of the way from its left to its right."""
    part = attach(path_of(*[Box(0.14, 0.44, 0.16, 0.46)] * 2), path_of(BOX, BOX.scale(2.0)), BOX)
    assert tuple(part.boxes[1]) == approximately(Box.around(0.0 + 0.25 * 0.4, 0.35 + 0.5 * 0.2, 0.04, 0.04))


def test_a_part_hangs_at_the_boundary_that_deforms_and_keeps_its_size():
    stretched = Path(np.array([BOX, Box(0.10, 0.40, 0.40, 0.50)]), np.array([BOX, BOX]))
    part = attach(path_of(*[Box(0.26, 0.42, 0.34, 0.48)] * 2), stretched, BOX)
    assert tuple(part.boxes[1]) == approximately(Box(0.36, 0.42, 0.44, 0.48))  # at the right end of 0.2, then of 0.3


def test_a_part_does_not_leave_its_whole():
    """Its own travel of 0.6 is 0.6 of the whole's width, which from the middle is too far by 0.1."""
    part = Box(0.19, 0.44, 0.21, 0.46)
    boxes = boxes_of(attach(path_of(part, part.translate(0.6, 0.0)), path_of(BOX, BOX), BOX).boxes)
    assert boxes[1].center[0] == pytest.approx(0.3)


def test_a_clip_has_a_tick_for_every_frame_of_the_longest_layout():
    boxes = trace(Course(BOX, (Leg(RIGID, TICKS, (0.3, 0.0)),))).boxes
    assert resample(boxes, 241) == tuple(boxes_of(boxes))
