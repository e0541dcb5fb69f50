"""The MP4 is decoded again and compared with what went in."""

import io
import resource
import struct
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import pytest

from generator_service.media.video import encode_mp4, enlarge, enlargement
from shared.errors import DiskFull


def moving_square(frames: int, height: int, width: int) -> np.ndarray:
    """A soft gradient with a red square that goes to the right: nothing repeats, nothing is symmetric."""
    rows, columns = np.mgrid[0:height, 0:width]
    background = np.stack([columns * 200 / width, rows * 200 / height, np.full((height, width), 90)], axis=-1)
    video = np.repeat(background[None], frames, axis=0)
    side = height // 4
    for frame in range(frames):
        left = frame * (width - side) // frames
        video[frame, side : 2 * side, left : left + side] = (220, 30, 40)
    return video.astype(np.uint8)


@dataclass(frozen=True)
class Decoded:
    pictures: np.ndarray
    codec: str
    pixel_format: str
    fps: Fraction
    seconds: Fraction


def decoded(video: bytes) -> Decoded:
    with av.open(io.BytesIO(video)) as container:
        stream = container.streams.video[0]
        return Decoded(
            pictures=np.stack([picture.to_ndarray(format="rgb24") for picture in container.decode(stream)]),
            codec=stream.codec_context.name,
            pixel_format=stream.codec_context.pix_fmt,
            fps=stream.average_rate,
            seconds=stream.duration * stream.time_base,
        )


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Decibels, of 8-bit pictures."""
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def top_level_boxes(video: bytes) -> list[bytes]:
    """The names of the MP4's outermost boxes, in file order."""
    names, place = [], 0
    while place < len(video):
        size, name = struct.unpack_from(">I4s", video, place)
        names.append(name)
        place += size
    return names


@pytest.mark.parametrize(("frames", "height", "width", "fps"), [(9, 48, 64, 8), (1, 64, 48, 8), (12, 272, 480, 24)])
def test_decodes_to_what_went_in(frames: int, height: int, width: int, fps: int) -> None:
    source = moving_square(frames, height, width)
    video, encoding = encode_mp4(source, fps)
    result = decoded(video)
    expected = enlarge(source, encoding.enlargement)
    assert result.pictures.shape == expected.shape
    assert psnr(result.pictures, expected) > 36
    assert (result.codec, result.pixel_format) == ("h264", "yuv420p")
    assert result.fps == fps
    assert result.seconds == Fraction(frames, fps)


def test_colours_are_not_swapped_or_shifted() -> None:
    flat = np.empty((3, 240, 320, 3), dtype=np.uint8)
    flat[:] = (200, 60, 20)
    pictures = decoded(encode_mp4(flat, 8)[0]).pictures
    assert np.abs(pictures.astype(int) - flat).max() <= 3


def test_the_index_stands_before_the_data() -> None:
    names = top_level_boxes(encode_mp4(moving_square(9, 48, 64), 8)[0])
    assert names.index(b"moov") < names.index(b"mdat")


def test_the_same_frames_give_the_same_bytes_whatever_memory_held_before() -> None:
    random = np.random.default_rng(0)
    restless = np.clip(128 + random.normal(0, 9, (9, 48, 64, 3)).cumsum(axis=0), 0, 255).astype(np.uint8)
    files = set()
    for _ in range(12):
        blocks = [np.full(random.integers(1000, 400_000), random.random()) for _ in range(40)]
        del blocks[::2]  # the encoder gets memory that was used before
        files.add(encode_mp4(restless, 8)[0])
    assert len(files) == 1


@pytest.mark.parametrize(
    ("height", "width", "factor"), [(48, 64, 5), (64, 48, 5), (240, 320, 1), (239, 500, 2), (480, 720, 1), (1, 1, 240)]
)
def test_enlargement_brings_the_shorter_side_to_240(height: int, width: int, factor: int) -> None:
    assert enlargement(height, width) == factor


def test_enlarged_pixels_are_squares() -> None:
    tiny = np.arange(2 * 1 * 2 * 3, dtype=np.uint8).reshape(2, 1, 2, 3)
    large = enlarge(tiny, 3)
    assert large.shape == (2, 3, 6, 3)
    assert (large[1, :, 3:] == tiny[1, 0, 1]).all()


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="Got 321 x 240 pixels but yuv420p needs even sides"):
        encode_mp4(np.zeros((2, 240, 321, 3), dtype=np.uint8), 8)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 48, 64, 3), dtype=np.float32),
        np.zeros((48, 64, 3), dtype=np.uint8),
        np.zeros((2, 3, 48, 64), dtype=np.uint8),
        np.zeros((0, 48, 64, 3), dtype=np.uint8),
    ],
)
def test_what_is_no_video_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        encode_mp4(frames, 8)


def test_a_full_disk_is_named_and_worth_another_try() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (20, 240, 320, 3), dtype=np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(DiskFull, match="no room") as caught:
            encode_mp4(frames, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.retryable
