"""A plan as the emoji world can draw it: its things as the nearest sprites, in sizes and motions that it has learned.

How things move stays as planned, and where, but for those that come nearer to one another than the world has seen: they
are drawn apart.  The caption says in the world's own words what the boxes do.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from emoji_world import grammar
from emoji_world.grammar import Size, Told
from emoji_world.scene import CLEARANCE_PX
from emoji_world.spec import NON_RIGID, SCALING, STEP, WORLD, Background, Motion, Timing, WorldSpec
from emoji_world.sprites import texture
from emoji_world.stand_ins import find_background, find_sprite
from emoji_world.vocabulary import SPRITES
from generator_service.backbones.base import Scene
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track
from shared.wordnet import base_form

UNKNOWN = "ball"
"""Drawn where the world has nothing like any thing of a plan."""
MOST_ALIKE = 2
LEAST_WAY_PX = 4.0
"""A centre that ends nearer to its start has not moved, as far as a caption is concerned."""
LEAST_GROWTH = 1.4
"""Of an edge: what grows less has not come closer."""
DIAGONAL = 0.5
"""A way is diagonal from this ratio of its shorter to its longer part."""
REST = 0.35
"""Share of a clip's frames; whoever rests as long at its start or end is said to rest."""
CROWDED = 0.9
"""Several things: how much smaller the smallest may be than in a scene of one."""
ROUNDS = 4
"""Of drawing pairs apart: who makes room for one thing may come near another."""
STRETCH = (0.6, 1.35)
"""Sides of a deforming box, as shares of the sprite's own: what the world's deformations reach."""
COLOURS = frozenset(sprite.colour for sprite in SPRITES.values()) | {"grey", "golden", "silver"}
DEFORMING: dict[Motion, str] = {
    "sway": "sway dance swing rock wobble twirl bend waltz lean swirl shake wiggle",
    "squash": "bounce squash jump hop pulse breathe squeeze stretch leap bob deform skip",
    "flutter": "flutter wave flap billow ripple quiver tremble shiver",
}
"""Verbs, base forms."""


@dataclass(frozen=True, kw_only=True)
class EmojiScene(Scene):
    objects: tuple[Told, ...]
    """What each instance of the plan is drawn as, in its order."""
    background: Background


def emoji_scene(plan: Plan, world: WorldSpec = WORLD) -> EmojiScene:
    """The plan has the drawn instances alone, in their sizes."""
    cast = _cast(plan, world)
    kinds = Counter(cast.values())
    tracks = {track.instance: track for track in plan.tracks}
    drawn: list[Track] = []
    objects: list[Told] = []
    for identifier, sprite in cast.items():
        track = tracks[identifier]
        motion = _motion(track, plan.graph[identifier], sprite, world)
        fitted = _fit(track, sprite, motion, len(cast), world)
        size = _size(fitted, world) if kinds[sprite] == 1 and motion not in SCALING else ""
        objects.append(Told(sprite, motion, _timing(track, world), size))
        drawn.append(fitted)
    background = find_background((plan.background, plan.prompt), objects[0].sprite, world.backgrounds)
    alike = sorted(objects, key=objects.index)
    return EmojiScene(
        caption=grammar.caption(alike, background, grammar.first),
        notes=_notes(plan.graph, cast),
        plan=Plan(
            prompt=plan.prompt,
            graph=_graph_of(plan.graph, tuple(cast)),
            background=plan.background,
            tracks=_apart(drawn, world),
            depth_order=tuple(identifier for identifier in plan.depth_order if identifier in cast),
        ),
        descriptions=tuple(grammar.caption([told], background, grammar.first) for told in objects),
        surroundings=grammar.first(grammar.PLACES[background]),
        objects=tuple(objects),
        background=background,
    )


def _cast(plan: Plan, world: WorldSpec) -> dict[str, str]:
    """Instance → sprite, in the graph's order: wholes before parts, and no more than the world can have."""
    found = {instance.id: find_sprite(instance.name, world.sprites) for instance in plan.graph.instances}
    cast: dict[str, str] = {}
    for identifier in sorted(found, key=plan.graph.generation):
        sprite = found[identifier]
        most = MOST_ALIKE if world.same_kind else 1
        if sprite is not None and len(cast) < world.most_objects and Counter(cast.values())[sprite] < most:
            cast[identifier] = sprite
    cast = cast or {plan.graph.ids[0]: UNKNOWN}
    return {identifier: cast[identifier] for identifier in plan.graph.ids if identifier in cast}


def _notes(graph: MotionGraph, cast: dict[str, str]) -> tuple[str, ...]:
    notes: dict[str, None] = {}
    for instance in graph.instances:
        if (name := cast.get(instance.id)) is None:
            continue
        sprite = SPRITES[name]
        said = instance.name.lower().split()
        other = [word for word in said if word in COLOURS and word != sprite.colour]
        if not {sprite.name, sprite.many} & set(said):
            notes[f"'{instance.name}' is drawn as '{name}'"] = None
        elif other:
            notes[f"'{instance.name}' is drawn as '{sprite.colour} {name}'"] = None
    missing = dict.fromkeys(instance.name for instance in graph.instances if instance.id not in cast)
    if missing:
        notes["not drawn: " + ", ".join(f"'{name}'" for name in missing)] = None
    return tuple(notes)


def _motion(track: Track, instance: Instance, sprite: str, world: WorldSpec) -> Motion:
    """The word for what the boxes do."""
    (x0, y0), (x1, y1) = track.boxes[0].center, track.boxes[-1].center
    dx, dy = (x1 - x0) * world.width, (y1 - y0) * world.height
    growth = _edge(track.boxes[-1], world) / _edge(track.boxes[0], world)
    if not LEAST_GROWTH > growth > 1 / LEAST_GROWTH and "approach" in world.motions:
        return "approach" if growth > 1 else "recede"
    if max(abs(dx), abs(dy)) >= LEAST_WAY_PX:
        return _direction(dx, dy, world)
    if any(phase.label is MotionLabel.NON_RIGID for phase in track.phases):
        motion = _deformation(track, instance, sprite)
        return motion if motion in world.motions else "sway"
    return "still"


def _direction(dx: float, dy: float, world: WorldSpec) -> Motion:
    step = (round(dx / abs(dx)) if dx else 0, round(dy / abs(dy)) if dy else 0)
    across, down = abs(dx) >= DIAGONAL * abs(dy), abs(dy) >= DIAGONAL * abs(dx)
    if not (across and down and "up-left" in world.motions):
        step = (step[0], 0) if abs(dx) >= abs(dy) else (0, step[1])
    return next(motion for motion, its in STEP.items() if its == step)


def _deformation(track: Track, instance: Instance, sprite: str) -> Motion:
    """By what it is said to do, else by what its box changes most, else by what things like it do."""
    said = {base_form(word) for phrase in instance.attributes for word in re.findall(r"[a-z]+", phrase.lower())}
    for motion, verbs in DEFORMING.items():
        if said & set(verbs.split()):
            return motion
    widths, heights = [box.width for box in track.boxes], [box.height for box in track.boxes]
    if max(heights) / min(heights) > max(widths) / min(widths):
        return "squash"
    return "flutter" if sprite in {"flag", "butterfly", "leaf"} else "sway"


def _timing(track: Track, world: WorldSpec) -> Timing:
    moves = [
        phase.label is not MotionLabel.MOTIONLESS and not phase.absent
        for phase in track.phases
        for _ in range(phase.start, phase.end + 1)
    ]
    if not world.rest_share or True not in moves:
        return "throughout"
    before, after = (moves[::step].index(True) / len(moves) for step in (1, -1))
    if max(before, after) < REST:
        return "throughout"
    return "starts" if before >= after else "stops"


def _size(track: Track, world: WorldSpec) -> Size:
    edge = _edge(track.boxes[0], world)
    return "small" if edge <= world.small_px else "big" if edge >= world.large_px else ""


def _graph_of(graph: MotionGraph, ids: Sequence[str]) -> MotionGraph:
    return MotionGraph(
        instances=tuple(
            instance if instance.parent in ids else instance.model_copy(update={"parent": None})
            for instance in graph.instances
            if instance.id in ids
        ),
        relations=tuple(each for each in graph.relations if each.source in ids and each.target in ids),
    )


def _fit(track: Track, sprite: str, motion: Motion, count: int, world: WorldSpec) -> Track:
    """The same centres, inside the frame; the sprite's size, which changes where the box deforms or comes closer."""
    low, high = world.size_px
    low = low if count == 1 else CROWDED * low
    planned = [_edge(box, world) for box in track.boxes]
    edges = [_between(low, high, edge if motion in SCALING else median(planned)) for edge in planned]
    rows, columns = texture(sprite).shape[1:]
    mean_width, mean_height = (fmean(getattr(box, side) for box in track.boxes) for side in ("width", "height"))
    boxes: list[Box] = []
    phases: list[Phase] = []
    for phase in track.phases:
        deforms = phase.label is MotionLabel.NON_RIGID and motion in NON_RIGID
        own = track.boxes[phase.start : phase.end + 1]
        for box, edge in zip(own, edges[phase.start : phase.end + 1], strict=True):
            width, height = (side * edge / max(rows, columns) for side in (columns, rows))
            if deforms:
                width *= _between(*STRETCH, box.width / mean_width)
                height *= _between(*STRETCH, box.height / mean_height)
            boxes.append(_inside(box.center, width / world.width, height / world.height))
        moves = any(a != b for a, b in pairwise(own))  # a part that stood still on something that is not drawn
        rides = phase.label is MotionLabel.MOTIONLESS and moves
        phases.append(phase.model_copy(update={"label": MotionLabel.RIGID}) if rides else phase)
    return Track(instance=track.instance, phases=tuple(phases), boxes=tuple(boxes))


def _apart(tracks: Sequence[Track], world: WorldSpec) -> tuple[Track, ...]:
    """The same ways, as wholes moved by as little as lets no two of them overlap more than in the world."""
    frame = np.array([world.width, world.height], dtype=float)
    corners = np.array([[[(box.x0, box.y0), (box.x1, box.y1)] for box in track.boxes] for track in tracks]) * frame
    for _ in range(ROUNDS):
        for one, other in combinations(range(len(tracks)), 2):
            if _overlap(corners[one], corners[other]) > world.overlap:
                _push(corners[one], corners[other], frame)
    return tuple(
        track.model_copy(update={"boxes": tuple(Box(*edges) for edges in boxes.reshape(-1, 4).tolist())})
        for track, boxes in zip(tracks, (corners / frame).clip(0, 1), strict=True)
    )


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """[frame, corner, axis] each: the most that they share in any frame, as part of the smaller one."""
    common = np.minimum(one[:, 1], other[:, 1]) - np.maximum(one[:, 0], other[:, 0])
    smaller = np.minimum(*((its[:, 1] - its[:, 0]).prod(axis=1) for its in (one, other)))
    return float((common.clip(0).prod(axis=1) / smaller).max())


def _push(one: NDArray[np.float64], other: NDArray[np.float64], frame: NDArray[np.float64]) -> None:
    """Along the axis where it takes least, each by half, or by what room it has; nowhere if there is too little."""
    ways = []
    for axis in (0, 1):
        across = 1 - axis
        meet = (one[:, 0, across] < other[:, 1, across]) & (other[:, 0, across] < one[:, 1, across])
        for low, high in ((one, other), (other, one)):
            need = CLEARANCE_PX + (low[meet, 1, axis] - high[meet, 0, axis]).max()
            rooms = low[:, 0, axis].min(), frame[axis] - high[:, 1, axis].max()
            if need <= sum(rooms):
                ways.append((need, axis, low, high, rooms))
    if ways:
        need, axis, low, high, rooms = min(ways, key=lambda way: way[0])
        back = _between(need - rooms[1], rooms[0], need / 2)
        low[..., axis] -= back
        high[..., axis] += need - back


def _edge(box: Box, world: WorldSpec) -> float:
    """The longer one, px."""
    return max(box.width * world.width, box.height * world.height)


def _inside(center: tuple[float, float], width: float, height: float) -> Box:
    left = _between(0.0, 1.0 - width, center[0] - width / 2)
    top = _between(0.0, 1.0 - height, center[1] - height / 2)
    return Box(left, top, min(1.0, left + width), min(1.0, top + height))


def _between(low: float, high: float, value: float) -> float:
    return min(high, max(low, value))
