"""Where in the picture instances are: named places, the background and the foreground, what is before what."""

import re
from collections.abc import Sequence

from planner_service.motion.arrangements import Arrangement
from planner_service.motion.cues import Distance, Place
from planner_service.motion.nouns import Habitat, noun_of
from planner_service.parser import directions
from planner_service.parser.cueing import Cued
from planner_service.parser.directions import Found
from planner_service.parser.lexicon import word_list
from planner_service.parser.scene import Scene
from planner_service.parser.words import Role
from shared.motion_graph import MotionGraph


def place_of(scene: Scene, number: int, told: Sequence[Cued]) -> Found[Place] | None:
    """Where in the frame the prompt puts an instance that stays there, or that goes on from there."""
    if tour_of(scene, number):
        first = tour_of(scene, number)[0]
        return first if first.words.split()[0] in ("in", "at", "on", "from") else None
    if any(cued.named and cued.phase.travels for cued in told):
        return None
    for action in scene.actions:
        if number not in action.subjects or directions.direction_in(action.about, travels=action.verb.travels):
            continue
        clause = re.split(r", (?=\w+ (?:\w+ )?(?:in|on|at|above|behind) )", action.text)[0]
        if (place := directions.place_in(clause)) is not None:
            return place
        if (
            action.lemma in word_list("airborne")
            and not action.objects
            and noun_of(scene.mentions[number].name).habitat is Habitat.GROUND
        ):
            return Found(Place.TOP, action.said)
        if action.lemma in word_list("earthbound") and noun_of(scene.mentions[number].name).habitat is Habitat.AIR:
            return Found(Place.BOTTOM, action.said)
    end = scene.mentions[number].end
    goes = any(
        action.start <= end < action.end and directions.direction_in(action.about, travels=action.verb.travels)
        for action in scene.actions
    )
    if goes or end >= len(scene.words) or scene.words[end].role is not Role.PREPOSITION:
        return None
    after = " ".join(word.lower for word in scene.words[end : end + 5])
    found = directions.place_in(after)
    return found if found is not None and after.startswith(found.words) else None


def distances_of(scene: Scene) -> dict[int, Distance]:
    """What is in the background, and in the foreground: what stands before those words, else who does it."""
    found: dict[int, Distance] = {}
    for number in scene.ids:
        after = " ".join(word.lower for word in scene.words[scene.mentions[number].end :][:6])
        told = directions.distance_in(after)
        if told is not None and after.startswith(told.words):
            found[number] = told.value
    taken = {found_word for n in found for found_word in range(scene.mentions[n].end, scene.mentions[n].end + 6)}
    for action in scene.actions:
        told = directions.distance_in(action.about)
        said = [w for w in scene.words[action.start : action.end] if told and w.lower == told.words.split()[-1]]
        if told is None or any(word.index in taken for word in said):
            continue
        begin = said[-1].index + 1 - len(told.words.split()) if said else action.start
        if any(m.end == begin and n not in action.subjects + action.objects for n, m in enumerate(scene.mentions)):
            continue  # "stands on a hill with a blue sky in the background"
        for number in (*action.subjects, *action.objects):
            found.setdefault(number, told.value)
    for a in scene.attachments:
        if a.arrangement is Arrangement.ON and a.source in found and a.target in scene.ids:
            found.setdefault(a.target, found[a.source])
    return found


def tour_of(scene: Scene, number: int) -> list[Found[Place]]:
    """The places of the frame that are named for it in turn, if a direction would not do for them."""
    own = [action for action in scene.actions if number in action.subjects]
    places = [place for action in own for place in directions.named_places(action.about)]
    toured = len(places) > 1 and any(place.value not in directions.PLAIN for place in places)
    return places if toured and any(action.verb.travels for action in own) else []


def depth_order(scene: Scene, graph: MotionGraph) -> tuple[str, ...]:
    """Nearest first: what is before something precedes it, then the smaller precedes the larger."""
    areas = {i.id: noun_of(i.name).height ** 2 * noun_of(i.name).aspect for i in graph.instances}
    nearer: set[tuple[str, str]] = set()
    for attachment in scene.attachments:
        if attachment.source not in scene.ids or attachment.target not in scene.ids:
            continue
        for source in scene.ids[attachment.source]:
            for target in scene.ids[attachment.target]:
                pair = (target, source) if attachment.arrangement is Arrangement.BEHIND else (source, target)
                if attachment.arrangement is not None and (pair[1], pair[0]) not in nearer:
                    nearer.add(pair)
    far = {
        name for n, distance in distances_of(scene).items() if distance is Distance.FAR for name in scene.ids.get(n, ())
    }
    near = {
        name
        for n, distance in distances_of(scene).items()
        if distance is Distance.NEAR
        for name in scene.ids.get(n, ())
    }
    nearer |= {
        (a, b) for a in graph.ids for b in graph.ids if (b in far and a not in far) or (a in near and b not in near)
    }
    nearer |= {(i.id, i.parent) for i in graph.instances if i.parent is not None}
    waiting = sorted(graph.ids, key=lambda name: areas[name])
    order: list[str] = []
    while waiting:
        free = [name for name in waiting if not any((other, name) in nearer for other in waiting)]
        order.append((free or waiting)[0])
        waiting.remove(order[-1])
    return tuple(order)
