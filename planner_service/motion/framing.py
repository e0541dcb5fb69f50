"""Paths inside the frame, and at the frames of a layout."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.geometry import MINIMUM_SIDE, Box

Array = NDArray[np.float64]

EDGE = 1e-6
"""Boxes keep this far from the frame's edges, so that rounding puts none outside."""


def fitted(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """The same path inside the frame: smaller where too large, travel shortened where too long, and shifted as a whole.

    Shortening multiplies every displacement of the centre, hence every `v_t` and `a_t`, by one factor for each axis;
    a box that does not move stays one that does not move, and a constant aspect stays constant.
    """
    path = np.array(boxes)
    low, high = path[:, :2], path[:, 2:]
    room = 1 - 2 * EDGE
    sizes, centers = high - low, (low + high) / 2
    sizes = np.minimum(room, sizes * min(1.0, room / sizes.max()) * max(1.0, MINIMUM_SIDE / sizes.min()))
    centers = np.stack([_fitted_axis(centers[:, axis], sizes[:, axis]) for axis in (0, 1)], axis=1)
    return _boxes(np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1))


def sampled(boxes: Sequence[Box], frames: int) -> tuple[Box, ...]:
    """The boxes at so many moments, evenly from the first to the last: between ticks, in proportion."""
    path, moments = np.array(boxes), np.linspace(0, len(boxes) - 1, frames)
    return _boxes(np.stack([np.interp(moments, np.arange(len(boxes)), side) for side in path.T], axis=1))


def inside(box: Box) -> Box:
    """The box moved into the frame, no larger than that and no thinner than a box may be."""
    room = 1 - 2 * EDGE
    width, height = clamped(box.width, MINIMUM_SIDE, room), clamped(box.height, MINIMUM_SIDE, room)
    x, y = box.center
    return Box.around(
        clamped(x, EDGE + width / 2, 1 - EDGE - width / 2),
        clamped(y, EDGE + height / 2, 1 - EDGE - height / 2),
        width,
        height,
    )


def clamped(value: float, low: float, high: float) -> float:
    return max(low, min(value, high))


def _fitted_axis(centers: Array, sizes: Array) -> Array:
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
    fitted_centers: Array = clamped(float(centers[0]), EDGE - low, 1 - EDGE - high) + factor * offsets
    return fitted_centers


def _boxes(sides: Array) -> tuple[Box, ...]:
    return tuple(Box(*box) for box in sides.tolist())
