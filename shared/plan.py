"""The plan: motion graph and layout, the contract between the planner and the generator.

Whatever passes validation can be rendered: every instance has one box in every frame, inside the frame; every frame
of a track belongs to one phase, which says whether the instance is there; what a label promises of an instance
(Sec. 3.2) holds.  A box is the whole instance's: what comes in or goes out is absent while an edge would cut it.
"""

import hashlib
import json
import unicodedata
from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from shared.geometry import FrameBox
from shared.motion_graph import MAXIMUM_INSTANCES, Identifier, MotionGraph, MotionLabel, Phrase
from shared.wire import WireModel

MAXIMUM_FRAMES = 241
MAXIMUM_PROMPT_CHARACTERS = 2000

ASPECT_TOLERANCE = 0.02
"""By how much a rigid instance's aspect may change: rounding, not stretching."""


def _says_something(text: str) -> str:
    for character in text:
        if unicodedata.category(character) == "Cc" and not character.isspace():
            raise ValueError(f"must not hold control characters, but holds U+{ord(character):04X}")
    if not any(
        unicodedata.category(character)[0] in "LN" or unicodedata.category(character) == "So" for character in text
    ):
        raise ValueError("must hold a letter, a digit or a picture, not punctuation alone")
    return text


Prompt = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAXIMUM_PROMPT_CHARACTERS),
    AfterValidator(_says_something),
]


class Phase(WireModel):
    """Frames `start` to `end`, both included, during which one label holds."""

    label: MotionLabel
    start: Annotated[int, Field(strict=True, ge=0)]
    end: Annotated[int, Field(strict=True, ge=0)]
    absent: Annotated[bool, Field(strict=True)] = False
    """The instance is not there: it has yet to appear or come in, or is gone.  Its box rests where it is seen next, or
    was seen last, and guides nothing."""

    @model_validator(mode="after")
    def _what_is_absent_does_not_move(self) -> Self:
        if self.absent and self.label is not MotionLabel.MOTIONLESS:
            raise ValueError("an absent phase is motionless")
        return self


class Track(WireModel):
    """What one instance does: its phases, in order and without gaps, and its box in every frame."""

    instance: Identifier
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=MAXIMUM_FRAMES, fail_fast=True)]
    boxes: Annotated[tuple[FrameBox, ...], Field(min_length=1, max_length=MAXIMUM_FRAMES, fail_fast=True)]

    @property
    def present(self) -> tuple[bool, ...]:
        """For each frame, whether the instance is there."""
        return tuple(not phase.absent for phase in self.phases for _ in range(phase.start, phase.end + 1))

    @model_validator(mode="after")
    def _phases_cover_the_frames(self) -> Self:
        expected = 0
        for phase in self.phases:
            if phase.start != expected or phase.end < phase.start:
                raise ValueError(
                    f"track '{self.instance}': a phase should start at frame {expected} and end no earlier, "
                    f"but it spans {phase.start} to {phase.end}"
                )
            expected = phase.end + 1
        if expected != len(self.boxes):
            raise ValueError(
                f"track '{self.instance}': the phases span {expected} frames, but there are {len(self.boxes)} boxes"
            )
        return self

    @model_validator(mode="after")
    def _is_there_at_some_time(self) -> Self:
        if all(phase.absent for phase in self.phases):
            raise ValueError(f"track '{self.instance}': absent in every frame; leave the instance out")
        return self


class Provenance(WireModel):
    """Where a plan comes from."""

    planner: Phrase
    """"language-model" or "parser"."""
    model: Phrase
    """The language model's, or the parser model's, name and version."""
    version: Phrase
    """The planner's own version."""
    seed: Annotated[int, Field(strict=True)]
    instead_of: Phrase | None = None
    """The planner that was asked first and was unavailable."""
    hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """`Plan.content_hash` of the plan as it left the planner."""


NO_PLACE = "a plain background"
"""The background of a plan whose prompt says nothing of a place or a time."""


class Plan(WireModel):
    """A motion graph and its layout.  A plan without provenance was written by hand."""

    prompt: Prompt
    graph: MotionGraph
    background: Phrase
    tracks: Annotated[tuple[Track, ...], Field(max_length=MAXIMUM_INSTANCES, fail_fast=True)]
    """One for each instance, in the graph's order."""
    depth_order: Annotated[tuple[Identifier, ...], Field(max_length=MAXIMUM_INSTANCES, fail_fast=True)]
    """Every instance once, nearest to the camera first."""
    provenance: Provenance | None = None

    @property
    def frames(self) -> int:
        return len(self.tracks[0].boxes)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the plan's canonical JSON, provenance left out: equal plans hash alike, whoever made them."""
        content = self.model_dump(mode="json", exclude={"provenance"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def is_edited(self) -> bool:
        """Whether it has been changed since it left its planner."""
        return self.provenance is not None and self.provenance.hash != self.content_hash

    def sign(self, *, planner: str, model: str, version: str, seed: int, instead_of: str | None = None) -> "Plan":
        """The same plan with its provenance."""
        provenance = Provenance(
            planner=planner, model=model, version=version, seed=seed, instead_of=instead_of, hash=self.content_hash
        )
        return self.model_copy(update={"provenance": provenance})

    @model_validator(mode="after")
    def _every_instance_has_one_track(self) -> Self:
        tracked = tuple(track.instance for track in self.tracks)
        if tracked != self.graph.ids:
            raise ValueError(
                f"there must be one track for each instance, in the graph's order ({', '.join(self.graph.ids)}), "
                f"but the tracks are of: {', '.join(tracked) or 'none'}"
            )
        return self

    @model_validator(mode="after")
    def _tracks_are_equally_long(self) -> Self:
        for track in self.tracks:
            if len(track.boxes) != self.frames:
                raise ValueError(
                    f"all tracks must have equally many boxes, but '{self.tracks[0].instance}' has {self.frames} "
                    f"and '{track.instance}' has {len(track.boxes)}"
                )
        return self

    @model_validator(mode="after")
    def _depth_orders_every_instance(self) -> Self:
        if sorted(self.depth_order) != sorted(self.graph.ids):
            raise ValueError(
                f"depth_order must name every instance once ({', '.join(self.graph.ids)}), "
                f"but it names: {', '.join(self.depth_order) or 'none'}"
            )
        return self

    @model_validator(mode="after")
    def _labels_hold(self) -> Self:
        """Motionless: no change; rigid: constant aspect.  Only roots are held to it: a part moves with its parent."""
        for track in self.tracks:
            if self.graph[track.instance].parent is not None:
                continue
            for phase in track.phases:
                boxes = track.boxes[phase.start : phase.end + 1]
                where = f"track '{track.instance}': {phase.label.value} in frames {phase.start} to {phase.end}"
                if phase.label is MotionLabel.MOTIONLESS and any(a != b for a, b in pairwise(boxes)):
                    raise ValueError(f"{where}, but its box changes")
                if phase.label is MotionLabel.RIGID:
                    aspects = [box.aspect for box in boxes]
                    if max(aspects) > min(aspects) * (1 + ASPECT_TOLERANCE):
                        raise ValueError(f"{where}, but its aspect changes by more than {ASPECT_TOLERANCE:.0%}")
        return self
