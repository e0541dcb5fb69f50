import io

import numpy as np
import pytest
from PIL import Image, ImageColor

from generator_service.media.preview import (
    CAPTION_SIZE,
    COLOURS,
    COLUMNS,
    GAP,
    MARGIN,
    PICTURE_WIDTH,
    TITLE_LINE,
    draw_preview,
    pick_frames,
)
from shared.motion_graph import MotionLabel
from shared.plan import Phase, Plan

WIDTH, HEIGHT = 64, 48
FACTOR = PICTURE_WIDTH // WIDTH


@pytest.fixture
def frames() -> np.ndarray:
    """Frame t is the grey t·10, its first pixel white: [9, 48, 64, 3]."""
    video = np.empty((9, HEIGHT, WIDTH, 3), dtype=np.uint8)
    video[:] = np.arange(9).reshape(9, 1, 1, 1) * 10
    video[:, 0, 0] = 255
    return video


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]).convert("RGB"))


def picture(sheet: np.ndarray, place: int) -> np.ndarray:
    """The picture at that place of a sheet whose title is one line."""
    height = HEIGHT * FACTOR
    top = MARGIN + TITLE_LINE + GAP + place // COLUMNS * (height + CAPTION_SIZE + 2 * GAP)
    left = MARGIN + place % COLUMNS * (PICTURE_WIDTH + GAP)
    return sheet[top : top + height, left : left + PICTURE_WIDTH]


def extent(picture: np.ndarray, colour: str) -> tuple[float, ...]:
    """Where that colour is, as the fractions x0, x1, y1; y0 is the name's tab."""
    rows, columns = np.nonzero((picture == ImageColor.getrgb(colour)).all(axis=-1))
    height, width = picture.shape[:2]
    return columns.min() / width, (columns.max() + 1) / width, (rows.max() + 1) / height


def test_shows_the_frames_enlarged_pixel_by_pixel(frames: np.ndarray) -> None:
    sheet = opened(draw_preview(frames, "a prompt", None))
    for place, index in enumerate([0, 2, 3, 5, 6, 8]):
        expected = frames[index].repeat(FACTOR, axis=0).repeat(FACTOR, axis=1)
        assert np.array_equal(picture(sheet, place), expected)


@pytest.mark.parametrize(("place", "frame"), [(0, 0), (2, 3), (5, 8)])
def test_boxes_are_where_the_plan_says(frames: np.ndarray, plan: Plan, place: int, frame: int) -> None:
    shown = picture(opened(draw_preview(frames, plan.prompt, plan)), place)
    pixel = 1.01 / PICTURE_WIDTH, 1.01 / PICTURE_WIDTH, 1.01 / (HEIGHT * FACTOR)
    for track, label in zip(plan.tracks, (MotionLabel.RIGID, MotionLabel.MOTIONLESS), strict=True):
        box = track.boxes[frame]
        found = extent(shown, COLOURS[label][0])
        assert all(abs(a - b) <= p for a, b, p in zip(found, (box.x0, box.x1, box.y1), pixel, strict=True)), track


def test_the_nearest_instance_is_drawn_last(frames: np.ndarray, plan: Plan) -> None:
    """In the last frame the boxes are moved onto one another: only the nearer one is seen."""
    car, tree = plan.tracks
    hidden = tree.model_copy(update={"boxes": (car.boxes[8],) * 9})
    rigid, motionless = COLOURS[MotionLabel.RIGID][0], COLOURS[MotionLabel.MOTIONLESS][0]
    for order, seen, unseen in ((("car", "tree"), rigid, motionless), (("tree", "car"), motionless, rigid)):
        stacked = plan.model_copy(update={"tracks": (car, hidden), "depth_order": order})
        last = picture(opened(draw_preview(frames, plan.prompt, stacked)), 5)
        sides = last[int(car.boxes[8].y0 * 240) + 10 :]  # below the names
        assert (sides == ImageColor.getrgb(seen)).all(axis=-1).any()
        assert not (sides == ImageColor.getrgb(unseen)).all(axis=-1).any()


def test_what_is_absent_is_not_drawn(frames: np.ndarray, plan: Plan) -> None:
    """The tree appears in frame 3, which is the third of six pictures."""
    car, tree = plan.tracks
    gone, there = (MotionLabel.MOTIONLESS, 0, 2, True), (MotionLabel.MOTIONLESS, 3, 8, False)
    phases = tuple(
        Phase(label=label, start=start, end=end, absent=absent) for label, start, end, absent in (gone, there)
    )
    appearing = plan.model_copy(update={"tracks": (car, tree.model_copy(update={"phases": phases}))})
    sheet = opened(draw_preview(frames, plan.prompt, appearing))
    colour = ImageColor.getrgb(COLOURS[MotionLabel.MOTIONLESS][0])
    drawn = [bool((picture(sheet, place) == colour).all(axis=-1).any()) for place in range(6)]
    assert drawn == [False, False, True, True, True, True]


def test_the_video_itself_is_not_drawn_on(frames: np.ndarray, plan: Plan) -> None:
    before = frames.copy()
    draw_preview(frames, plan.prompt, plan)
    assert np.array_equal(frames, before)


@pytest.mark.parametrize(
    ("frames", "expected"), [(1, [0]), (2, [0, 1]), (6, [0, 1, 2, 3, 4, 5]), (49, [0, 10, 19, 29, 38, 48])]
)
def test_first_and_last_frame_and_evenly_between(frames: int, expected: list[int]) -> None:
    assert pick_frames(frames) == expected


@pytest.mark.parametrize("prompt", ["word " * 400, "x" * 2000, "une voiture\nrouge 🚗 движется", "\u202e!"])
@pytest.mark.parametrize("shape", [(1, 48, 64), (3, 480, 720), (2, 720, 480)])
def test_any_prompt_and_size(prompt: str, shape: tuple[int, int, int]) -> None:
    sheet = opened(draw_preview(np.zeros((*shape, 3), dtype=np.uint8), prompt, None))
    assert sheet.shape[1] == 2 * MARGIN + COLUMNS * (PICTURE_WIDTH + GAP) - GAP
