"""What the language model writes: a scene, then the cues of everything in it; each decision after what speaks for it.

The schemas are those of the graph and of the cues themselves, so that whatever is added to those is asked for here.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from planner_service.explanation import About, Reason
from planner_service.motion.arrangements import misordered
from planner_service.motion.cues import InstanceCues, Reading
from shared.errors import Violation, violations_of
from shared.motion_graph import (
    MAXIMUM_INSTANCES,
    MAXIMUM_RELATIONS,
    Identifier,
    Instance,
    MotionGraph,
    Phrase,
    Relation,
)
from shared.wire import WireModel

THOUGHTS_CHARACTERS = 200
THOUGHT_CHARACTERS = 60

Thoughts = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=THOUGHTS_CHARACTERS)]
Thought = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=THOUGHT_CHARACTERS)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=THOUGHT_CHARACTERS)]

IDENTIFIER_PATTERN = TypeAdapter(Identifier).json_schema()["pattern"]


class Seen(WireModel):
    """A node, and first what speaks for it."""

    words: Words
    """The prompt's own words for it and for what it does."""
    why: Thought
    """How it moves, and whether its shape changes."""
    node: Instance


class Scene(WireModel):
    """The first answer: who is there."""

    thoughts: Thoughts
    """Which things are seen, how many of each, and what each does."""
    instances: Annotated[tuple[Seen, ...], Field(min_length=1, max_length=MAXIMUM_INSTANCES)]
    relations: Annotated[tuple[Relation, ...], Field(max_length=MAXIMUM_RELATIONS)] = ()
    background: Phrase
    depth_order: Annotated[tuple[Identifier, ...], Field(max_length=MAXIMUM_INSTANCES)]

    @property
    def nodes(self) -> tuple[Instance, ...]:
        return tuple(seen.node for seen in self.instances)

    @property
    def graph(self) -> MotionGraph:
        """Raises ValidationError where ids are repeated or dangle."""
        return MotionGraph(instances=self.nodes, relations=self.relations)


class Movement(WireModel):
    """One instance's cues, and first what speaks for them."""

    why: Thought
    """Where it begins, where it goes, and when that changes."""
    cues: InstanceCues


class Movements(WireModel):
    """The second answer: what they all do."""

    thoughts: Thoughts
    """How the movements go together: who is where when."""
    movements: Annotated[tuple[Movement, ...], Field(min_length=1, max_length=MAXIMUM_INSTANCES)]


def movements_schema(ids: Sequence[str]) -> dict[str, Any]:
    """The schema of the cues of these instances: every identifier in it can only be one of theirs."""
    schema: dict[str, Any] = _with_identifiers(Movements.model_json_schema(), list(ids))
    schema["properties"]["movements"] |= {"minItems": len(ids), "maxItems": len(ids)}
    return schema


def _with_identifiers(schema: Any, ids: list[str]) -> Any:
    if isinstance(schema, list):
        return [_with_identifiers(part, ids) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("pattern") == IDENTIFIER_PATTERN:
        return {"type": "string", "enum": ids}
    return {name: _with_identifiers(part, ids) for name, part in schema.items()}


def scene_violations(scene: Scene) -> tuple[Violation, ...]:
    """What the schema could not forbid: repeated nodes, edges to nothing, an order that leaves something out or that
    contradicts a relation."""
    try:
        graph = scene.graph
    except ValidationError as error:
        return violations_of(error)
    if sorted(scene.depth_order) != sorted(graph.ids):
        return (Violation(field="depth_order", message=f"must name every instance once: {', '.join(graph.ids)}"),)
    return tuple(
        Violation(field="depth_order", message=f"'{far}' is farther than '{near}' by relation {index}: name it later")
        for index, far, near in misordered(graph.relations, scene.depth_order)
    )


def reading_of(scene: Scene, movements: Movements) -> Reading:
    """Raises ValidationError where the movements are not of the scene's instances, one each."""
    graph = scene.graph
    places = {identifier: place for place, identifier in enumerate(graph.ids)}
    cues = sorted(
        (movement.cues for movement in movements.movements), key=lambda cues: places.get(cues.instance, len(places))
    )
    return Reading(graph=graph, background=scene.background, cues=tuple(cues), depth_order=scene.depth_order)


def reasons_of(prompt: str, scene: Scene, movements: Movements) -> Iterator[Reason]:
    """The model's own thoughts; its words count only where the prompt has them."""
    for seen in scene.instances:
        node = seen.node
        words = _quoted(prompt, seen.words)
        yield Reason(about=About.INSTANCE, instance=node.id, decided=node.name, words=words, why=scene.thoughts)
        yield Reason(about=About.LABEL, instance=node.id, decided=node.label.value, words=words, why=seen.why)
    for relation in scene.relations:
        decided = f"{relation.source} {relation.phrase} {relation.target}"
        words = _quoted(prompt, relation.phrase)
        yield Reason(about=About.RELATION, instance=relation.source, decided=decided, words=words, why=scene.thoughts)
    for movement in movements.movements:
        decided = movement.cues.model_dump_json(exclude={"instance"}, exclude_defaults=True)
        yield Reason(about=About.CUE, instance=movement.cues.instance, decided=decided[:400], why=movement.why)


def _quoted(prompt: str, words: str) -> tuple[str, ...]:
    return (words,) if words.strip() and words.casefold() in prompt.casefold() else ()
