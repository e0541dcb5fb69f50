"""Where everything is in the first frame.

One instance after another, what others refer to first, takes the best of a grid of places: those where its relations
hold and its travel stays inside the frame, preferred by where such a thing usually is, and by how little it covers of
what is already placed.  Where they crowd, everything is tried smaller.
"""

import hashlib
import math
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from planner_service.motion.arrangements import DEPTH, Arrangement, arrangement_of, gap, is_attachment, passes
from planner_service.motion.courses import MARGIN, PLACES, carriers_of, goal_center, net_travel, reaches
from planner_service.motion.cues import Distance, Goal, Reading
from planner_service.motion.kinematics import Vector
from planner_service.motion.nouns import Habitat, Kind, noun_of
from planner_service.motion.parts import UNKNOWN
from planner_service.motion.sizes import Edge, Sizes, hooks_of, shrink, sizes_of
from planner_service.motion.supports import seat_depth
from shared.geometry import Box
from shared.motion_graph import RelationKind

Array = NDArray[np.float64]

EDGE = 0.006
"""How far from the frame's edges first boxes and ways keep, a fraction of the frame."""
GROUND = 0.88
"""Where things stand, a fraction of the frame's height from the top."""
GROUND_AT = {Distance.FAR: 0.58, Distance.NEAR: 0.95}
"""The same in the background, and in the foreground."""
AIR = 0.28
WATER = 0.62
PARTING = 0.4
"""How much nearer to the middle than others those begin that move away from something, or pass each other."""
LEAD = 0.12
"""How much farther on its way begins what is chased, and how much less far what chases it, a fraction of the frame."""
PURSUIT = re.compile(r"\b(?:chas|follow|pursu)(?:es|s|ing|e)?\b")
LEFT = re.compile(r"(?<!away )\b(?:from|off|out of)$")
"""What somebody gets up from, drinks from or falls off."""
HIGH = 0.5
"""What is no less high than this has in it what falls off it, a fraction of the frame."""
ABOVE_MIDDLE = 0.3
"""Where in a thing begins what falls out of it, a share of its height from the top."""
LEAST_WAY = 0.14
"""How far it is at least to where a movement ends that has a goal, a fraction of the frame."""
FALL = 0.4
"""From how high above it what is no animal and no vehicle comes down onto something."""
IN_HAND, WAIST = 0.45, 0.5
"""How far below its top somebody holds something, and how far above the ground the work is, as shares of the height."""
WORKED_ON = (Habitat.GROUND, Habitat.AIR)
SMALL_WORK = 0.3
"""What is no higher than this share of who works at it lies before them, and not on the ground."""
GRID = np.stack(np.meshgrid(np.linspace(0, 1, 13), np.linspace(0, 1, 9), indexing="ij"), axis=-1).reshape(-1, 2)
"""Where centres are tried, of the room there is for them."""
MOMENTS = np.array([[0.0], [0.5], [1.0]])
"""When ways are looked at, shares of the clip."""
SHRINK = 0.88
ATTEMPTS, FEW_ATTEMPTS = 6, (0, 4, 8)
CROWDED = 0.2
MANY = 12
"""Of more instances fewer sizes are tried, and the first is taken at which all find a place."""
SHRINK_COST = 0.1
"""How much room a smaller size must make to be worth it."""
CLEARANCE = 1.15
"""By how much the distance that a relation asks for exceeds the one it forbids: deforming boxes may breathe."""

COVERED_BEHIND = 0.6
"""How much of what is behind something may be covered in the first frame."""
STEP_BACK = 0.02
"""How much higher in the picture what is behind something stands at least, a fraction of the frame."""
OVERLAP_COST = 0.5
"""What covering another instance whole costs, at each of three moments; distances from the preferred centre cost
twice (x) and `LEVEL_COST` times (y) their square."""
LEVEL_COST = 12
REACH_COST = 6
"""What it costs not to be where one should be at: times the gap, at each of three moments."""
HIDING_COST = 0.15
"""What it costs to cover what one is at, or be covered by it, whole."""

CARRYING = (Arrangement.ON, Arrangement.IN)
OVERLAPPING = (Arrangement.ON, Arrangement.IN, Arrangement.AT, *DEPTH)
"""Arrangements in which the two may well cover one another."""


def place(reading: Reading, frame_aspect: float, seed: int) -> dict[str, Box]:
    """The first box of each instance.  `frame_aspect`: the frame's width over its height, in pixels."""
    sizes = sizes_of(reading, _edges(reading), frame_aspect)
    sizes_are_ours = all(cues.size is None for cues in reading.cues)
    best: _Stage | None = None
    many = len(reading.cues) > MANY
    attempts = FEW_ATTEMPTS if many else range(ATTEMPTS)
    for attempt in attempts:
        stage = _Stage(reading, shrink(sizes, SHRINK**attempt, reading), seed)
        last = attempt == attempts[-1]
        if not stage.fill(insist=not last, relax=many or last):
            continue
        if best is not None and stage.crowding + SHRINK_COST >= best.crowding:
            break
        best = stage
        if best.crowding < CROWDED or many or not sizes_are_ours:
            break
    assert best is not None  # noqa: S101  # the last attempt places everything
    return {name: best.boxes[name] for name in best.cues}


class _Stage:
    """One attempt at placing all instances at given sizes."""

    def __init__(self, reading: Reading, sizes: Sizes, seed: int) -> None:
        self.cues = {cues.instance: cues for cues in reading.cues}
        self.parents = {instance.id: instance.parent for instance in reading.graph.instances}
        self.names = {instance.id: instance.name for instance in reading.graph.instances}
        self.edges = _edges(reading)
        self.hangs = hooks_of(reading)
        self.passed = _passings(reading)
        self.leads = _leads(reading)
        self.carriers = carriers_of(reading)
        self.sizes = sizes
        self.seed = seed
        self.reach = reaches(reading, sizes)
        self.columns = self._spread()
        self.preferred = {name: self._preference(name) for name in self.cues}
        self.travels = {name: net_travel(self.cues[name], self.reach[name]) for name in self.cues}
        self.boxes: dict[str, Box] = {}
        self.ways: dict[str, list[Box]] = {}
        self.crowding = 0.0
        """How much instances cover one another without need: shares of the smaller one, the most of three moments; and
        how far they are from their level."""

    def fill(self, *, insist: bool, relax: bool) -> bool:
        """Place all; False where one finds no place and `insist` asks for one.

        `relax`: what finds no place by all its relations is placed by some of them, what it is on or in before others.
        """
        for name in self._order():
            if (hung := self._hang(name)) is not None:
                self._put(name, hung)
                continue
            best = self._best(name)
            while best is None and relax and len(self.edges[name]) > 1:
                self.edges[name] = sorted(self.edges[name], key=lambda edge: edge[0] not in CARRYING)[:-1]
                best = self._best(name)
            if best is None and insist:
                return False
            self._put(name, best or _move_inside(Box.around(*self.preferred[name], *self.sizes[name])))
            if self.parents[name] is None and (others := self._obstacles(name)):
                covered = _overlap_share(np.array(self.ways[name]), np.array([self.ways[other] for other in others]))
                self.crowding += float(covered.max(axis=-1).sum())
            if not self.edges[name] and self.parents[name] is None:
                self.crowding += LEVEL_COST * (self.boxes[name].center[1] - self.preferred[name][1]) ** 2
        return True

    def _put(self, name: str, box: Box) -> None:
        self.boxes[name] = box
        self.ways[name] = [Box(*stop) for stop in self._ways(name, np.array([box]))[0].tolist()]

    def _hang(self, name: str) -> Box | None:
        """Where a part hangs on its whole, if the table says so; the kinematics keep it in the frame."""
        part, parent = self.hangs.get(name), self.parents[name]
        if part is None or parent not in self.boxes:
            return None
        whole = self.boxes[parent]
        return Box.around(whole.x0 + part.x * whole.width, whole.y0 + part.y * whole.height, *self.sizes[name])

    def _order(self) -> list[str]:
        """What others are placed by comes first."""
        ordered: list[str] = []

        def visit(name: str, visiting: tuple[str, ...]) -> None:
            if name in ordered or name in visiting:
                return
            needed = [target for _, target in self.edges[name]] + self.passed[name]
            needed += [phase.target for phase in self.cues[name].phases if phase.target is not None]
            parent = self.parents[name]
            for other in [*needed, *([parent] if parent else [])]:
                visit(other, (*visiting, name))
            ordered.append(name)

        for name in self.cues:
            visit(name, ())
        return ordered

    def _spread(self) -> dict[str, float]:
        """A column for each instance that no relation places, in the order of the prompt."""
        free = [name for name in self.cues if not self.edges[name] and self.parents[name] is None]
        columns = {name: (index + 0.5) / len(free) for index, name in enumerate(free)}
        return {name: columns.get(name, 0.5) for name in self.cues}

    def _preference(self, name: str) -> Vector:
        """Where the centre would be, were there nothing else."""
        cues = self.cues[name]
        height = self.sizes[name][1]
        dx, dy = net_travel(cues, self.reach[name])
        habitat = noun_of(self.names[name]).habitat
        ground = GROUND if cues.distance is None else GROUND_AT[cues.distance]
        levels = {Habitat.GROUND: ground - height / 2, Habitat.AIR: AIR, Habitat.WATER: WATER, Habitat.ANY: 0.5}
        x, y = self.columns[name], levels[habitat]
        workers = [self.sizes[other][1] for other, edges in self.edges.items() if (Arrangement.AT, name) in edges]
        small = bool(workers) and height < SMALL_WORK * max(workers) and not dx
        if small and not self.edges[name] and habitat in WORKED_ON:
            y = ground - WAIST * max(workers)
        if cues.distance is not None and habitat is not Habitat.AIR:
            y = ground - height / 2
        if dx:
            x = 0.5 - dx / 2 + self.leads.get(name, 0.0) * math.copysign(1.0, dx)
        if dy:
            y = 0.5 - dy / 2
        goals = {phase.goal for phase in cues.phases}
        is_passed = any(
            phase.goal is Goal.PAST and phase.target == name for other in self.cues.values() for phase in other.phases
        )
        if Goal.AWAY_FROM in goals or (Goal.PAST in goals and is_passed):
            x = 0.5 + (x - 0.5) * PARTING
        elif is_passed:
            x = 0.5
        if cues.place is not None:
            place_x, place_y = PLACES[cues.place]
            x, y = (x if dx else place_x), (y if dy else place_y)
        shift_x, shift_y = self._room_for_others(name, y)
        jitter = (_noise(name, self.seed) - 0.5) * 0.04
        return x + shift_x + jitter, y + shift_y

    def _room_for_others(self, name: str, level: float) -> Vector:
        """Shifted away from where another instance will be placed by it, on it as far as there is no room above."""
        above = level - self.sizes[name][1] / 2 + seat_depth(self.names[name]) * self.sizes[name][1] - MARGIN
        riders = [self.sizes[other][1] for other, edges in self.edges.items() if (Arrangement.ON, name) in edges]
        shifts = {
            Arrangement.LEFT_OF: (0.15, 0.0),
            Arrangement.RIGHT_OF: (-0.15, 0.0),
            Arrangement.ABOVE: (0.0, 0.15),
            Arrangement.ON: (0.0, max(0.0, max(riders, default=0.0) - above)),
            Arrangement.BELOW: (0.0, -0.25),
        }
        asked = {arrangement for edges in self.edges.values() for arrangement, target in edges if target == name}
        x = sum(shifts[arrangement][0] for arrangement in sorted(asked) if arrangement in shifts)
        y = sum(shifts[arrangement][1] for arrangement in sorted(asked) if arrangement in shifts)
        return x, y

    def _candidates(self, name: str) -> Array:
        """[candidate, side]."""
        half, parent = np.array(self.sizes[name]) / 2, self.parents[name]
        if parent is not None and parent in self.boxes:
            whole = self.boxes[parent]
            places = [(UNKNOWN.x, UNKNOWN.y), *PLACES.values()]
            centers = np.array([(whole.x0 + whole.width * u, whole.y0 + whole.height * v) for u, v in places])
        else:
            low, high = MARGIN + half, 1 - MARGIN - half
            spots = [
                spot
                for arrangement, target in self.edges[name]
                if target in self.boxes
                for spot in _spots(arrangement, self.sizes[name], self.boxes[target], self._seat(target))
            ]
            preferred = np.minimum(np.maximum(self.preferred[name], low), high)
            centers = np.concatenate([[preferred], low + (high - low) * GRID, *([spots] if spots else [])])
        return np.concatenate([centers - half, centers + half], axis=1)

    def _best(self, name: str) -> Box | None:
        """The cheapest candidate that may be, None if none may."""
        candidates = self._candidates(name)
        ways = self._ways(name, candidates)
        costs = self._costs(name, ways)
        costs[((ways[..., :2] < EDGE) | (ways[..., 2:] > 1 - EDGE)).any(axis=(1, 2))] = np.inf
        ranked = np.argsort(costs, kind="stable")[: np.isfinite(costs).sum()]
        cheapest = (Box(*candidates[index].tolist()) for index in ranked)
        return next((box for box in cheapest if self._may_be(name, box)), None)

    def _may_be(self, name: str, box: Box) -> bool:
        """Whether its relations hold there, and it has some way to go to its goal."""
        if self._is_there(name, box):
            return False
        for arrangement, target in self.edges[name]:
            if target in self.boxes and not _holds_clearly(arrangement, box, self.boxes[target], self._seat(target)):
                return False
        end = box.translate(*self._travel(name, box))
        passed = [self.ways[target] for target in self.passed[name] if target in self.ways]
        return all(passes((box, theirs[0]), (end, theirs[-1])) for theirs in passed)

    def _costs(self, name: str, ways: Array) -> Array:
        """ways: [candidate, moment, side] -> [candidate]: of being far from where it would best be, of being out of
        reach, of covering others, and of covering what it is at: where both go alike always, else at first."""
        first = ways[:, 0]
        offsets = (first[:, :2] + first[:, 2:]) / 2 - np.array(self._ideal_center(name))
        costs: Array = offsets**2 @ np.array((2, LEVEL_COST))
        if others := self._obstacles(name):
            theirs = np.array([self.ways[other] for other in others])
            costs += OVERLAP_COST * _overlap_share(ways[:, None], theirs).sum(axis=(1, 2))
        for arrangement, target in self.edges[name]:
            if arrangement is Arrangement.AT and target in self.ways:
                theirs = np.array(self.ways[target])
                alike = np.allclose(self.travels[name], self.travels[target], rtol=0, atol=MARGIN)
                moments = slice(None if alike else 1)
                costs += REACH_COST * _gaps(ways[:, moments], theirs[moments]).sum(axis=1)
                costs += HIDING_COST * _overlap_share(first, theirs[0])
        return costs

    def _ideal_center(self, name: str) -> Vector:
        """Where it would best be, now that what it is placed by has a place: in the middle of that, or in hand."""
        x, y = self.preferred[name]
        parent = self.parents[name]
        below = [
            self.boxes[phase.target]
            for phase in self.cues[name].phases[:1]
            if phase.goal is Goal.ONTO and phase.target in self.boxes
        ]
        if below and noun_of(self.names[name]).kind in (Kind.OBJECT, Kind.SOFT):
            return below[0].center[0], below[0].y0 - FALL
        if parent in self.boxes:
            whole = self.boxes[parent]
            return whole.center[0] + 0.25 * whole.width, whole.y0 + IN_HAND * whole.height
        carrying = [t for a, t in self.edges[name] if a in CARRYING and t in self.boxes]
        if not carrying:
            return x, y
        under = self.boxes[carrying[0]]
        if any(target == carrying[0] for _, target in self._goals(name)):
            y = under.y1 - self.sizes[name][1] / 2
            if self.sizes[name][1] < HIGH * under.height:
                y = under.y0 + ABOVE_MIDDLE * under.height  # it comes down from there
        still = not any(self.travels[carrying[0]])
        return under.center[0] - (self.travels[name][0] / 2 if still else 0.0), y

    def _seat(self, target: str) -> float:
        """How far below the top of a thing that is on it which sits there."""
        return seat_depth(self.names[target]) * self.boxes[target].height

    def _obstacles(self, name: str) -> list[str]:
        """What is placed and it should not cover."""
        arranged = {target for arrangement, target in self.edges[name] if arrangement in OVERLAPPING}
        arranged |= {under for target in arranged for over, under in self.edges[target] if over is Arrangement.ON}
        return [other for other in self.ways if other not in arranged and other != self.parents[name]]

    def _ways(self, name: str, boxes: Array) -> Array:
        """boxes: [box, side] -> [box, moment, side]: at the beginning, in the middle and at the end of the clip."""
        varied = boxes if any(True for _ in self._goals(name)) else boxes[:1]
        travels = np.array([self._travel(name, Box(*box.tolist())) for box in varied])
        ways: Array = boxes[:, None] + MOMENTS * np.tile(travels, 2)[:, None]
        return ways

    def _travel(self, name: str, box: Box) -> Vector:
        """How far it goes from there in all."""
        if (carrier := self.carriers.get(name)) in self.ways:
            begin, end = self.ways[carrier][0], self.ways[carrier][-1]
        else:
            begin, end = box, box.translate(*self.travels[name])
            for goal, target in self._goals(name):
                end = Box.around(*self._goal_center(goal, end, target), *self.sizes[name])
        return end.center[0] - begin.center[0], end.center[1] - begin.center[1]

    def _is_there(self, name: str, box: Box) -> bool:
        """Whether it has hardly any way to go to its goal."""
        gone = box.translate(*self.travels[name])
        return any(
            math.dist(gone.center, self._goal_center(goal, gone, target)) < LEAST_WAY
            for goal, target in self._goals(name)
        )

    def _goal_center(self, goal: Goal, box: Box, target: str) -> Vector:
        return goal_center(goal, box, self.boxes[target], self._seat(target))

    def _goals(self, name: str) -> Iterator[tuple[Goal, str]]:
        """Where its movements end, and with respect to what; how far it gets away depends on the room there is."""
        for phase in self.cues[name].phases:
            if phase.goal is None or phase.goal is Goal.AWAY_FROM:
                continue
            if phase.target in self.boxes and name not in self.carriers:
                yield phase.goal, phase.target


def _edges(reading: Reading) -> dict[str, list[Edge]]:
    """The spatial relations of each instance to others; of two that refer to one another only the first's."""
    edges: dict[str, list[Edge]] = {cues.instance: [] for cues in reading.cues}
    for relation in reading.graph.relations:
        arrangement = arrangement_of(relation.phrase, relation.kind)
        attached = is_attachment(reading.graph, relation)
        gone_to = _is_gone_to(reading, relation.source, relation.target)
        left = arrangement is None and LEFT.search(relation.phrase.lower()) is not None
        if left:  # it begins there
            arrangement = _carrying(reading.graph[relation.target].name) if gone_to else Arrangement.AT
        held = relation.kind is RelationKind.SPATIAL or left or (arrangement is Arrangement.AT and not gone_to)
        if reading.graph[relation.target].parent == relation.source:
            continue  # a part hangs on its whole
        if held and arrangement is not None and not attached:
            edges[relation.source].append((arrangement, relation.target))
    for name, own in edges.items():  # who carries a child on the shoulders is under it
        carried = [other for other, theirs in edges.items() if any((kind, name) in theirs for kind in CARRYING)]
        own[:] = [(kind, target) for kind, target in own if kind is not Arrangement.AT or target not in carried]
    for name, own in edges.items():  # what is eaten on a pillow is where the eater is
        if any(arrangement is not Arrangement.AT for arrangement, _ in own):
            for edge in [edge for edge in own if edge[0] is Arrangement.AT and not edges[edge[1]]]:
                own.remove(edge)
                edges[edge[1]].append((Arrangement.AT, name))
    return edges


def _carrying(name: str) -> Arrangement:
    """How things are on it, or in it: on a table, in a tree."""
    return Arrangement.IN if noun_of(name).height > HIGH else Arrangement.ON


def _is_gone_to(reading: Reading, source: str, target: str) -> bool:
    """Whether one of two moves with respect to the other: then it need not be there at first."""
    return any(
        phase.target in (source, target)
        for cues in reading.cues
        if cues.instance in (source, target)
        for phase in cues.phases
    )


def _passings(reading: Reading) -> dict[str, list[str]]:
    """What each instance passes, of those that travel."""
    passed: dict[str, list[str]] = {cues.instance: [] for cues in reading.cues}
    travels = {cues.instance: any(phase.travels for phase in cues.phases) for cues in reading.cues}
    for relation in reading.graph.relations:
        if arrangement_of(relation.phrase, relation.kind) is Arrangement.PAST and travels[relation.source]:
            passed[relation.source].append(relation.target)
    return passed


def _leads(reading: Reading) -> dict[str, float]:
    """How much farther on its way than others what is chased prefers to begin; less than zero for what chases it."""
    leads: dict[str, float] = {}
    for relation in reading.graph.relations:
        if relation.kind is RelationKind.DYNAMIC and PURSUIT.search(relation.phrase.lower()):
            leads |= {relation.source: -LEAD, relation.target: LEAD}
    return leads


def _spots(arrangement: Arrangement, size: tuple[float, float], target: Box, seat: float) -> list[Vector]:
    """Centres at which a box of that size is just so arranged with respect to the target.

    `seat`: how far below the target's top is what is on it.
    """
    width, height = size
    x, y = target.center
    level = target.y1 - height / 2
    beside = (width + target.width) / 2 + 0.02
    stacked = (height + target.height) / 2
    match arrangement:
        case Arrangement.LEFT_OF:
            return [(x - beside, level), (x - beside, y), (x - beside - 0.08, y)]
        case Arrangement.RIGHT_OF:
            return [(x + beside, level), (x + beside, y), (x + beside + 0.08, y)]
        case Arrangement.NEXT_TO:
            return [(x + side * (beside + more), level) for side in (-1, 1) for more in (0.0, 0.08)]
        case Arrangement.ABOVE:
            aside = (-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9)
            return [(x + shift * target.width, y - stacked - 0.03 - up * height) for up in (0, 1, 2) for shift in aside]
        case Arrangement.ON:
            edge = max(0.0, target.width - width) / 2
            shifts = [*(shift * target.width for shift in (-0.4, -0.2, 0.0, 0.2, 0.4)), -edge, edge]
            return [(x + shift, y - stacked + seat + min(0.02, height / 5)) for shift in shifts]
        case Arrangement.AT:
            near = 0.42 * (width + target.width)
            return [(x + side * near, height_) for side in (-1, 1) for height_ in (level, y)] + [(x, level - 0.02)]
        case Arrangement.BELOW:
            overlap = 0.3 * height
            return [(x, y + stacked + 0.01), (x, y + stacked - overlap)]
        case Arrangement.IN:
            return [
                (x + u * target.width, y + v * target.height) for u in (-0.25, 0.0, 0.25) for v in (-0.25, 0.0, 0.25)
            ]
        case Arrangement.BEHIND | Arrangement.IN_FRONT_OF:
            nearer = 0.04 if arrangement is Arrangement.IN_FRONT_OF else -0.04
            return [(x + side * 0.6 * beside, level + nearer) for side in (-1, 1)]
        case Arrangement.TOWARD | Arrangement.AWAY_FROM | Arrangement.PAST:
            return []


def _holds_clearly(arrangement: Arrangement, a: Box, b: Box, seat: float) -> bool:
    """`arrangements.holds` with room to spare; `seat`: how far below b's top is what is on it."""
    (ax, ay), (bx, by) = a.center, b.center
    dx, dy = ax - bx, ay - by
    beside = 0.45 * (a.width + b.width)
    match arrangement:
        case Arrangement.LEFT_OF:
            return -dx > max(CLEARANCE * abs(dy) + 0.02, beside)
        case Arrangement.RIGHT_OF:
            return dx > max(CLEARANCE * abs(dy) + 0.02, beside)
        case Arrangement.ABOVE:
            return -dy > CLEARANCE * abs(dx) + 0.02 and a.y1 <= b.y0 + 0.02
        case Arrangement.ON:
            over = dy < -min(0.02, a.height / 5) and b.x0 <= ax <= b.x1
            return over and seat - 0.02 <= a.y1 - b.y0 <= seat + 0.05
        case Arrangement.BELOW:
            return dy > CLEARANCE * abs(dx) + 0.02 and a.y0 >= b.y1 - 0.35 * a.height
        case Arrangement.IN:
            return a.overlap(b) > 0.95 * a.area
        case Arrangement.NEXT_TO:
            return gap(a, b) <= 0.18 and abs(dx) > beside
        case Arrangement.BEHIND:
            shown = a.overlap(b) < COVERED_BEHIND * a.area
            return shown and 0.3 * beside < abs(dx) < beside and a.y1 <= b.y1 - STEP_BACK
        case Arrangement.IN_FRONT_OF:
            shown = a.overlap(b) < COVERED_BEHIND * b.area
            return shown and abs(dx) < beside and a.y1 >= b.y1 + STEP_BACK
        case Arrangement.TOWARD | Arrangement.AWAY_FROM | Arrangement.PAST | Arrangement.AT:
            return True


def _overlap_share(a: Array, b: Array) -> Array:
    """[…, side] each -> […]: how much of the smaller box the larger one covers."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    width, height = np.moveaxis(np.maximum(sides, 0), -1, 0)
    areas = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (a, b)]
    covered: Array = width * height / np.minimum(*areas)
    return covered


def _gaps(a: Array, b: Array) -> Array:
    """`arrangements.gap`, […, side] each -> […]."""
    apart: Array = np.maximum(a[..., :2] - b[..., 2:], b[..., :2] - a[..., 2:]).max(axis=-1)
    return np.maximum(apart, 0)


def _move_inside(box: Box) -> Box:
    dx = max(0.0, -box.x0) - max(0.0, box.x1 - 1)
    dy = max(0.0, -box.y0) - max(0.0, box.y1 - 1)
    return box.translate(dx, dy)


def _noise(name: str, seed: int) -> float:
    """In [0, 1): the same for the same name and seed, everywhere."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4]) / 2**32
