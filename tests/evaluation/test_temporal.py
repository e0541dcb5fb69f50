import numpy as np
import pytest

from evaluation.temporal import dynamic_degree, flicker
from shared.geometry import Box


def moving_square(step: int) -> np.ndarray:
    """A textured square that moves right by `step` px a frame, before a plain background; 40 × 72 px."""
    texture = np.random.default_rng(0).integers(80, 255, size=(5, 5, 3)).repeat(4, axis=0).repeat(4, axis=1)
    frames = np.full((5, 40, 72, 3), 40, dtype=np.uint8)
    for index, frame in enumerate(frames):
        frame[10:30, 10 + step * index : 30 + step * index] = texture
    return frames


def test_a_still_video_neither_flickers_nor_moves() -> None:
    still = moving_square(0)
    assert flicker(still) == 0
    assert dynamic_degree(still) == pytest.approx(0, abs=1e-3)


def test_flicker_by_hand() -> None:
    frames = np.zeros((3, 2, 4, 3), dtype=np.uint8)
    frames[1] = 51  # up by a fifth of the range, then down again
    assert flicker(frames) == pytest.approx(0.2)


def test_flicker_inside_a_box_by_hand() -> None:
    frames = np.zeros((2, 4, 8, 3), dtype=np.uint8)
    frames[1, 2:, :2] = 255  # the lower left eighth
    assert flicker(frames, Box(0.0, 0.5, 0.5, 1.0)) == pytest.approx(0.5)
    assert flicker(frames, Box(0.5, 0.0, 1.0, 1.0)) == 0
    assert flicker(frames, Box(0.1, 0.6, 0.11, 0.61)) == 1  # less than a pixel is one


def test_the_dynamic_degree_is_about_the_speed_of_what_moves() -> None:
    slow, fast = dynamic_degree(moving_square(1)), dynamic_degree(moving_square(3))
    assert slow == pytest.approx(1 / 40, rel=0.4)
    assert fast == pytest.approx(3 / 40, rel=0.4)
