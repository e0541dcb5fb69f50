"""What a prompt mentions that is drawn, with its actions and attachments: what the parts of a graph are made from."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from planner_service.motion.arrangements import Arrangement
from planner_service.parser.actions import Action
from planner_service.parser.arrivals import with_arrivals
from planner_service.parser.attachments import Attachment
from planner_service.parser.mentions import Mention
from planner_service.parser.picture import Picture
from planner_service.parser.riding import rides_of, with_company, with_vehicle
from planner_service.parser.wholes import wholes_of
from planner_service.parser.words import Word
from shared.motion_graph import MAXIMUM_INSTANCES, MAXIMUM_PHRASES

AROUND = (Arrangement.NEXT_TO, Arrangement.LEFT_OF, Arrangement.RIGHT_OF)
"""Where what is held is so is where its holder is so."""


@dataclass(frozen=True)
class Scene:
    """Mentions are named by their indices, those of one thing by the first of them."""

    prompt: str
    picture: Picture
    words: Sequence[Word]
    mentions: Sequence[Mention]
    drawn: Mapping[int, int]
    """Each drawn mention's first."""
    actions: Sequence[Action]
    attachments: Sequence[Attachment]
    ids: Mapping[int, Sequence[str]]
    """The identifiers of each first mention's instances."""
    wholes: Mapping[int, int]
    """What parts and held things belong to."""
    left_out: tuple[str, ...]


def scene_of(
    prompt: str,
    words: Sequence[Word],
    mentions: Sequence[Mention],
    actions: Sequence[Action],
    attachments: Sequence[Attachment],
    drawn: Mapping[int, int],
    picture: Picture,
) -> Scene:
    doing = [
        replace(
            action,
            subjects=tuple(dict.fromkeys(drawn[n] for n in action.subjects if n in drawn)),
            objects=tuple(dict.fromkeys(drawn[n] for n in action.objects if n in drawn)),
        )
        for action in actions
    ]
    attached = [
        replace(a, source=drawn[a.source], target=drawn[a.target])
        for a in attachments
        if a.source in drawn and a.target in drawn and drawn[a.source] != drawn[a.target]
    ]
    doing = [with_vehicle(with_company(action, attached, mentions), attached, mentions) for action in doing]
    attached = with_arrivals([*attached, *rides_of(doing, mentions)], doing, mentions)
    counts, left_out = _counts(drawn, mentions, doing)
    ids = _identifiers(counts, mentions)
    wholes = wholes_of(words, mentions, doing, attached, tuple(ids))
    attached = [
        replace(a, source=wholes[a.source])
        if a.arrangement in AROUND and wholes.get(a.source, a.target) != a.target
        else a
        for a in attached
    ]
    return Scene(prompt, picture, words, mentions, drawn, doing, attached, ids, wholes, left_out)


def _counts(
    drawn: Mapping[int, int], mentions: Sequence[Mention], actions: Sequence[Action]
) -> tuple[dict[int, int], tuple[str, ...]]:
    """How many are drawn of each first mention, and what is left out where they are too many.

    Those that do something, or that something is done to, come before what only stands there; then there are fewer
    of the most numerous.
    """
    firsts = list(dict.fromkeys(drawn.values()))
    busy = {number for action in actions for number in action.subjects + action.objects}
    kept = sorted(firsts, key=lambda number: number not in busy)[:MAXIMUM_INSTANCES]
    counts = {number: mentions[number].count for number in firsts if number in kept}
    while sum(counts.values()) > MAXIMUM_INSTANCES:
        counts[max(counts, key=lambda number: counts[number])] -= 1
    left_out = [
        mentions[n].name if n not in counts else f"{count - counts[n]} of {count}: {mentions[n].name}"
        for n in firsts
        if counts.get(n) != (count := mentions[n].count)
    ]
    return counts, phrases(left_out)


def _identifiers(counts: Mapping[int, int], mentions: Sequence[Mention]) -> dict[int, list[str]]:
    """`dog`, or `dog_1`, `dog_2`, … for each first mention."""
    used: set[str] = set()
    identifiers: dict[int, list[str]] = {}
    for number, count in counts.items():
        slug = re.sub(r"[^a-z0-9]+", "_", mentions[number].head.lower()).strip("_")[:30]
        stem = slug if slug and slug[0].isalpha() else "thing"
        names = [stem] if count == 1 else [f"{stem}_{index}" for index in range(1, count + 1)]
        suffix = 2
        while not used.isdisjoint(names):
            names = [f"{stem}{suffix}"] if count == 1 else [f"{stem}{suffix}_{i}" for i in range(1, count + 1)]
            suffix += 1
        used.update(names)
        identifiers[number] = names
    return identifiers


def phrases(said: Sequence[str]) -> tuple[str, ...]:
    return tuple(phrase[:120] for phrase in said[:MAXIMUM_PHRASES])
