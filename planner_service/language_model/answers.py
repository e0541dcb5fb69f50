"""What the language model writes: a scene, then the cues of everything in it; each decision after what speaks for it.

The schemas are those of the graph and of the cues themselves, so that whatever is added to those is asked for here.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from planner_service.explanation import About, Reason
from planner_service.motion.arrangements import find_misordered
from planner_service.motion.cues import InstanceCues, Reading
from shared.errors import Violation, violations_of
from shared.motion_graph import (
    MAXIMUM_INSTANCES,
    MAXIMUM_RELATIONS,
    Identifier,
    Instance,
    MotionGraph,
    MotionLabel,
    Phrase,
    Phrases,
    Relation,
)
from shared.wire import WireModel

THOUGHTS_CHARACTERS = 200
THOUGHT_CHARACTERS = 60

Thoughts = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=THOUGHTS_CHARACTERS)]
Thought = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=THOUGHT_CHARACTERS)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=THOUGHT_CHARACTERS)]

STILL_KEYS = ("until", "absent", "sudden")
MOVING_KEYS = ("until", "enters", "sudden", "speed", "pickup", "scale")
TRAVEL_KEYS: tuple[tuple[str, ...], ...] = ((), ("direction",), ("target", "goal"), ("path",), ("leaves",))
"""Of a phase, beside its label: what it can have at rest, while it moves, and one of the last for how it travels."""

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
    style: Phrases = ()
    camera: Phrases = ()
    excluded: Phrases = ()
    depth_order: Annotated[tuple[Identifier, ...], Field(max_length=MAXIMUM_INSTANCES)]

    @property
    def nodes(self) -> tuple[Instance, ...]:
        return tuple(seen.node for seen in self.instances)

    @property
    def graph(self) -> MotionGraph:
        """Raises ValidationError where ids are repeated or dangle."""
        return MotionGraph(
            instances=self.nodes, relations=self.relations, style=self.style, camera=self.camera, excluded=self.excluded
        )


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


def movements_schema(graph: MotionGraph) -> dict[str, Any]:
    """The schema of the movements of these instances: one for each, in the graph's order, each phase with the label
    that the graph gives the instance, or motionless, and with what that label allows.

    Each instance has its place in `prefixItems`; there is no `items` beside it, which llama.cpp would take instead.
    """
    schema: dict[str, Any] = _with_identifiers(Movements.model_json_schema(), list(graph.ids))
    definitions = schema["$defs"]
    phase, cues, movement = (definitions.pop(name) for name in ("Phase", "InstanceCues", "Movement"))
    for label in dict.fromkeys(instance.label for instance in graph.instances):
        definitions[_phase_of(label)] = {"anyOf": list(_phases(label, phase, len(graph.ids)))}
    schema["properties"]["movements"] = {
        "type": "array",
        "prefixItems": [
            _having(movement, cues=_having(cues, instance={"const": instance.id}, phases=_phases_of(cues, instance)))
            for instance in graph.instances
        ],
        "minItems": len(graph.ids),
        "maxItems": len(graph.ids),
    }
    return schema


def _phase_of(label: MotionLabel) -> str:
    return f"Phase_{label.value}"


def _phases_of(cues: dict[str, Any], instance: Instance) -> dict[str, Any]:
    return {**cues["properties"]["phases"], "items": {"$ref": f"#/$defs/{_phase_of(instance.label)}"}}


def _phases(label: MotionLabel, phase: dict[str, Any], instances: int) -> Iterator[dict[str, Any]]:
    """What a phase of an instance with that label can be: at rest, or moving in one of the ways there are."""
    yield _with_keys(phase, MotionLabel.MOTIONLESS, STILL_KEYS)
    if label is MotionLabel.MOTIONLESS:
        return
    deforming = ("manner",) if label is MotionLabel.NON_RIGID else ()
    for way in TRAVEL_KEYS:
        if "target" not in way or instances > 1:
            yield _with_keys(phase, label, (*MOVING_KEYS, *deforming), way)


def _with_keys(
    phase: dict[str, Any], label: MotionLabel, optional: Sequence[str], required: Sequence[str] = ()
) -> dict[str, Any]:
    """A phase with that label and these keys alone, in the order in which they are always written."""
    allowed = ("label", *optional, *required)
    properties = {name: said for name, said in phase["properties"].items() if name in allowed}
    properties["label"] = {"const": label.value}
    for name in required:
        properties[name] = properties[name].get("anyOf", [properties[name]])[0]  # not null
    return phase | {"properties": properties, "required": ["label", *required]}


def _having(schema: dict[str, Any], **properties: dict[str, Any]) -> dict[str, Any]:
    return schema | {"properties": schema["properties"] | properties}


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
        for index, far, near in find_misordered(graph.relations, scene.depth_order)
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
        words = _quote(prompt, seen.words)
        yield Reason(about=About.INSTANCE, instance=node.id, decided=node.name, words=words, why=scene.thoughts)
        yield Reason(about=About.LABEL, instance=node.id, decided=node.label.value, words=words, why=seen.why)
    for relation in scene.relations:
        decided = f"{relation.source} {relation.phrase} {relation.target}"
        words = _quote(prompt, relation.phrase)
        yield Reason(about=About.RELATION, instance=relation.source, decided=decided, words=words, why=scene.thoughts)
    for movement in movements.movements:
        decided = movement.cues.model_dump_json(exclude={"instance"}, exclude_defaults=True)
        yield Reason(about=About.CUE, instance=movement.cues.instance, decided=decided[:400], why=movement.why)


def _quote(prompt: str, words: str) -> tuple[str, ...]:
    return (words,) if words.strip() and words.casefold() in prompt.casefold() else ()
