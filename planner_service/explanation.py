"""Why a plan is as it is: which words of the prompt gave which node, label, cue or relation."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from planner_service.motion.cues import Reading
from shared.motion_graph import Identifier
from shared.plan import Plan
from shared.wire import WireModel

Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]


class About(StrEnum):
    """The kind of decision that a reason is of."""

    INSTANCE = "instance"
    LABEL = "label"
    CUE = "cue"
    RELATION = "relation"


class Reason(WireModel):
    """One decision of a planner, and what in the prompt led to it."""

    about: About
    instance: Annotated[
        Identifier | None, Field(description="Whose it is, of a relation its source; null: the whole scene's.")
    ] = None
    decided: Annotated[Said, Field(description="In the plan's own terms.", examples=["direction: right"])]
    words: Annotated[
        tuple[Said, ...], Field(description="The prompt's words, in its order; none: nothing in it says so.")
    ] = ()
    why: Annotated[Said, Field(description="The rule, or the thought.", examples=["the verb 'drives' is rigid"])]


@dataclass(frozen=True)
class Explained:
    """What a planner understood of a prompt, and why."""

    reading: Reading
    reasons: tuple[Reason, ...] = ()


class ExplainedPlan(WireModel):
    """What `POST /plans?explain=true` answers."""

    plan: Plan
    reasons: tuple[Reason, ...]
