"""Why the parser decided what it did, each time with the prompt's own words."""

import re
from collections.abc import Iterator, Sequence

from planner_service.explanation import About, Reason
from planner_service.motion.cues import Place
from planner_service.parser.cueing import Cued
from planner_service.parser.directions import Found
from planner_service.parser.mentions import Mention
from shared.motion_graph import Relation, RelationKind


def reasons_of_instance(
    prompt: str, identifier: str, mention: Mention, told: Sequence[Cued], place: Found[Place] | None
) -> Iterator[Reason]:
    """Why it is there, moves as it does, and begins where it does."""
    yield Reason(
        about=About.INSTANCE,
        instance=identifier,
        decided=mention.name[:120],
        words=_quote(prompt, mention.text),
        why="it can be seen" if mention.count == 1 else f"they are drawn as {mention.count}",
    )
    for because in dict.fromkeys(because for cues in told for because in cues.because):
        words = tuple(word for said in because.words for word in _quote(prompt, said))
        yield Reason(about=because.about, instance=identifier, decided=because.decided, words=words, why=because.why)
    if place is not None:
        yield Reason(
            about=About.CUE,
            instance=identifier,
            decided=f"place: {place.value.value}",
            words=_quote(prompt, place.words),
            why="the words name a place of the frame",
        )


def reason_of_part(prompt: str, identifier: str, whole: str, owner: str) -> Reason:
    words = _quote(prompt, owner)
    why = "it moves with what has it"
    return Reason(about=About.CUE, instance=identifier, decided=f"part of: {whole}", words=words, why=why)


def reasons_of_relations(prompt: str, relations: Sequence[tuple[Relation, str]]) -> Iterator[Reason]:
    """`relations`: each with the words for it."""
    for relation, said in relations:
        yield Reason(
            about=About.RELATION,
            instance=relation.source,
            decided=f"{relation.source} {relation.phrase} {relation.target}",
            words=_quote(prompt, said),
            why="the words between the two" if relation.kind is RelationKind.SPATIAL else "the verb is about both",
        )


def reason_of_background(prompt: str, background: str) -> Reason:
    words = tuple(word for part in background.split(", ") for word in _quote(prompt, part))
    return Reason(about=About.CUE, decided=f"background: {background}", words=words, why="places and times")


def _quote(prompt: str, words: str) -> tuple[str, ...]:
    """The same words as they stand in the prompt."""
    pattern = r"\s*".join(re.escape(part) for part in re.findall(r"\w+|[^\w\s]", words))
    match = re.search(pattern, prompt, re.IGNORECASE) if pattern else None
    return (match.group()[:400],) if match is not None else ()
