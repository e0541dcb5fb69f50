"""Frames as an MP4 that every browser plays: H.264, yuv420p, faststart.

A tiny video is upscaled by an integer factor, nearest neighbour, so that its shorter side has at least `MINIMUM_SIDE`
pixels: players would blur it, and 4:2:0 chroma subsampling would smear it.  The manifest records the factor.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from numpy.typing import NDArray

from shared.errors import DiskFull
from shared.wire import WireModel

CODEC = "libx264"
PIXEL_FORMAT = "yuv420p"
CRF = 16
"""Constant rate factor; about 18 is visually lossless."""
PRESET = "medium"
REPRODUCIBLE = "cpu-independent=1"
"""x264's optimised code paths differ between processors, and between runs with macroblock trees."""
MINIMUM_SIDE = 240
"""Pixels; smaller videos are enlarged."""


class Encoding(WireModel):
    """The encoder's settings."""

    codec: str = CODEC
    pixel_format: str = PIXEL_FORMAT
    crf: int = CRF
    enlargement: int
    """The integer upscaling factor."""


def enlargement(height: int, width: int) -> int:
    """The least integer factor that brings the shorter side to `MINIMUM_SIDE`."""
    return max(1, -(-MINIMUM_SIDE // min(height, width)))


def enlarge(frames: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """[frame, height, width, 3] -> [frame, factor·height, factor·width, 3], nearest neighbour."""
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def encode_mp4(frames: NDArray[np.uint8], fps: int) -> tuple[bytes, Encoding]:
    """frames: [frame, height, width, 3], RGB -> the file, and how it was made.

    The same frames give the same bytes.  Raises ValueError for sizes that H.264 with 4:2:0 chroma cannot hold, and
    DiskFull where there is no room for the file.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(f"Got {frames.dtype} {frames.shape} but expected uint8 [frame, height, width, 3]")
    factor = enlargement(*frames.shape[1:3])
    pictures = enlarge(frames, factor)
    height, width = pictures.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"Got {width} x {height} pixels but {PIXEL_FORMAT} needs even sides")

    # In a file, not in memory: for faststart the muxer opens its own output a second time.
    with _full_disks_named(), TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        with av.open(file, mode="w", format="mp4", options={"movflags": "+faststart"}) as container:
            options = {"crf": str(CRF), "preset": PRESET, "x264-params": REPRODUCIBLE}
            stream = container.add_stream(CODEC, rate=Fraction(fps), options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, PIXEL_FORMAT
            stream.thread_count = 1  # the output depends on the number of threads
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        return file.read_bytes(), Encoding(enlargement=factor)


@contextmanager
def _full_disks_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFull("the worker's disk has no room for the video while it is encoded") from error
