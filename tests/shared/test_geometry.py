"""Boxes by hand; no square anywhere."""

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.geometry import Box, FrameBox, interpolate, mean_box, resample

WIDE = Box(0.1, 0.2, 0.5, 0.3)


def test_sides_centre_area_and_aspect():
    assert (WIDE.width, WIDE.height) == pytest.approx((0.4, 0.1))
    assert WIDE.center == pytest.approx((0.3, 0.25))
    assert WIDE.area == pytest.approx(0.04)
    assert WIDE.aspect == pytest.approx(4.0)


def test_around_is_the_inverse_of_centre_and_size():
    assert Box.around(0.3, 0.25, 0.4, 0.1) == pytest.approx(tuple(WIDE))


def test_moving_and_scaling():
    assert WIDE.moved(0.1, -0.2) == pytest.approx((0.2, 0.0, 0.6, 0.1))
    assert WIDE.scaled(0.5) == pytest.approx((0.2, 0.225, 0.4, 0.275))


def test_overlap_and_iou():
    other = Box(0.4, 0.25, 0.6, 0.45)
    assert WIDE.overlap(other) == pytest.approx(0.1 * 0.05)
    assert WIDE.iou(other) == pytest.approx(0.005 / (0.04 + 0.04 - 0.005))
    assert WIDE.overlap(Box(0.6, 0.2, 0.7, 0.3)) == 0.0


def test_mean_and_interpolation():
    last = WIDE.moved(0.4, 0.2)
    assert mean_box([WIDE, last]) == pytest.approx(tuple(WIDE.moved(0.2, 0.1)))
    assert interpolate(WIDE, last, 0.25) == pytest.approx(tuple(WIDE.moved(0.1, 0.05)))


@pytest.mark.parametrize("frames", [2, 3, 7, 49])
def test_resampling_keeps_first_and_last_and_the_path_between(frames):
    path = [WIDE, WIDE.moved(0.1, 0.0), WIDE.moved(0.2, 0.4)]
    sampled = resample(path, frames)
    assert len(sampled) == frames
    assert sampled[0] == pytest.approx(tuple(path[0]))
    assert sampled[-1] == pytest.approx(tuple(path[-1]))
    if frames % 2:
        assert sampled[frames // 2] == pytest.approx(tuple(path[1]))


def test_resampling_one_box_repeats_it():
    assert resample([WIDE], 3) == (WIDE,) * 3
    assert resample([WIDE, WIDE.moved(0.1, 0)], 1) == (WIDE,)


@pytest.mark.parametrize(
    "sides",
    [[-0.1, 0.2, 0.5, 0.3], [0.1, 0.2, 1.1, 0.3], [0.5, 0.2, 0.1, 0.3], [0.1, 0.2, 0.105, 0.3], [0.1, 0.2, 0.5]],
)
def test_a_box_of_a_plan_is_inside_the_frame_and_has_an_area(sides):
    with pytest.raises(ValidationError):
        TypeAdapter(FrameBox).validate_python(sides)
    assert TypeAdapter(FrameBox).validate_json("[0.1, 0.2, 0.5, 0.3]") == WIDE
