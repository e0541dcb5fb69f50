"""From cues to boxes: Eqs. (1), (5) and (6) of Sec. 3.2.  Pure.

A course is a first box and the legs that follow.  `B_t` is a box in fractions of the frame; many of them are an array
[tick, side], sides as in `Box`.  Time is counted in ticks,
`TICKS` a clip, whatever the number of frames: a layout is the path sampled at its frames (`resample`), so any number of
frames shows the same path.  Velocities are fractions of the frame a tick.

The velocity is continuous where legs join: each leg begins and ends at a velocity that both sides can have
(`joint_velocities`), rest included, unless the next one is sudden or the instance is absent on one side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from planner_service.motion.framing import Array, fit
from shared.geometry import Box
from shared.motion_graph import MotionLabel
from shared.plan import MAXIMUM_FRAMES

Vector = tuple[float, float]
Sides = Box | Array

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

    boxes: Array
    resting: Array
    """The same without deformation."""


def integrate(course: Course) -> Path:
    """The course's path, its boxes inside the frame."""
    path = trace(course)
    return Path(fit(path.boxes), path.resting)


def trace(course: Course) -> Path:
    """The course's path by Eqs. (1), (5) and (6), wherever it leads."""
    first = np.array([course.start])
    boxes, resting = [first], [first]
    moves = np.zeros((0, 2))
    for leg, (begin, end) in zip(course.legs, joint_velocities(course.legs), strict=True):
        if begin is None:
            moves = moves[:0]
        box, shown = resting[-1][-1], boxes[-1][-1]
        match leg.label:
            case MotionLabel.MOTIONLESS:
                resting.append(motionless(box, leg.ticks))
                boxes.append(motionless(shown, leg.ticks))
            case MotionLabel.RIGID:
                resting.append(rigid(box, leg, begin, end, moves))
                boxes.append(resting[-1])
            case MotionLabel.NON_RIGID:
                resting.append(drift(box, leg, begin, end))
                boxes.append(non_rigid(shown, leg, np.vstack([box, resting[-1]])))
        made = np.diff(_centers(np.vstack([box, resting[-1]])[-WINDOW - 1 :]), axis=0)
        moves = np.concatenate([moves, made])[-WINDOW:]
    return Path(np.concatenate(boxes), np.concatenate(resting))


def joint_velocities(legs: Sequence[Leg]) -> list[tuple[Vector | None, Vector | None]]:
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


def motionless(box: Sides, ticks: int) -> Array:
    """Eq. (1): `B_t = B_1` for all t."""
    return np.tile(np.asarray(box), (ticks, 1))


def rigid(
    box: Sides, leg: Leg, begin: Vector | None = None, end: Vector | None = None, before: Array | None = None
) -> Array:
    """Eq. (5): `B_t = B_{t-1} + v_t + a_t / 2`.

    `v_t = (1 - lambda) v_window + lambda v_cue(t)` and `a_t` likewise, the window being the last K moves (`before`,
    [move, axis], holds those of the legs before).  The size follows the scale cue alone.

    The window rounds the cue's corners, and so may come out short or far.  Moves are linear in the cue's travel, so one
    travel can be asked for with which they add up to the leg's own: a leg ends where its cue says.
    """
    window = max(2, min(WINDOW, leg.ticks // 6))
    past = np.zeros((0, 2)) if before is None else before[-window:]
    unit = action_cue(1.0, leg, None if begin is None else 0.0, None if end is None else 0.0)
    response = predict(unit, [0.0] * len(past), window)
    axes = []
    for axis in (0, 1):
        first, last, travel = _along(begin, axis), _along(end, axis), leg.travel[axis]
        moves = predict(action_cue(travel, leg, first, last), past[:, axis].tolist(), window)
        asked = (travel - moves.sum()) / response.sum()
        axes.append(moves + asked * response)
    return _carry(box, leg, np.array(axes))


def predict(cue: Array, before: Sequence[float], length: int) -> Array:
    """The moves `v_t + a_t / 2` along one axis, from the cue's v and a of each tick and a window of `length` moves.

    `a_window` is the change from move to move over the window, `v_window` its mean carried on by `a_window` from the
    window's middle to now.  What a window is too short to say it says as the cue does.
    """
    if not cue.any() and not any(before):
        return np.zeros(len(cue))
    moves = list(before[-length:])
    total, begun = sum(moves), len(moves)
    for v_cue, a_cue in cue.tolist():
        held = min(len(moves), length)
        a_window = (moves[-1] - moves[-held]) / (held - 1) if held > 1 else a_cue
        v_window = total / held + a_window * held / 2 if held else v_cue
        v = (1 - ACTION_WEIGHT) * v_window + ACTION_WEIGHT * v_cue
        a = (1 - ACTION_WEIGHT) * a_window + ACTION_WEIGHT * a_cue
        moves.append(v + a / 2)
        total += moves[-1] - (moves[-length - 1] if held == length else 0.0)
    return np.array(moves[begun:])


def action_cue(travel: float, leg: Leg, begin: float | None, end: float | None) -> Array:
    """[tick, 2]: velocity at the beginning of each tick, and acceleration during it, along one axis; they add up to the
    travel.

    From `begin` to the leg's own speed in `RAMP` ticks, on with its pickup, and to `end` in as many.
    """
    ramp = min(RAMP, leg.ticks // 3)
    first, last = (0 if begin is None else ramp), (0 if end is None else ramp)
    slow, fast = 1 - leg.pickup / 2, 1 + leg.pickup / 2
    before, after = begin or 0.0, end or 0.0
    steady = leg.ticks - first - last
    speed = (travel - (first * before + last * after) / 2) / (steady + (first * slow + last * fast) / 2)
    corners = [0, first, leg.ticks - last, leg.ticks]
    heights = [before if first else speed * slow, speed * slow, speed * fast, after if last else speed * fast]
    velocities = np.interp(np.arange(leg.ticks + 1), corners, heights)
    return np.stack([velocities[:-1], np.diff(velocities)], axis=1)


def drift(box: Sides, leg: Leg, begin: Vector | None = None, end: Vector | None = None) -> Array:
    """Where a non-rigid instance would be if it did not deform: the action cue's own movement and scale."""
    cues = [action_cue(leg.travel[axis], leg, _along(begin, axis), _along(end, axis)) for axis in (0, 1)]
    return _carry(box, leg, np.array([cue @ (1, 0.5) for cue in cues]))


def non_rigid(box: Sides, leg: Leg, resting: Array) -> Array:
    """Eq. (6): `B_t = B_{t-1} + Delta_t`, one displacement for each boundary: left, top, right, bottom.

    `Delta_t` is what the keyframes, interpolated, change from tick t-1 to t, and the drift of the whole (`resting`,
    from before the leg's first tick on).
    """
    times = np.arange(leg.ticks + 1) / leg.ticks
    displaced = displacement(leg.keyframes, times) * np.tile(resting[:, 2:] - resting[:, :2], 2)
    deltas = np.diff(displaced, axis=0) + np.diff(resting, axis=0)
    boxes: Array = np.asarray(box) + np.cumsum(deltas, axis=0)
    return boxes


def displacement(keyframes: Sequence[Keyframe], times: Array) -> Array:
    """[time, side]: the boundaries' displacement at `times` in [0, 1], shares of the box's sides; cosine between
    keyframes."""
    if not keyframes:
        return np.zeros((len(times), 4))
    table = np.array([(k.time, k.left, k.top, k.right, k.bottom) for k in keyframes])
    after = np.clip(np.searchsorted(table[:, 0], times), 1, len(table) - 1)
    a, b = table[after - 1], table[after]
    shares = (1 - np.cos(np.pi * (times - a[:, 0]) / (b[:, 0] - a[:, 0]))) / 2
    between: Array = a[:, 1:] + (b - a)[:, 1:] * shares[:, None]
    return between


def _carry(box: Sides, leg: Leg, moves: Array) -> Array:
    """The box after each of the moves ([axis, tick]), scaled from tick to tick."""
    first = np.asarray(box)
    centers = _centers(first) + np.cumsum(moves, axis=1).T
    half = (first[2:] - first[:2]) / 2 * leg.scale ** (np.arange(1, leg.ticks + 1) / leg.ticks)[:, None]
    return np.concatenate([centers - half, centers + half], axis=1)


def _centers(boxes: Array) -> Array:
    """[…, side] -> […, axis]."""
    centers: Array = (boxes[..., :2] + boxes[..., 2:]) / 2
    return centers


def _along(velocity: Vector | None, axis: int) -> float | None:
    return None if velocity is None else velocity[axis]


def _slower(a: float, b: float) -> float:
    """Of two velocities along an axis; zero where they are opposed."""
    return 0.0 if a * b <= 0 else min(a, b, key=abs)


def _axes(a: Leg, b: Leg) -> list[tuple[float, float]]:
    return list(zip(a.travel, b.travel, strict=True))
