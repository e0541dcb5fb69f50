"""Paths inside the frame, and at the frames of a layout."""

from collections.abc import Sequence

from shared.geometry import MINIMUM_SIDE, Box

EDGE = 1e-6
"""Boxes keep this far from the frame's edges, so that rounding puts none outside."""


def fitted(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """The same path inside the frame: smaller where too large, travel shortened where too long, and shifted as a whole.

    Shortening multiplies every displacement of the centre, hence every `v_t` and `a_t`, by one factor for each axis;
    a box that does not move stays one that does not move, and a constant aspect stays constant.
    """
    room = 1 - 2 * EDGE
    shrink = min(1.0, room / max(max(box.width, box.height) for box in boxes))
    grow = max(1.0, MINIMUM_SIDE / min(min(box.width, box.height) for box in boxes))
    sizes = [(min(room, box.width * shrink * grow), min(room, box.height * shrink * grow)) for box in boxes]
    xs = _fitted_axis([box.center[0] for box in boxes], [width for width, _ in sizes])
    ys = _fitted_axis([box.center[1] for box in boxes], [height for _, height in sizes])
    return tuple(Box.around(x, y, *size) for x, y, size in zip(xs, ys, sizes, strict=True))


def sampled(boxes: Sequence[Box], frames: int) -> tuple[Box, ...]:
    """The boxes at so many moments, evenly from the first to the last: between ticks, in proportion."""
    made = []
    for frame in range(frames):
        tick, rest = divmod(frame * (len(boxes) - 1), frames - 1)
        share = rest / (frames - 1)
        following = boxes[min(tick + 1, len(boxes) - 1)]
        made.append(Box(*(a + (b - a) * share for a, b in zip(boxes[tick], following, strict=True))))
    return tuple(made)


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


def _fitted_axis(centers: list[float], sizes: list[float]) -> list[float]:
    """Centres along one axis such that `center ± size / 2` stays within [EDGE, 1 - EDGE]."""
    first = centers[0]
    offsets = [center - first for center in centers]

    def extent(factor: float) -> tuple[float, float]:
        low = min(factor * offset - size / 2 for offset, size in zip(offsets, sizes, strict=True))
        high = max(factor * offset + size / 2 for offset, size in zip(offsets, sizes, strict=True))
        return low, high

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
    base = min(max(first, EDGE - low), 1 - EDGE - high)
    return [base + factor * offset for offset in offsets]
