"""From cues to boxes: Eqs. (1), (5) and (6) of Sec. 3.2.  Pure.

A course is a first box and the legs that follow.  `B_t` is a box in fractions of the frame; one step of time is one
layout frame, so velocities are fractions of the frame a frame.  Cues are given for whole legs and not by frame,
so that a path is the same path at any number of frames.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from shared.geometry import MINIMUM_SIDE, Box
from shared.motion_graph import MotionLabel

Vector = tuple[float, float]

ACTION_WEIGHT = 0.5
"""lambda of Eq. (5): how much of velocity and acceleration the action cue decides, and not the window."""
WINDOW_SHARE = 1 / 12
"""K of Eq. (5), the sliding window, as a share of the clip."""
MAXIMUM_STEP = 0.2
"""The farthest that a centre may move from one frame to the next, a fraction of the frame."""
MAXIMUM_GROWTH = 1.5
"""The largest ratio of a side in one frame to the same side in the next."""
PROBE = 1e-3
"""A travel that no bound cuts, to find out what comes of a cue."""
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
    """`steps` steps of one label.  The first leg's steps are one fewer than its frames."""

    label: MotionLabel
    steps: int
    travel: Vector = (0.0, 0.0)
    """The centre's displacement over the leg, fractions of the frame."""
    pickup: float = 0.0
    """Final minus initial speed over mean speed, in [-2, 2]: 0 is steady, 2 starts from rest."""
    scale: float = 1.0
    """Size at the end over size at the start, the same for both sides."""
    keyframes: tuple[Keyframe, ...] = ()
    sudden: bool = False
    """The window forgets the leg before, so that the velocity may change at once."""


@dataclass(frozen=True)
class Course:
    start: Box
    legs: tuple[Leg, ...]

    @property
    def frames(self) -> int:
        return 1 + sum(leg.steps for leg in self.legs)


def integrate(course: Course) -> tuple[Box, ...]:
    """The course's boxes, one a frame, inside the frame."""
    return fitted(unbounded(course))


def unbounded(course: Course) -> tuple[Box, ...]:
    """The course's boxes by Eqs. (1), (5) and (6), wherever they lead."""
    window_length = max(2, round(WINDOW_SHARE * course.frames))
    boxes = [course.start]
    moves: list[Vector] = []
    for leg in course.legs:
        if leg.sudden:
            moves = []
        match leg.label:
            case MotionLabel.MOTIONLESS:
                boxes += motionless(boxes[-1], leg.steps)
                moves = []
            case MotionLabel.RIGID:
                boxes += rigid(boxes[-1], leg, window_length, moves)
                moves = _moves(boxes[-leg.steps - 1 :])
            case MotionLabel.NON_RIGID:
                boxes += non_rigid(boxes[-1], leg)
                moves = []
    return tuple(boxes)


def motionless(box: Box, steps: int) -> list[Box]:
    """Eq. (1): `B_t = B_1` for all t."""
    return [box] * steps


def rigid(box: Box, leg: Leg, window_length: int, before: Sequence[Vector] = ()) -> list[Box]:
    """Eq. (5): `B_t = B_{t-1} + v_t + a_t / 2`.

    `v_t = (1 - lambda) v_window + lambda v_cue(t)` and `a_t` likewise, the window being the last K moves; while it is
    empty it says what the cue says.  `before` holds the moves of the leg before.  The size follows the scale cue alone.

    The window lags behind the cue.  The moves are linear in the cue's travel, so one travel can be asked for that makes
    them add up to the leg's own: a leg ends where its cue says, unless `MAXIMUM_STEP` stops it.
    """
    boxes = [box]
    for move in _predicted(_calibrated(leg, window_length, before), window_length, before):
        boxes.append(boxes[-1].moved(*move).scaled(leg.scale ** (1 / leg.steps)))
    return boxes[1:]


def _calibrated(leg: Leg, window_length: int, before: Sequence[Vector]) -> Leg:
    """The leg with the travel to ask for: its own, and the shortfall divided by what comes of a unit of travel."""
    reached = _sum(_predicted(leg, window_length, before))
    probe = replace(leg, travel=(PROBE, PROBE))
    response = _sum(_predicted(probe, window_length, [(0.0, 0.0)] * len(before)))[0] / PROBE
    x, y = leg.travel
    return replace(leg, travel=(x + (x - reached[0]) / response, y + (y - reached[1]) / response))


def _predicted(leg: Leg, window_length: int, before: Sequence[Vector]) -> list[Vector]:
    """The moves `v_t + a_t / 2` of a leg."""
    moves = list(before)
    for step in range(1, leg.steps + 1):
        v_cue, a_cue = _action_cue(leg, step)
        window = moves[-window_length:]
        v_window, a_window = (_mean(window), _slope(window)) if window else (v_cue, a_cue)
        v = _mix(v_window, v_cue)
        a = _mix(a_window, a_cue)
        moves.append(_bounded((v[0] + a[0] / 2, v[1] + a[1] / 2)))
    return moves[len(before) :]


def non_rigid(box: Box, leg: Leg) -> list[Box]:
    """Eq. (6): `B_t = B_{t-1} + Delta_t`, one displacement for each boundary: left, top, right, bottom.

    `Delta_t` is what the keyframes, interpolated, change from frame t-1 to t, and the drift and scale of the whole.
    """
    boxes = [box]
    resting = box
    before = (0.0, 0.0, 0.0, 0.0)
    for step in range(1, leg.steps + 1):
        v, a = _action_cue(leg, step)
        drifted = resting.moved(*_bounded((v[0] + a[0] / 2, v[1] + a[1] / 2))).scaled(leg.scale ** (1 / leg.steps))
        after = displacement(leg.keyframes, step / leg.steps, drifted)
        delta = [new - old + q - p for p, q, old, new in zip(resting, drifted, before, after, strict=True)]
        boxes.append(Box(*(side + change for side, change in zip(boxes[-1], delta, strict=True))))
        resting, before = drifted, after
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


def carried(boxes: Sequence[Box], parent: Sequence[Box]) -> tuple[Box, ...]:
    """A part's boxes: its own movement and its parent's, from the parent's first box on; no faster than may be."""
    moved = [boxes[0]]
    for before, now, whole_before, whole in zip(boxes, boxes[1:], parent, parent[1:], strict=False):
        own, theirs = _move(before, now), _move(whole_before, whole)
        move = _bounded((own[0] + theirs[0], own[1] + theirs[1]))
        x, y = moved[-1].center
        moved.append(Box.around(x + move[0], y + move[1], now.width, now.height))
    return fitted(moved)


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
        for _ in range(50):
            middle = (fits + too_long) / 2
            low, high = extent(middle)
            fits, too_long = (middle, too_long) if high - low <= room else (fits, middle)
        factor = fits
        low, high = extent(factor)
    base = min(max(first, EDGE - low), 1 - EDGE - high)
    return [base + factor * offset for offset in offsets]


def _action_cue(leg: Leg, step: int) -> tuple[Vector, Vector]:
    """Velocity at the beginning of a step, and acceleration, such that the steps add up to the leg's travel."""
    speed = 1 + leg.pickup * ((step - 1) / leg.steps - 0.5)
    velocity = leg.travel[0] / leg.steps * speed, leg.travel[1] / leg.steps * speed
    acceleration = leg.travel[0] * leg.pickup / leg.steps**2, leg.travel[1] * leg.pickup / leg.steps**2
    return velocity, acceleration


def _sum(moves: Sequence[Vector]) -> Vector:
    return sum(x for x, _ in moves), sum(y for _, y in moves)


def _mean(window: Sequence[Vector]) -> Vector:
    return sum(x for x, _ in window) / len(window), sum(y for _, y in window) / len(window)


def _slope(window: Sequence[Vector]) -> Vector:
    """The change of the move from frame to frame."""
    if len(window) < 2:
        return (0.0, 0.0)
    intervals = len(window) - 1
    return (window[-1][0] - window[0][0]) / intervals, (window[-1][1] - window[0][1]) / intervals


def _mix(window: Vector, cue: Vector) -> Vector:
    return (
        (1 - ACTION_WEIGHT) * window[0] + ACTION_WEIGHT * cue[0],
        (1 - ACTION_WEIGHT) * window[1] + ACTION_WEIGHT * cue[1],
    )


def _bounded(move: Vector) -> Vector:
    x, y = move
    return max(-MAXIMUM_STEP, min(MAXIMUM_STEP, x)), max(-MAXIMUM_STEP, min(MAXIMUM_STEP, y))


def _moves(boxes: Sequence[Box]) -> list[Vector]:
    return [_move(a, b) for a, b in pairwise(boxes)]


def _move(a: Box, b: Box) -> Vector:
    return b.center[0] - a.center[0], b.center[1] - a.center[1]
