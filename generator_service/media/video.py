"""Frames as an MP4 that every browser plays: H.264, yuv420p, the index before the data.

A video smaller than a thumbnail is enlarged by a whole factor, pixel by pixel, so that its shorter side has at least
`MINIMUM_SIDE` pixels: players would blur it, and 4:2:0 chroma would smear it.  Nothing is invented, and the factor
stands in the manifest.
"""

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from numpy.typing import NDArray

from shared.wire import WireModel

CODEC = "libx264"
PIXEL_FORMAT = "yuv420p"
CRF = 16
"""Constant rate factor: visually lossless; 18 is where trained eyes begin to see a difference."""
PRESET = "medium"
REPRODUCIBLE = "cpu-independent=1"
"""x264's fast paths differ between processors and, with macroblock trees, from run to run; these do not."""
MINIMUM_SIDE = 240
"""Pixels; smaller videos are enlarged."""


class Encoding(WireModel):
    """How frames became the file."""

    codec: str = CODEC
    pixel_format: str = PIXEL_FORMAT
    crf: int = CRF
    enlargement: int
    """Each pixel became a square of this side."""


def enlargement(height: int, width: int) -> int:
    """The whole factor that brings the shorter side to `MINIMUM_SIDE`; 1 for what is large enough."""
    return max(1, -(-MINIMUM_SIDE // min(height, width)))


def enlarged(frames: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """[frame, height, width, 3] -> [frame, factor·height, factor·width, 3], nearest neighbour."""
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def encode_mp4(frames: NDArray[np.uint8], fps: int) -> tuple[bytes, Encoding]:
    """frames: [frame, height, width, 3], RGB -> the file, and how it was made.

    The same frames give the same bytes.  Raises ValueError for sizes that H.264 with 4:2:0 chroma cannot hold.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(f"Got {frames.dtype} {frames.shape} but expected uint8 [frame, height, width, 3]")
    factor = enlargement(*frames.shape[1:3])
    pictures = enlarged(frames, factor)
    height, width = pictures.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"Got {width} x {height} pixels but {PIXEL_FORMAT} needs even sides")

    # In a file, not in memory: to put the index first, the muxer opens what it wrote a second time.
    with TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        with av.open(file, mode="w", format="mp4", options={"movflags": "+faststart"}) as container:
            options = {"crf": str(CRF), "preset": PRESET, "x264-params": REPRODUCIBLE}
            stream = container.add_stream(CODEC, rate=Fraction(fps), options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, PIXEL_FORMAT
            stream.thread_count = 1  # the bytes must not depend on the number of cores
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        return file.read_bytes(), Encoding(enlargement=factor)
