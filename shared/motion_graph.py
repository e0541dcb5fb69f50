"""The structured motion graph R = (V, E).  Sec. 3.2.

A node is an instance with one canonical motion label; an edge is a directed relation, spatial or dynamic.
The background is no node: it is a field of the plan.
"""

from collections import Counter
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from shared.wire import WireModel

MAXIMUM_INSTANCES = 32
MAXIMUM_RELATIONS = 64
MAXIMUM_ATTRIBUTES = 16
MAXIMUM_PHRASES = 32

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]
Description = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]


class MotionLabel(StrEnum):
    """How an instance moves; each label has its own branch of guidance."""

    MOTIONLESS = "motionless"
    RIGID = "rigid"
    NON_RIGID = "non_rigid"


class RelationKind(StrEnum):
    SPATIAL = "spatial"  # "next to", "on top of"
    DYNAMIC = "dynamic"  # "passes by", "moves toward"


class Instance(WireModel):
    """A node of the motion graph: one thing that is drawn."""

    id: Identifier
    name: Phrase
    """The noun phrase, attributes included: "red car"."""
    description: Description
    """The regional description: what a viewer sees inside this instance's box."""
    attributes: Annotated[tuple[Phrase, ...], Field(max_length=MAXIMUM_ATTRIBUTES, fail_fast=True)] = ()
    """The motion attributes: verbs and predicates that the prompt gives it, or that context implies."""
    label: MotionLabel
    parent: Identifier | None = None
    """The instance this one is a part of and moves with, as a flag with its car."""


class Relation(WireModel):
    """A directed edge: `source` is related to `target` by `phrase`."""

    source: Identifier
    target: Identifier
    kind: RelationKind
    phrase: Phrase


Phrases = Annotated[tuple[Phrase, ...], Field(max_length=MAXIMUM_PHRASES, fail_fast=True)]


class MotionGraph(WireModel):
    instances: Annotated[tuple[Instance, ...], Field(min_length=1, max_length=MAXIMUM_INSTANCES, fail_fast=True)]
    relations: Annotated[tuple[Relation, ...], Field(max_length=MAXIMUM_RELATIONS, fail_fast=True)] = ()
    style: Phrases = ()
    """What the prompt says of how the picture looks: "35mm film", "cinematic lighting".  No instance is made of it."""
    camera: Phrases = ()
    """What it says of how the picture is taken: "drone shot", "slow dolly in"."""
    excluded: Phrases = ()
    """What it says is not in the picture: "no people"."""
    left_out: Phrases = ()
    """What it says is there, and more than a graph can have instances of: "14 of 40 candles"."""

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(instance.id for instance in self.instances)

    def __getitem__(self, identifier: str) -> Instance:
        """Raises KeyError for an unknown identifier."""
        for instance in self.instances:
            if instance.id == identifier:
                return instance
        raise KeyError(identifier)

    def whole(self, identifier: str) -> str:
        """What it is a part of in the end; of a whole, itself.  Raises KeyError for an unknown identifier."""
        parent = self[identifier].parent
        return identifier if parent is None else self.whole(parent)

    def generation(self, identifier: str) -> int:
        """0 for a whole, 1 for its parts, and so on.  Raises KeyError for an unknown identifier."""
        parent = self[identifier].parent
        return 0 if parent is None else 1 + self.generation(parent)

    @model_validator(mode="after")
    def _identifiers_are_unique(self) -> Self:
        if repeated := [name for name, count in Counter(self.ids).items() if count > 1]:
            raise ValueError(f"instance ids must be unique, but {', '.join(repeated)} is used more than once")
        return self

    @model_validator(mode="after")
    def _relations_join_known_instances(self) -> Self:
        known = set(self.ids)
        for relation in self.relations:
            for end in (relation.source, relation.target):
                if end not in known:
                    raise ValueError(f"relation '{relation.phrase}' names the unknown instance '{end}'")
            if relation.source == relation.target:
                raise ValueError(f"relation '{relation.phrase}' joins '{relation.source}' to itself")
        return self

    @model_validator(mode="after")
    def _parents_form_trees(self) -> Self:
        parents = {instance.id: instance.parent for instance in self.instances}
        for identifier, parent in parents.items():
            if parent is not None and parent not in parents:
                raise ValueError(f"instance '{identifier}' names the unknown parent '{parent}'")
        for identifier in parents:
            seen = {identifier}
            ancestor = parents[identifier]
            while ancestor is not None:
                if ancestor in seen:
                    raise ValueError(f"instance '{identifier}' is its own ancestor")
                seen.add(ancestor)
                ancestor = parents[ancestor]
        return self
