"""Paths inside the frame, and at the frames of a layout."""

import numpy as np
from numpy.typing import NDArray

from shared.geometry import MINIMUM_SIDE, Box

Array = NDArray[np.float64]

EDGE = 1e-6
"""Boxes keep this far from the frame's edges, so that rounding puts none outside."""


def fit(path: Array) -> Array:
    """The same path inside the frame: smaller where too large, travel shortened where too long, and shifted as a whole.

    path: [tick, side].  Shortening multiplies every displacement of the centre, hence every `v_t` and `a_t`, by one
    factor for each axis; a box that does not move stays one that does not move, and a constant aspect stays constant.
    """
    low, high = path[:, :2], path[:, 2:]
    room = 1 - 2 * EDGE
    sizes, centers = high - low, (low + high) / 2
    sizes = np.minimum(room, sizes * min(1.0, room / sizes.max()) * max(1.0, MINIMUM_SIDE / sizes.min()))
    centers = np.stack([_fit_axis(centers[:, axis], sizes[:, axis]) for axis in (0, 1)], axis=1)
    return np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1)


def resample(path: Array, frames: int) -> tuple[Box, ...]:
    """The boxes at so many moments, evenly from the first to the last: between ticks, in proportion."""
    moments = np.linspace(0, len(path) - 1, frames)
    sides = np.stack([np.interp(moments, np.arange(len(path)), side) for side in path.T], axis=1)
    return tuple(Box(*box) for box in sides.tolist())


def clip_to_frame(boxes: Array) -> Array:
    """[tick, side]: each box moved into the frame, no larger than that and no thinner than a box may be."""
    half = np.clip(boxes[:, 2:] - boxes[:, :2], MINIMUM_SIDE, 1 - 2 * EDGE) / 2
    centers = np.clip((boxes[:, :2] + boxes[:, 2:]) / 2, EDGE + half, 1 - EDGE - half)
    return np.concatenate([centers - half, centers + half], axis=1)


def clamp(value: float, low: float, high: float) -> float:
    return max(low, min(value, high))


def _fit_axis(centers: Array, sizes: Array) -> Array:
    """Centres along one axis such that `center ± size / 2` stays within [EDGE, 1 - EDGE]."""
    offsets = centers - centers[0]

    def extent(factor: float) -> tuple[float, float]:
        return float((factor * offsets - sizes / 2).min()), float((factor * offsets + sizes / 2).max())

    room = 1 - 2 * EDGE
    factor = 1.0
    low, high = extent(factor)
    if high - low > room:
        fits, too_long = 0.0, 1.0  # the extent is convex in the factor and fits at 0
        for _ in range(30):
            middle = (fits + too_long) / 2
            low, high = extent(middle)
            fits, too_long = (middle, too_long) if high - low <= room else (fits, middle)
        factor = fits
        low, high = extent(factor)
    fitted_centers: Array = clamp(float(centers[0]), EDGE - low, 1 - EDGE - high) + factor * offsets
    return fitted_centers
