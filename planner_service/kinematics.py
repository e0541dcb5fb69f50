"""From cues to boxes: Eqs. (1), (5) and (6) of Sec. 3.2.  Pure.

A course is a first box and the legs that follow.  `B_t` is a box in fractions of the frame.  Time is counted in ticks,
`TICKS` a clip, whatever the number of frames: a layout is the path sampled at its frames (`sampled`), so any number of
frames shows the same path.  Velocities are fractions of the frame a tick.

The velocity is continuous where legs join: each leg begins and ends at a velocity that both sides can have
(`joined`), rest included, unless the next one is sudden or the instance is absent on one side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from shared.geometry import MINIMUM_SIDE, Box
from shared.motion_graph import MotionLabel
from shared.plan import MAXIMUM_FRAMES

Vector = tuple[float, float]

TICKS = MAXIMUM_FRAMES - 1
"""Of a clip: a tick is a frame of the longest layout."""
ACTION_WEIGHT = 0.5
"""lambda of Eq. (5): how much of velocity and acceleration the action cue decides, and not the window."""
WINDOW = TICKS // 24
"""K of Eq. (5), the sliding window, in ticks, at most a sixth of the leg: shorter than its ramps."""
RAMP = TICKS // 12
"""How many ticks a change of velocity takes, at most a third of its leg."""
MAXIMUM_SPEED = 4.0
"""The fastest that anything ever travels, fractions of the frame a clip."""
MAXIMUM_GROWTH = 1.5
"""The largest ratio of a side in one frame to the same side in the next."""
EDGE = 1e-6
"""Boxes keep this far from the frame's edges, so that rounding puts none outside."""


@dataclass(frozen=True)
class Keyframe:
    """Displacement of each boundary from the resting box at a moment of a leg.

    `time` in [0, 1] of the leg; left and right in shares of the resting width, top and bottom of its height.
    """

    time: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Leg:
    """`ticks` ticks of one label."""

    label: MotionLabel
    ticks: int
    travel: Vector = (0.0, 0.0)
    """The centre's displacement over the leg, fractions of the frame."""
    pickup: float = 0.0
    """Final minus initial speed over mean speed, in [-2, 2]: 0 is steady, 2 starts from rest."""
    scale: float = 1.0
    """Size at the end over size at the start, the same for both sides."""
    keyframes: tuple[Keyframe, ...] = ()
    sudden: bool = False
    """The window forgets the leg before, so that the velocity may change at once."""
    absent: bool = False
    """The instance is not there, so that nobody sees how its velocity changes."""


@dataclass(frozen=True)
class Course:
    start: Box
    legs: tuple[Leg, ...]


@dataclass(frozen=True)
class Path:
    """A course integrated: a box for each tick, the first included."""

    boxes: tuple[Box, ...]
    resting: tuple[Box, ...]
    """The same without deformation."""


def integrate(course: Course) -> Path:
    """The course's path, its boxes inside the frame."""
    path = unbounded(course)
    return Path(fitted(path.boxes), path.resting)


def unbounded(course: Course) -> Path:
    """The course's path by Eqs. (1), (5) and (6), wherever it leads."""
    boxes, resting = [course.start], [course.start]
    moves: list[Vector] = []
    for leg, (begin, end) in zip(course.legs, joined(course.legs), strict=True):
        if begin is None:
            moves = []
        box = resting[-1]
        match leg.label:
            case MotionLabel.MOTIONLESS:
                resting += motionless(box, leg.ticks)
                boxes += motionless(boxes[-1], leg.ticks)
            case MotionLabel.RIGID:
                resting += rigid(box, leg, begin, end, moves)
                boxes += resting[-leg.ticks :]
            case MotionLabel.NON_RIGID:
                resting += drifting(box, leg, begin, end)
                boxes += non_rigid(boxes[-1], leg, resting[-leg.ticks - 1 :])
        moves += [_move(a, b) for a, b in pairwise(resting[-leg.ticks - 1 :])]
    return Path(tuple(boxes), tuple(resting))


def joined(legs: Sequence[Leg]) -> list[tuple[Vector | None, Vector | None]]:
    """The velocity at which each leg begins and ends; None where it need not be anybody else's.

    Where two legs join it is, along each axis, the slower of the two if both go the same way, and else zero: so no leg
    swings back or beyond its end.
    """
    joints: list[Vector | None] = [None]
    for a, b in pairwise(legs):
        free = b.sudden or a.absent or b.absent
        slower = [_slower(p * (1 + a.pickup / 2) / a.ticks, q * (1 - b.pickup / 2) / b.ticks) for p, q in _axes(a, b)]
        joints.append(None if free else (slower[0], slower[1]))
    return list(pairwise([*joints, None]))


def motionless(box: Box, ticks: int) -> list[Box]:
    """Eq. (1): `B_t = B_1` for all t."""
    return [box] * ticks


def rigid(
    box: Box, leg: Leg, begin: Vector | None = None, end: Vector | None = None, before: Sequence[Vector] = ()
) -> list[Box]:
    """Eq. (5): `B_t = B_{t-1} + v_t + a_t / 2`.

    `v_t = (1 - lambda) v_window + lambda v_cue(t)` and `a_t` likewise, the window being the last K moves (`before`
    holds those of the legs before).  The size follows the scale cue alone.

    The window rounds the cue's corners, and so may come out short or far.  Moves are linear in the cue's travel, so one
    travel can be asked for with which they add up to the leg's own: a leg ends where its cue says.
    """
    axes = []
    window = max(2, min(WINDOW, leg.ticks // 6))
    for axis in (0, 1):
        first, last = _along(begin, axis), _along(end, axis)
        travel, past = leg.travel[axis], [move[axis] for move in before[-window:]]
        moves = predicted(action_cue(travel, leg, first, last), past, window)
        unit = action_cue(1.0, leg, None if first is None else 0.0, None if last is None else 0.0)
        response = predicted(unit, [0.0] * len(past), window)
        asked = (travel - sum(moves)) / sum(response)
        axes.append([move + asked * more for move, more in zip(moves, response, strict=True)])
    boxes = [box]
    for move in zip(*axes, strict=True):
        boxes.append(boxes[-1].moved(*move).scaled(leg.scale ** (1 / leg.ticks)))
    return boxes[1:]


def predicted(cue: Sequence[tuple[float, float]], before: Sequence[float], length: int) -> list[float]:
    """The moves `v_t + a_t / 2` along one axis, from the cue's v and a of each tick and a window of `length` moves.

    `a_window` is the change from move to move over the window, `v_window` its mean carried on by `a_window` from the
    window's middle to now.  What a window is too short to say it says as the cue does.
    """
    moves = list(before[-length:])
    total, begun = sum(moves), len(moves)
    for v_cue, a_cue in cue:
        held = min(len(moves), length)
        a_window = (moves[-1] - moves[-held]) / (held - 1) if held > 1 else a_cue
        v_window = total / held + a_window * held / 2 if held else v_cue
        v = (1 - ACTION_WEIGHT) * v_window + ACTION_WEIGHT * v_cue
        a = (1 - ACTION_WEIGHT) * a_window + ACTION_WEIGHT * a_cue
        moves.append(v + a / 2)
        total += moves[-1] - (moves[-length - 1] if held == length else 0.0)
    return moves[begun:]


def action_cue(travel: float, leg: Leg, begin: float | None, end: float | None) -> list[tuple[float, float]]:
    """Velocity at the beginning of each tick, and acceleration during it, along one axis: they add up to the travel.

    From `begin` to the leg's own speed in `RAMP` ticks, on with its pickup, and to `end` in as many.
    """
    ramp = min(RAMP, leg.ticks // 3)
    first, last = (0 if begin is None else ramp), (0 if end is None else ramp)
    slow, fast = 1 - leg.pickup / 2, 1 + leg.pickup / 2
    before, after = begin or 0.0, end or 0.0
    steady = leg.ticks - first - last
    speed = (travel - (first * before + last * after) / 2) / (steady + (first * slow + last * fast) / 2)

    def velocity(tick: int) -> float:
        if tick < first:
            return before + (speed * slow - before) * tick / first
        if tick > leg.ticks - last:
            return after + (speed * fast - after) * (leg.ticks - tick) / last
        return speed * (slow + (fast - slow) * (tick - first) / steady)

    velocities = [velocity(tick) for tick in range(leg.ticks + 1)]
    return [(v, following - v) for v, following in pairwise(velocities)]


def drifting(box: Box, leg: Leg, begin: Vector | None = None, end: Vector | None = None) -> list[Box]:
    """Where a non-rigid instance would be if it did not deform: the action cue's own movement and scale."""
    boxes = [box]
    axes = [action_cue(leg.travel[axis], leg, _along(begin, axis), _along(end, axis)) for axis in (0, 1)]
    for (vx, ax), (vy, ay) in zip(*axes, strict=True):
        boxes.append(boxes[-1].moved(vx + ax / 2, vy + ay / 2).scaled(leg.scale ** (1 / leg.ticks)))
    return boxes[1:]


def non_rigid(box: Box, leg: Leg, resting: Sequence[Box]) -> list[Box]:
    """Eq. (6): `B_t = B_{t-1} + Delta_t`, one displacement for each boundary: left, top, right, bottom.

    `Delta_t` is what the keyframes, interpolated, change from tick t-1 to t, and the drift of the whole (`resting`,
    from before the leg's first tick on).
    """
    boxes = [box]
    before = (0.0, 0.0, 0.0, 0.0)
    for tick, (was, now) in enumerate(pairwise(resting), start=1):
        after = displacement(leg.keyframes, tick / leg.ticks, now)
        delta = [new - old + q - p for p, q, old, new in zip(was, now, before, after, strict=True)]
        boxes.append(Box(*(side + change for side, change in zip(boxes[-1], delta, strict=True))))
        before = after
    return boxes[1:]


def displacement(keyframes: Sequence[Keyframe], time: float, resting: Box) -> tuple[float, float, float, float]:
    """The boundaries' displacement at `time` in [0, 1], fractions of the frame; cosine between keyframes."""
    for a, b in pairwise(keyframes):
        if a.time <= time <= b.time and a.time < b.time:
            share = (1 - math.cos(math.pi * (time - a.time) / (b.time - a.time))) / 2
            return (
                (a.left + (b.left - a.left) * share) * resting.width,
                (a.top + (b.top - a.top) * share) * resting.height,
                (a.right + (b.right - a.right) * share) * resting.width,
                (a.bottom + (b.bottom - a.bottom) * share) * resting.height,
            )
    return (0.0, 0.0, 0.0, 0.0)


def attached(part: Path, whole: Path, home: Box) -> Path:
    """A part's path: its whole's movement and scale, and its own.

    The part hangs at one point of its whole and moves with that.  What it moves by itself is measured in its whole's
    box, as others' movement is in the frame, and the point stays in that box.  `home`: the whole's box that the part
    was placed on.
    """
    first = part.resting[0]
    hung = [_share(c, low, high) for c, low, high in zip(first.center, home[:2], home[2:], strict=True)]
    boxes, resting = [], []
    for own, calm, theirs, rested in zip(part.boxes, part.resting, whole.boxes, whole.resting, strict=True):
        scale = rested.width / whole.resting[0].width
        u, v = (_clamped(h + new - old, 0.0, 1.0) for h, old, new in zip(hung, first.center, calm.center, strict=True))
        x, y = theirs.x0 + u * theirs.width, theirs.y0 + v * theirs.height
        left, top, right, bottom = (scale * (p - q) for p, q in zip(own, calm, strict=True))
        still = Box.around(x, y, calm.width * scale, calm.height * scale)
        resting.append(still)
        boxes.append(_inside(Box(still.x0 + left, still.y0 + top, still.x1 + right, still.y1 + bottom)))
    return Path(tuple(boxes), tuple(resting))


def sampled(boxes: Sequence[Box], frames: int) -> tuple[Box, ...]:
    """The boxes at so many moments, evenly from the first to the last: between ticks, in proportion."""
    made = []
    for frame in range(frames):
        tick, rest = divmod(frame * (len(boxes) - 1), frames - 1)
        share = rest / (frames - 1)
        following = boxes[min(tick + 1, len(boxes) - 1)]
        made.append(Box(*(a + (b - a) * share for a, b in zip(boxes[tick], following, strict=True))))
    return tuple(made)


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


def _inside(box: Box) -> Box:
    """The box moved into the frame, no larger than that and no thinner than a box may be."""
    room = 1 - 2 * EDGE
    width, height = _clamped(box.width, MINIMUM_SIDE, room), _clamped(box.height, MINIMUM_SIDE, room)
    x, y = box.center
    return Box.around(
        _clamped(x, EDGE + width / 2, 1 - EDGE - width / 2),
        _clamped(y, EDGE + height / 2, 1 - EDGE - height / 2),
        width,
        height,
    )


def _along(velocity: Vector | None, axis: int) -> float | None:
    return None if velocity is None else velocity[axis]


def _clamped(value: float, low: float, high: float) -> float:
    return max(low, min(value, high))


def _share(value: float, low: float, high: float) -> float:
    return _clamped((value - low) / (high - low), 0.0, 1.0)


def _slower(a: float, b: float) -> float:
    """Of two velocities along an axis; zero where they are opposed."""
    return 0.0 if a * b <= 0 else min(a, b, key=abs)


def _axes(a: Leg, b: Leg) -> list[tuple[float, float]]:
    return list(zip(a.travel, b.travel, strict=True))


def _move(a: Box, b: Box) -> Vector:
    return b.center[0] - a.center[0], b.center[1] - a.center[1]
