"""Boxes by hand; no square anywhere."""

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.geometry import Box, FrameBox

WIDE = Box(0.1, 0.2, 0.5, 0.3)


def test_sides_centre_area_and_aspect():
    assert (WIDE.width, WIDE.height) == pytest.approx((0.4, 0.1))
    assert WIDE.center == pytest.approx((0.3, 0.25))
    assert WIDE.area == pytest.approx(0.04)
    assert WIDE.aspect == pytest.approx(4.0)


def test_around_is_the_inverse_of_centre_and_size():
    assert Box.around(0.3, 0.25, 0.4, 0.1) == pytest.approx(tuple(WIDE))


def test_moving_and_scaling():
    assert WIDE.translate(0.1, -0.2) == pytest.approx((0.2, 0.0, 0.6, 0.1))
    assert WIDE.scale(0.5) == pytest.approx((0.2, 0.225, 0.4, 0.275))


def test_overlap():
    other = Box(0.4, 0.25, 0.6, 0.45)
    assert WIDE.overlap(other) == pytest.approx(0.1 * 0.05)
    assert WIDE.overlap(Box(0.6, 0.2, 0.7, 0.3)) == 0.0


@pytest.mark.parametrize(
    "sides",
    [[-0.1, 0.2, 0.5, 0.3], [0.1, 0.2, 1.1, 0.3], [0.5, 0.2, 0.1, 0.3], [0.1, 0.2, 0.105, 0.3], [0.1, 0.2, 0.5]],
)
def test_a_box_of_a_plan_is_inside_the_frame_and_has_an_area(sides):
    with pytest.raises(ValidationError):
        TypeAdapter(FrameBox).validate_python(sides)
    assert TypeAdapter(FrameBox).validate_json("[0.1, 0.2, 0.5, 0.3]") == WIDE
