"""Prompt and plan as the emoji world can draw them: at most two things, of different kinds, in the sizes that it has
learned.

Where things are and how they move stays as planned; sizes become the world's, and the caption says the plan's motions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median

from emoji_world import grammar
from emoji_world.bridge import Drawn, Translation, noun_of, translate
from emoji_world.spec import NON_RIGID, STEP, WORLD, Background, Motion
from emoji_world.sprites import texture
from generator_service.backbones.base import Scene
from shared.geometry import Box
from shared.motion_graph import MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track

LEAST_WAY_PX = 4.0
"""A centre that ends nearer to its start has not moved, as far as a caption is concerned."""
PAIR_EDGE_PX = (27.0, 36.0)
"""Longest edges of two objects; scenes that are crowded have them smaller than `WorldSpec.size_px`."""
STRETCH = (0.6, 1.35)
"""Sides of a deforming box, as shares of the sprite's own: what the world's deformations reach."""


@dataclass(frozen=True, kw_only=True)
class EmojiScene(Scene):
    objects: tuple[Drawn, ...] = ()
    """What each instance of the plan is drawn as, in its order."""
    background: Background


def emoji_scene(prompt: str, plan: Plan | None) -> EmojiScene:
    """The plan has the drawn instances alone, in their sizes."""
    translation = translate(prompt if plan is None else plan.prompt)
    if plan is None:
        return EmojiScene(caption=translation.caption, notes=_notes(translation), background=translation.background)
    cast = _cast(plan, translation.objects)
    ids = tuple(identifier for identifier in plan.graph.ids if identifier in cast)
    tracks = {track.instance: track for track in plan.tracks}
    objects = {
        identifier: cast[identifier]._replace(motion=_motion(tracks[identifier], cast[identifier].motion))
        for identifier in ids
    }
    by_sprite = {drawn.sprite: drawn for drawn in objects.values()}
    told = replace(translation, objects=tuple(by_sprite.get(drawn.sprite, drawn) for drawn in translation.objects))
    place = translation.background
    return EmojiScene(
        caption=told.caption,
        notes=_notes(translation),
        plan=Plan(
            prompt=plan.prompt,
            graph=_graph_of(plan.graph, ids),
            background=plan.background,
            tracks=tuple(_fit(tracks[identifier], objects[identifier].sprite, len(ids)) for identifier in ids),
            depth_order=tuple(identifier for identifier in plan.depth_order if identifier in cast),
        ),
        descriptions=tuple(grammar.caption([drawn.told], place, grammar.first) for drawn in objects.values()),
        surroundings=grammar.first(grammar.PLACES[place]),
        objects=tuple(objects.values()),
        background=place,
    )


def _notes(translation: Translation) -> tuple[str, ...]:
    notes = [f"'{word}' is drawn as '{drawn_as}'" for word, drawn_as in translation.substitutions]
    if translation.ignored:
        notes.append("not drawn: " + ", ".join(f"'{word}'" for word in translation.ignored))
    return tuple(notes)


def _cast(plan: Plan, objects: Sequence[Drawn]) -> dict[str, Drawn]:
    """For each object of the caption the instance that it draws: the first of that name; else one that has no name in
    this world's vocabulary; else the first of all, so that there always is one."""
    free = {instance.id: noun_of(instance.name) for instance in plan.graph.instances}
    cast: dict[str, Drawn] = {}
    for by_name in (True, False):
        for drawn in objects:
            wanted = drawn.noun if by_name else None
            found = next((identifier for identifier, noun in free.items() if noun == wanted), None)
            if found is not None and drawn not in cast.values():
                cast[found] = drawn
                del free[found]
    return cast or {plan.graph.ids[0]: objects[0]}


def _motion(track: Track, told: Motion) -> Motion:
    """The word for what the boxes do.  told: the prompt's, which knows deformations better."""
    (x0, y0), (x1, y1) = track.boxes[0].center, track.boxes[-1].center
    dx, dy = (x1 - x0) * WORLD.width, (y1 - y0) * WORLD.height
    if max(abs(dx), abs(dy)) >= LEAST_WAY_PX:
        if abs(dx) >= abs(dy):
            return "right" if dx > 0 else "left"
        return "down" if dy > 0 else "up"
    if any(phase.label is MotionLabel.NON_RIGID for phase in track.phases):
        if told in NON_RIGID:
            return told
        widths, heights = [box.width for box in track.boxes], [box.height for box in track.boxes]
        return "squash" if max(heights) / min(heights) > max(widths) / min(widths) else "sway"
    return told if told in STEP and any(phase.label is MotionLabel.RIGID for phase in track.phases) else "still"


def _graph_of(graph: MotionGraph, ids: Sequence[str]) -> MotionGraph:
    return MotionGraph(
        instances=tuple(
            instance if instance.parent in ids else instance.model_copy(update={"parent": None})
            for instance in graph.instances
            if instance.id in ids
        ),
        relations=tuple(each for each in graph.relations if each.source in ids and each.target in ids),
    )


def _fit(track: Track, sprite: str, count: int) -> Track:
    """The same centres, inside the frame; the sprite's size, which changes where the box deforms."""
    frame = (WORLD.width, WORLD.height)
    low, high = WORLD.size_px if count == 1 else PAIR_EDGE_PX
    edge = median(max(box.width * frame[0], box.height * frame[1]) for box in track.boxes)
    rows, columns = texture(sprite).shape[1:]
    scale = min(max(edge, low), high) / max(rows, columns)
    width, height = columns * scale / frame[0], rows * scale / frame[1]
    mean_width, mean_height = (fmean(getattr(box, side) for box in track.boxes) for side in ("width", "height"))
    boxes: list[Box] = []
    phases: list[Phase] = []
    for phase in track.phases:
        deforms = phase.label is MotionLabel.NON_RIGID
        own = track.boxes[phase.start : phase.end + 1]
        boxes += [
            _inside(
                box.center,
                width * _between(*STRETCH, box.width / mean_width) if deforms else width,
                height * _between(*STRETCH, box.height / mean_height) if deforms else height,
            )
            for box in own
        ]
        moves = any(a != b for a, b in pairwise(own))  # a part that stood still on something that is not drawn
        rides = phase.label is MotionLabel.MOTIONLESS and moves
        phases.append(phase.model_copy(update={"label": MotionLabel.RIGID}) if rides else phase)
    return Track(instance=track.instance, phases=tuple(phases), boxes=tuple(boxes))


def _inside(center: tuple[float, float], width: float, height: float) -> Box:
    left = _between(0.0, 1.0 - width, center[0] - width / 2)
    top = _between(0.0, 1.0 - height, center[1] - height / 2)
    return Box(left, top, min(1.0, left + width), min(1.0, top + height))


def _between(low: float, high: float, value: float) -> float:
    return min(high, max(low, value))
