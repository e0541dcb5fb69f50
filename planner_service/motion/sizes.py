"""How large everything is in the first frame: by its cues, by the table of typical sizes, or by its whole."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from planner_service.motion.arrangements import DEPTH, Arrangement, arrangement_of
from planner_service.motion.cues import Distance, InstanceCues, Reading
from planner_service.motion.nouns import Kind, is_a, noun_of
from planner_service.motion.parts import UNKNOWN, Part, part_of
from planner_service.motion.supports import head_of
from shared.motion_graph import RelationKind

COVERED = 0.42
"""How much of the frame all instances together may cover before they are made smaller."""
FARTHER = 0.85
"""How much smaller things are that are behind something."""

AT_A_DISTANCE = {Distance.FAR: 0.5, Distance.NEAR: 1.15}
"""How much smaller, or larger, things are in the background, and in the foreground."""

ON = Arrangement.ON
LEAST_SHARE = 0.6
"""How much smaller things become at most so that all that are on the same thing have room there."""

IN_ROWS, WIDEST = 1.8, 0.8
"""How many rows of what is on a thing there are at most before it is made wider, and how wide."""

FOOD = frozenset(("food", "baked goods", "dish", "cake", "dessert"))
ON_FOOD = 0.7
"""The largest that lies or stands on something to eat, as a share of its sides."""

SMALLEST_SIDE = 0.03
LARGEST_PART = 0.95
"""The most of its whole's width, and of its height, that a part takes, whatever its own cue says."""

Sizes = dict[str, tuple[float, float]]
Edge = tuple[Arrangement, str]


def sizes_of(reading: Reading, edges: Mapping[str, Sequence[Edge]], frame_aspect: float) -> Sizes:
    """Width and height of each instance, fractions of the frame.  `edges`: the spatial relations of each to others."""
    sizes: Sizes = {}
    farther = _behind_something(reading)
    for instance, cues in zip(reading.graph.instances, reading.cues, strict=True):
        if cues.size is not None:
            sizes[instance.id] = cues.size.width, cues.size.height
            continue
        noun = noun_of(instance.name)
        width, height = noun.height * noun.aspect / frame_aspect, noun.height
        fit = min(1.0, 0.85 / width, 0.9 / height) * _end_room(cues)
        fit *= FARTHER if instance.id in farther else 1.0
        fit *= AT_A_DISTANCE[cues.distance] if cues.distance is not None else 1.0
        sizes[instance.id] = width * fit, height * fit
    whole = [instance for instance in reading.graph.instances if instance.parent is None]
    covered = sum(sizes[instance.id][0] * sizes[instance.id][1] for instance in whole)
    fit = min(1.0, math.sqrt(COVERED / covered)) if len(whole) > 1 else 1.0
    sizes = {name: (width * fit, height * fit) for name, (width, height) in sizes.items()}
    for name, relations in edges.items():
        for arrangement, target in relations:
            if arrangement is Arrangement.IN:
                container = sizes[target]
                fit = min(1.0, 0.6 * container[0] / sizes[name][0], 0.6 * container[1] / sizes[name][1])
                sizes[name] = sizes[name][0] * fit, sizes[name][1] * fit
    carried = Counter(target for relations in edges.values() for arrangement, target in relations if arrangement is ON)
    for name, relations in edges.items():
        for arrangement, target in relations:
            if arrangement is ON and carried[target] > 1:
                fit = min(1.0, sizes[target][0] / (carried[target] * sizes[name][0]))
                sizes[name] = sizes[name][0] * max(fit, LEAST_SHARE), sizes[name][1] * max(fit, LEAST_SHARE)
                room = min(WIDEST, carried[target] * sizes[name][0] / IN_ROWS)
                sizes[target] = max(room, sizes[target][0]), sizes[target][1]
    names = {instance.id: instance.name for instance in reading.graph.instances}
    for name, relations in edges.items():
        for arrangement, target in relations:
            if (
                arrangement is ON
                and is_a(head_of(names[target]), FOOD)
                and noun_of(names[name]).kind is not Kind.ANIMATE
            ):
                fit = min(ON_FOOD * theirs / own for own, theirs in zip(sizes[name], sizes[target], strict=True))
                sizes[name] = _at_least(sizes[name][0] * min(1.0, fit), sizes[name][1] * min(1.0, fit))
                room = max(1.0, sizes[name][1] / (ON_FOOD * sizes[target][1]))
                sizes[target] = _at_least(sizes[target][0] * room, sizes[target][1] * room)
    hangs = hooks_of(reading)
    given = {cues.instance for cues in reading.cues if cues.size is not None}
    for name, parent in _parts(reading):
        if name not in given:
            sizes[name] = _part_size(hangs[name], sizes[name], sizes[parent])
    return shrink(sizes, 1.0, reading)


def shrink(sizes: Sizes, factor: float, reading: Reading) -> Sizes:
    """Everything times `factor`, nothing smaller than it may be, no part larger than its share of its whole."""
    smaller = {name: _at_least(width * factor, height * factor) for name, (width, height) in sizes.items()}
    for name, whole in _parts(reading):
        (width, height), (whole_width, whole_height) = smaller[name], smaller[whole]
        smaller[name] = min(width, LARGEST_PART * whole_width), min(height, LARGEST_PART * whole_height)
    return smaller


def _parts(reading: Reading) -> Iterator[tuple[str, str]]:
    """Each part with its whole, a part's own parts after it."""
    for instance in sorted(reading.graph.instances, key=lambda instance: reading.graph.generation(instance.id)):
        if instance.parent is not None:
            yield instance.id, instance.parent


def _behind_something(reading: Reading) -> set[str]:
    behind = set()
    for relation in reading.graph.relations:
        depth = arrangement_of(relation.phrase, relation.kind) if relation.kind is RelationKind.SPATIAL else None
        if depth in DEPTH:
            behind.add(relation.source if depth is Arrangement.BEHIND else relation.target)
    return behind


def hooks_of(reading: Reading) -> dict[str, Part | None]:
    """Where each part hangs on its whole, None where the table does not say; every second of a kind is mirrored."""
    hangs: dict[str, Part | None] = {}
    kinds: Counter[tuple[str, Part]] = Counter()
    for instance in reading.graph.instances:
        if instance.parent is None:
            continue
        part = part_of(instance.name)
        hangs[instance.id] = part
        if part is not None:
            kinds[instance.parent, part] += 1
            hangs[instance.id] = part if kinds[instance.parent, part] % 2 else part.mirrored
    return hangs


def _part_size(part: Part | None, size: tuple[float, float], whole: tuple[float, float]) -> tuple[float, float]:
    if part is not None:
        return part.width * whole[0], part.height * whole[1]
    fit = min(1.0, UNKNOWN.width * whole[0] / size[0], UNKNOWN.height * whole[1] / size[1])
    return size[0] * fit, size[1] * fit


def _end_room(cues: InstanceCues) -> float:
    """Smaller at first for what grows later, and for what travels far."""
    growth = math.prod(phase.scale for phase in cues.phases)
    return min(1.0, 1 / math.sqrt(growth)) if growth > 1 else 1.0


def _at_least(width: float, height: float) -> tuple[float, float]:
    factor = max(1.0, SMALLEST_SIDE / min(width, height))
    return min(0.98, width * factor), min(0.98, height * factor)
