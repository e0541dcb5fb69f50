"""From cues and first boxes to courses: how far each phase goes, and how long it takes."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from planner_service.motion.arrangements import Arrangement, arrangement_of
from planner_service.motion.cues import Edge, Goal, InstanceCues, Phase, Pickup, Place, Reading, Speed
from planner_service.motion.kinematics import TICKS, Course, Leg, Vector
from planner_service.motion.manners import keyframes
from planner_service.motion.supports import seat_depth
from shared.geometry import MINIMUM_SIDE, Box
from shared.motion_graph import MotionLabel, RelationKind

DISTANCE = {Speed.SLOW: 0.3, Speed.NORMAL: 0.45, Speed.FAST: 0.6}
"""How far an instance travels in a whole clip, a fraction of the frame."""
PICKUP = {Pickup.STEADY: 0.0, Pickup.SPEEDING_UP: 1.5, Pickup.SLOWING_DOWN: -1.5}
MEAN_SPEED = 1.5
"""The fastest that a leg travels on average, fractions of the frame a clip; for a while it may be faster, up to
`MAXIMUM_SPEED`."""
SCALE_RATE = 2.2
"""The most that a scale cue grows or shrinks an instance in a clip: 1.12 from frame to frame of the shortest layout, to
which a deformation may add."""
CROSSING = TICKS // 8
"""How many ticks an edge of the frame takes to cut what comes in or goes out, at most a third of the phase."""
MARGIN = 0.03
"""What travel leaves free at the frame's edges."""
SAME_GROUND = 0.12
"""What stand no higher than this from one another stand on the same ground, a fraction of the frame."""
TOUCH = 0.9
"""How near the centres come, in sums of half sides, where one moves toward another."""

PLACES: dict[Place, Vector] = {
    Place.UPPER_LEFT: (0.2, 0.25),
    Place.TOP: (0.5, 0.22),
    Place.UPPER_RIGHT: (0.8, 0.25),
    Place.LEFT: (0.2, 0.55),
    Place.CENTER: (0.5, 0.5),
    Place.RIGHT: (0.8, 0.55),
    Place.LOWER_LEFT: (0.2, 0.78),
    Place.BOTTOM: (0.5, 0.8),
    Place.LOWER_RIGHT: (0.8, 0.78),
}
"""Centres of the named places."""

LENGTH = 0.8
"""How far on a thing one goes that goes along it, a share of its longer side."""
ALONG = ("along", "across")
"""What goes so on a thing goes no farther than that is long."""

Boxes = Mapping[str, Box]


class Way(NamedTuple):
    """How far a phase goes, and when."""

    coming: int
    """Ticks at its beginning in which the instance is absent, since an edge of the frame would cut it."""
    parts: list[tuple[Vector, int]]
    """Travels, fractions of the frame, and how many ticks each takes."""
    going: int
    """Likewise at its end."""
    scale: float
    """Size at the end over size at the start."""


def courses(reading: Reading, starts: Boxes) -> dict[str, Course]:
    """One course for each instance, from its first box on; a rider goes as far as what carries it."""
    cues = {own.instance: own for own in reading.cues}
    reach = reaches(reading, {name: (box.width, box.height) for name, box in starts.items()})
    ways = {name: _ways(reading, own, starts, reach) for name, own in cues.items()}
    made: dict[str, Course] = {}
    carriers = carriers_of(reading)
    for name, (start, its) in ways.items():
        carrier = _last_carrier(name, carriers)
        if carrier != name:
            begun, its = ways[carrier]
            home, base = starts[name], starts[carrier]
            start = home.translate(begun.x0 - base.x0, begun.y0 - base.y0)
        made[name] = _course(cues[name], start, its)
    return made


def _last_carrier(name: str, carriers: Mapping[str, str]) -> str:
    """What carries what carries it, and so on; of those that carry one another the one before the circle closes."""
    seen = [name]
    while (carrier := carriers.get(seen[-1])) is not None and carrier not in seen:
        seen.append(carrier)
    return seen[-1]


def carriers_of(reading: Reading) -> dict[str, str]:
    """What carries each instance that is on, in or at something, and whose movement is the same as that thing's."""
    phases = {cues.instance: cues.phases for cues in reading.cues}
    carriers: dict[str, str] = {}
    for relation in reading.graph.relations:
        whole = reading.graph[relation.target].parent or relation.target  # a tray goes where the waiter goes
        if whole == relation.source or reading.graph[relation.source].parent is not None:
            whole = relation.target
        rider, carrier = phases[relation.source], phases[whole]
        arrangement = arrangement_of(relation.phrase, relation.kind)
        on = relation.kind is RelationKind.SPATIAL and arrangement in (Arrangement.ON, Arrangement.IN)
        carries = on or arrangement is Arrangement.AT
        together = len(rider) == len(carrier) and all(
            mine == mine.move_as(theirs) for mine, theirs in zip(rider, carrier, strict=True)
        )
        if carries and together and any(phase.travels for phase in carrier):
            carriers[relation.source] = whole
    return carriers


def net_travel(cues: InstanceCues, reach: float, until: float = 1.0) -> Vector:
    """What the directions alone add up to, goals left out, up to a share of the clip."""
    x = y = begun = 0.0
    for phase, share in _shares(cues):
        done = max(0.0, min(1.0, (until - begun) / share))
        dx, dy = _directed(phase, share, reach)
        x, y, begun = x + dx * done, y + dy * done, begun + share
    return x, y


def reaches(reading: Reading, sizes: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The farthest each instance may travel: within the frame, and no farther than what it stays arranged with."""
    own = {identifier: max(0.05, 1 - 2 * MARGIN - max(size)) for identifier, size in sizes.items()}
    reach = dict(own)
    for relation in reading.graph.relations:
        if relation.kind is RelationKind.SPATIAL and arrangement_of(relation.phrase, relation.kind) is not None:
            shared = min(reach[relation.source], reach[relation.target])
            reach[relation.source] = reach[relation.target] = shared
        if relation.phrase in ALONG:
            reach[relation.source] = min(reach[relation.source], LENGTH * max(sizes[relation.target]))
    return reach


def goal_center(goal: Goal, box: Box, target: Box, seat: float) -> Vector:
    """Where the centre of `box` should be when it has reached its goal.

    `seat`: how far below the target's top sits what is on it, a fraction of the frame.
    """
    (x, y), (tx, ty) = box.center, target.center
    beside = (box.width + target.width) / 2 + 0.02
    stacked = (box.height + target.height) / 2
    level = target.y1 - box.height / 2  # both stand on the same ground
    match goal:
        case Goal.TOWARD:
            apart = TOUCH * (box.width + target.width) / 2
            if abs(box.y1 - target.y1) < SAME_GROUND and abs(tx - x) > apart:
                return tx - math.copysign(apart, tx - x), y
            share = 1 - min(1.0, _touching_share(box, target))
            return x + (tx - x) * share, y + (ty - y) * share
        case Goal.AWAY_FROM:
            distance = math.hypot(x - tx, y - ty) or 1.0
            step = DISTANCE[Speed.SLOW]
            return x + (x - tx) / distance * step, y + (y - ty) / distance * step
        case Goal.LEFT_OF:
            return tx - beside, level
        case Goal.RIGHT_OF:
            return tx + beside, level
        case Goal.ABOVE:
            return tx, ty - stacked - 0.03
        case Goal.ONTO:
            return tx, ty - stacked + seat
        case Goal.BELOW:
            return tx, ty + stacked + 0.01
        case Goal.PAST:
            return 2 * tx - x, y


def _touching_share(box: Box, target: Box) -> float:
    """The distance at which the two touch, as a share of their distance along the line between their centres."""
    (x, y), (tx, ty) = box.center, target.center
    shares = []
    if tx != x:
        shares.append((box.width + target.width) / 2 / abs(tx - x))
    if ty != y:
        shares.append((box.height + target.height) / 2 / abs(ty - y))
    return TOUCH * min(shares) if shares else 1.0


def _ways(reading: Reading, cues: InstanceCues, starts: Boxes, reach: Mapping[str, float]) -> tuple[Box, list[Way]]:
    """Where an instance begins, and how it goes on from there: one way for each phase."""
    home = starts[cues.instance]
    is_part = reading.graph[cues.instance].parent is not None  # which comes, goes and grows with its whole alone
    entered = next((phase.enters for phase in cues.phases if phase.enters is not None and not is_part), None)
    start = home if entered is None else home.translate(*_to_edge(entered, home))
    ways: list[Way] = []
    box = start
    for (phase, share), ticks in zip(_shares(cues), _ticks(cues), strict=True):
        travel = _directed(phase, share, reach[cues.instance])
        if phase.target is not None and phase.goal is not None:
            theirs = next(other for other in reading.cues if other.instance == phase.target)
            target = starts[phase.target].translate(*net_travel(theirs, reach[phase.target], phase.until))
            meeting = phase.goal is Goal.TOWARD and any(other.target == cues.instance for other in theirs.phases)
            seat = seat_depth(reading.graph[phase.target].name) * target.height
            travel = _to_goal(phase.goal, box, target, seat, meeting=meeting)
        if phase.enters is not None and travel == (0.0, 0.0):
            travel = home.center[0] - box.center[0], home.center[1] - box.center[1]
        if phase.leaves is not None and not is_part:
            travel = _to_edge(phase.leaves, box)
        crossing = 0 if is_part else min(CROSSING, ticks // 3)
        coming = crossing if phase.enters is not None and not ways else 0
        going = crossing if phase.leaves is not None and len(ways) == len(cues.phases) - 1 else 0
        seen = ticks - coming - going
        parts = _along(phase.path, box, seen) if phase.path else [(travel, seen)]
        way = Way(
            coming=coming,
            parts=[(_possible(part, part_ticks), part_ticks) for part, part_ticks in parts],
            going=going,
            scale=1.0 if is_part else _possible_scale(phase.scale, box, seen),
        )
        ways.append(way)
        for part, _ in way.parts:
            box = box.translate(*part)
        box = box.scale(way.scale)
    return start, ways


def _course(cues: InstanceCues, start: Box, ways: list[Way]) -> Course:
    """The legs of an instance's phases and ways."""
    legs: list[Leg] = []
    for phase, way in zip(cues.phases, ways, strict=True):
        parts = [(travel, ticks) for travel, ticks in way.parts if ticks]
        whole = sum(ticks for _, ticks in parts)
        if way.coming:
            legs.append(Leg(MotionLabel.MOTIONLESS, way.coming, absent=True))
        for number, (travel, ticks) in enumerate(parts):
            legs.append(
                Leg(
                    label=phase.label,
                    ticks=ticks,
                    travel=travel,
                    pickup=PICKUP[phase.pickup],
                    scale=way.scale ** (ticks / whole),
                    keyframes=keyframes(phase.manner, ticks / TICKS) if phase.manner else (),
                    sudden=phase.sudden and number == 0,
                    absent=phase.absent,
                )
            )
        if way.going:
            legs.append(Leg(MotionLabel.MOTIONLESS, way.going, absent=True))
    return Course(start, tuple(legs))


def _to_edge(edge: Edge, box: Box) -> Vector:
    """How far it is to where the box touches an edge of the frame."""
    match edge:
        case Edge.LEFT:
            return -box.x0, 0.0
        case Edge.RIGHT:
            return 1 - box.x1, 0.0
        case Edge.TOP:
            return 0.0, -box.y0
        case Edge.BOTTOM:
            return 0.0, 1 - box.y1


def _along(path: tuple[Place, ...], box: Box, ticks: int) -> list[tuple[Vector, int]]:
    """The way through the places one after another: each travel with its ticks, which are as its length."""
    stops = [box.center, *(PLACES[place] for place in path)]
    travels = [(x - a, y - b) for (a, b), (x, y) in pairwise(stops)]
    lengths = [math.hypot(*travel) for travel in travels]
    whole = sum(lengths) or 1.0
    ends = [round(ticks * sum(lengths[: number + 1]) / whole) for number in range(len(lengths))]
    ends[-1] = ticks
    way: list[tuple[Vector, int]] = []
    begun, waiting = 0, (0.0, 0.0)
    for travel, end in zip(travels, ends, strict=True):
        waiting = waiting[0] + travel[0], waiting[1] + travel[1]
        if end > begun:
            way.append((waiting, end - begun))
            begun, waiting = end, (0.0, 0.0)
    return way


def _to_goal(goal: Goal, box: Box, target: Box, seat: float, *, meeting: bool) -> Vector:
    """How far the goal is; half as far where the target comes to meet the box."""
    x, y = goal_center(goal, box, target, seat)
    share = 0.5 if meeting else 1.0
    return (x - box.center[0]) * share, (y - box.center[1]) * share


def _shares(cues: InstanceCues) -> list[tuple[Phase, float]]:
    """Each phase with the share of the clip it takes."""
    begins = [0.0, *(phase.until for phase in cues.phases[:-1])]
    return [(phase, phase.until - begin) for phase, begin in zip(cues.phases, begins, strict=True)]


def _ticks(cues: InstanceCues) -> list[int]:
    """How many ticks each phase takes."""
    ends = [round(phase.until * TICKS) for phase in cues.phases]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def _directed(phase: Phase, share: float, reach: float) -> Vector:
    if phase.direction is None:
        return (0.0, 0.0)
    x, y = phase.direction.unit
    distance = min(DISTANCE[phase.speed] * max(share, 0.5), reach, MEAN_SPEED * share)
    if x and y:
        distance /= math.sqrt(2)
    return x * distance, y * distance


def _possible(travel: Vector, ticks: int) -> Vector:
    """As much of a travel as there is time for."""
    farthest = MEAN_SPEED * ticks / TICKS
    factor = min(1.0, farthest / (max(map(abs, travel)) or 1.0))
    return travel[0] * factor, travel[1] * factor


def _possible_scale(scale: float, box: Box, ticks: int) -> float:
    """The scale cue as far as frame, minimum side and time allow."""
    smallest = MINIMUM_SIDE / min(box.width, box.height)
    largest = 0.95 / max(box.width, box.height)
    fastest = SCALE_RATE ** (ticks / TICKS)
    return max(min(1.0, smallest), 1 / fastest, min(scale, largest, fastest)) if scale != 1.0 else 1.0
