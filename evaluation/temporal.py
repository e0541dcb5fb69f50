"""How a whole video changes over time, with no knowledge of what it shows (VBench's terms, cheap versions)."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from generator_service.backbones.base import Frames
from shared.geometry import Box

FASTEST_SHARE = 0.05
"""VBench's dynamic degree looks at the 5 % of pixels that move most."""


WHOLE = Box(0.0, 0.0, 1.0, 1.0)


def flicker(frames: Frames, box: Box = WHOLE) -> float:
    """Mean absolute difference of neighbouring frames in a box, 0 to 1.  VBench's temporal flickering is 1 minus it."""
    _, height, width, _ = frames.shape
    rows = slice(int(box.y0 * height), max(int(box.y0 * height) + 1, round(box.y1 * height)))
    columns = slice(int(box.x0 * width), max(int(box.x0 * width) + 1, round(box.x1 * width)))
    frames = frames[:, rows, columns]
    return float(np.abs(np.diff(frames.astype(np.float32), axis=0)).mean() / 255)


def dynamic_degree(frames: Frames) -> float:
    """Mean optical flow of the pixels that move most, shares of the frame's height a frame.

    Farnebäck's flow from OpenCV, where VBench has RAFT's.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return float(np.mean([_fastest(a, b) for a, b in pairwise(grey)]) / frames.shape[1])


def _fastest(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> float:
    """Pixels a frame."""
    flow = cv2.calcOpticalFlowFarneback(
        before, after, None, pyr_scale=0.5, levels=3, winsize=9, iterations=3, poly_n=5, poly_sigma=1.1, flags=0
    )
    speeds = np.sort(np.linalg.norm(flow, axis=-1), axis=None)
    return float(speeds[-max(1, round(FASTEST_SHARE * speeds.size)) :].mean())
