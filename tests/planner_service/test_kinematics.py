"""Eqs. (1), (5) and (6) by hand."""

from itertools import pairwise

import pytest

from planner_service.kinematics import (
    ACTION_WEIGHT,
    MAXIMUM_STEP,
    Course,
    Keyframe,
    Leg,
    carried,
    displacement,
    fitted,
    integrate,
    motionless,
    non_rigid,
    rigid,
    unbounded,
)
from shared.geometry import Box
from shared.motion_graph import MotionLabel

STILL, RIGID, SOFT = MotionLabel.MOTIONLESS, MotionLabel.RIGID, MotionLabel.NON_RIGID
BOX = Box(0.10, 0.40, 0.30, 0.50)


def approximately(box: Box) -> object:
    return pytest.approx(tuple(box), abs=1e-9)


def test_eq_1_a_motionless_box_is_the_first_box_in_every_frame():
    assert motionless(BOX, 3) == [BOX, BOX, BOX]


def test_eq_5_a_steady_velocity_divides_the_travel_into_equal_moves():
    leg = Leg(RIGID, steps=4, travel=(0.4, -0.2))
    boxes = rigid(BOX, leg, window_length=2)
    assert boxes[0] == approximately(BOX.moved(0.1, -0.05))
    assert boxes[3] == approximately(BOX.moved(0.4, -0.2))


def test_eq_5_adds_half_the_acceleration_and_mixes_the_window_with_the_cue():
    """travel 0.2 in 2 steps from rest: v = 0, 0.1; a = 0.1.  With lambda = 1 the moves would be 0.05 and 0.15.

    The window holds the first move, 0.05, and no slope yet: v = (0.05 + 0.1) / 2, a = (0 + 0.1) / 2, a move of 0.1.
    Together 0.15 of 0.2: so a travel of 0.2 x 4/3 is asked for, and the moves are 0.05 x 4/3 and 0.1 x 4/3.
    """
    assert ACTION_WEIGHT == 0.5
    leg = Leg(RIGID, steps=2, travel=(0.2, 0.0), pickup=2.0)
    boxes = rigid(Box(0.0, 0.4, 0.2, 0.5), leg, window_length=2)
    assert boxes[0].x0 == pytest.approx(0.2 / 3)
    assert boxes[1].x0 == pytest.approx(0.2)


def test_eq_5_the_window_carries_the_velocity_of_the_leg_before():
    """The cue stops at once, the window does not: 0.1, then half of it, then half of the mean of both.

    That is 0.075 too far, and of a unit of travel comes 0.25, then 0.375: so -0.12 is asked for.
    """
    course = Course(BOX, (Leg(RIGID, steps=2, travel=(0.2, 0.0)), Leg(RIGID, steps=2)))
    boxes = unbounded(course)
    moves = [b.x0 - a.x0 for a, b in pairwise(boxes)]
    # window (0.1, 0.05): mean 0.075, slope -0.05; v = 0.0375, a = -0.025
    assert moves == pytest.approx([0.1, 0.1, 0.05 - 0.25 * 0.12, 0.0375 - 0.0125 - 0.375 * 0.12])


def test_a_sudden_leg_forgets_the_velocity_of_the_leg_before():
    course = Course(BOX, (Leg(RIGID, steps=2, travel=(0.2, 0.0)), Leg(RIGID, steps=2, sudden=True)))
    assert [box.x0 for box in unbounded(course)] == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3])


@pytest.mark.parametrize("steps", [7, 8, 48, 240])
@pytest.mark.parametrize("pickup", [-1.5, 0.0, 2.0])
def test_every_leg_ends_where_its_cue_says(steps, pickup):
    legs = (Leg(RIGID, steps=steps, travel=(0.3, 0.1), pickup=pickup), Leg(RIGID, steps=steps, travel=(-0.1, 0.2)))
    boxes = unbounded(Course(BOX, legs))
    assert boxes[steps] == approximately(BOX.moved(0.3, 0.1))
    assert boxes[-1] == approximately(BOX.moved(0.2, 0.3))


def test_eq_5_a_scale_cue_keeps_centre_and_aspect():
    boxes = rigid(BOX, Leg(RIGID, steps=3, scale=2.0), window_length=2)
    assert boxes[-1].width == pytest.approx(0.4)
    assert boxes[-1].height == pytest.approx(0.2)
    assert boxes[-1].center == pytest.approx(BOX.center)


def test_no_move_exceeds_the_bound():
    boxes = rigid(BOX, Leg(RIGID, steps=1, travel=(0.9, 0.0)), window_length=2)
    assert boxes[0].x0 - BOX.x0 == pytest.approx(MAXIMUM_STEP)


def test_eq_6_each_boundary_has_its_own_displacement():
    """Width 0.2, height 0.1: at the end left by -0.1 x 0.2, top by 0.2 x 0.1, right by 0.3 x 0.2, bottom by 0."""
    keyframes = (Keyframe(0.0, 0, 0, 0, 0), Keyframe(1.0, -0.1, 0.2, 0.3, 0.0))
    boxes = non_rigid(BOX, Leg(SOFT, steps=2, keyframes=keyframes))
    assert boxes[1] == approximately(Box(0.10 - 0.02, 0.40 + 0.02, 0.30 + 0.06, 0.50))
    assert boxes[0] == approximately(Box(0.10 - 0.01, 0.40 + 0.01, 0.30 + 0.03, 0.50))


def test_eq_6_drift_adds_to_the_deformation():
    keyframes = (Keyframe(0.0, 0, 0, 0, 0), Keyframe(1.0, 0.5, 0, 0, 0))
    boxes = non_rigid(BOX, Leg(SOFT, steps=4, travel=(0.2, 0.1), keyframes=keyframes))
    assert boxes[-1] == approximately(Box(0.10 + 0.2 + 0.1, 0.40 + 0.1, 0.30 + 0.2, 0.50 + 0.1))


def test_keyframes_are_joined_by_a_cosine():
    keyframes = (Keyframe(0.0, 0, 0, 0, 0), Keyframe(0.5, 1, 0, 0, 0), Keyframe(1.0, 0, 0, 0, 0))
    left = [displacement(keyframes, time, Box(0, 0, 0.4, 0.1))[0] for time in (0.0, 0.125, 0.25, 0.5, 1.0)]
    assert left == pytest.approx([0.0, 0.4 * 0.146447, 0.2, 0.4, 0.0], abs=1e-6)


def test_a_path_that_leaves_the_frame_is_shifted():
    boxes = fitted([Box(0.5, 0.2, 0.7, 0.3), Box(0.9, 0.2, 1.1, 0.3)])
    assert boxes[0] == pytest.approx((0.4, 0.2, 0.6, 0.3), abs=1e-5)
    assert boxes[1] == pytest.approx((0.8, 0.2, 1.0, 0.3), abs=1e-5)


def test_a_path_too_long_for_the_frame_is_shortened_along_its_axis_alone():
    """Width 0.2 leaves 0.8 for a travel of 1.6, so half of every move remains; the way down stays as it is."""
    boxes = fitted([Box(0, 0.1, 0.2, 0.2), Box(0.8, 0.2, 1.0, 0.3), Box(1.6, 0.3, 1.8, 0.4)])
    assert [box.x0 for box in boxes] == pytest.approx([0.0, 0.4, 0.8], abs=1e-5)
    assert [box.y0 for box in boxes] == pytest.approx([0.1, 0.2, 0.3], abs=1e-5)


def test_a_phase_begins_where_the_one_before_ends():
    course = Course(BOX, (Leg(STILL, steps=3), Leg(RIGID, steps=2, travel=(0.2, 0.0)), Leg(STILL, steps=2)))
    boxes = integrate(course)
    assert len(boxes) == course.frames == 8
    assert boxes[0] == boxes[3]
    assert boxes[4].x0 - boxes[3].x0 == pytest.approx(0.1)
    assert boxes[5] == boxes[7]


def test_a_part_moves_with_its_whole():
    whole = [BOX, BOX.moved(0.1, 0.05), BOX.moved(0.2, 0.1)]
    part = [Box(0.15, 0.35, 0.20, 0.40)] * 3
    assert carried(part, whole)[2] == pytest.approx((0.35, 0.45, 0.40, 0.50))
