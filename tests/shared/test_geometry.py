"""Boxes, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.geometry import MINIMUM_SIDE, Box, FrameBox, interpolate, mean_box, resample

WIDE = Box(0.1, 0.2, 0.7, 0.4)
frame_box = TypeAdapter(FrameBox)


def test_a_box_knows_its_measures() -> None:
    assert WIDE.width == pytest.approx(0.6)
    assert WIDE.height == pytest.approx(0.2)
    assert WIDE.area == pytest.approx(0.12)
    assert WIDE.aspect == pytest.approx(3.0)
    assert WIDE.center == pytest.approx((0.4, 0.3))


def test_moving_and_scaling() -> None:
    assert WIDE.moved(0.1, -0.2) == pytest.approx((0.2, 0.0, 0.8, 0.2))
    assert WIDE.scaled(0.5) == pytest.approx((0.25, 0.25, 0.55, 0.35))
    assert Box.around(0.4, 0.3, 0.6, 0.2) == pytest.approx(WIDE)


def test_overlap_of_two_boxes() -> None:
    other = Box(0.5, 0.3, 0.9, 0.9)  # shares 0.2 × 0.1 with the wide one
    assert WIDE.overlap(other) == pytest.approx(0.02)
    assert WIDE.iou(other) == pytest.approx(0.02 / (0.12 + 0.24 - 0.02))
    assert WIDE.overlap(Box(0.8, 0.2, 0.9, 0.4)) == 0.0


def test_mean_and_interpolation_work_side_by_side() -> None:
    last = Box(0.3, 0.2, 0.9, 0.8)
    assert mean_box([WIDE, last]) == pytest.approx((0.2, 0.2, 0.8, 0.6))
    assert interpolate(WIDE, last, 0.25) == pytest.approx((0.15, 0.2, 0.75, 0.5))


def test_resampling_keeps_first_and_last_and_is_linear_between() -> None:
    boxes = [Box(x, 0.0, x + 0.2, 0.5) for x in (0.0, 0.2, 0.6)]
    assert [box.x0 for box in resample(boxes, 5)] == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.6])
    assert resample(boxes, 1) == (boxes[0],)
    assert resample(boxes[:1], 3) == (boxes[0],) * 3


@given(st.integers(2, 241), st.integers(2, 241))
def test_a_straight_movement_stays_straight_in_any_number_of_frames(frames: int, resampled: int) -> None:
    boxes = [interpolate(WIDE, Box(0.3, 0.5, 0.9, 0.7), frame / (frames - 1)) for frame in range(frames)]
    steps = [b.x0 - a.x0 for a, b in zip(resample(boxes, resampled), resample(boxes, resampled)[1:], strict=False)]
    assert steps == pytest.approx([0.2 / (resampled - 1)] * (resampled - 1))


@pytest.mark.parametrize(
    "sides",
    [
        (-0.01, 0.2, 0.5, 0.4),
        (0.1, 0.2, 1.01, 0.4),
        (0.5, 0.2, 0.5, 0.4),
        (0.5, 0.4, 0.6, 0.2),
        (0.5, 0.2, 0.5 + MINIMUM_SIDE / 2, 0.4),
        (0.1, 0.2, float("nan"), 0.4),
        (0.1, 0.2, 0.4),
    ],
)
def test_a_frame_box_is_inside_the_frame_and_has_area(sides: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        frame_box.validate_python(sides)


def test_a_frame_box_is_an_array_on_the_wire() -> None:
    assert frame_box.dump_json(WIDE) == b"[0.1,0.2,0.7,0.4]"
    assert frame_box.validate_json("[0.1, 0.2, 0.7, 0.4]") == WIDE
