"""What a planner hands to the kinematics: the motion graph and a few cues for each instance.

Tens of numbers, not thousands: the language model answers with a `Reading`, the parser builds one, and code
integrates the cues into boxes (`kinematics`).
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.geometry import MINIMUM_SIDE
from shared.motion_graph import Identifier, MotionGraph, MotionLabel, Phrase
from shared.wire import WireModel

MAXIMUM_PHASES = 4
MAXIMUM_PATH = 4

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Side = Annotated[float, Field(ge=MINIMUM_SIDE, le=1.0)]


class Direction(StrEnum):
    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    UP_LEFT = "up_left"
    UP_RIGHT = "up_right"
    DOWN_LEFT = "down_left"
    DOWN_RIGHT = "down_right"

    @property
    def unit(self) -> tuple[int, int]:
        """Signs along x (rightward) and y (downward)."""
        words = self.value.split("_")
        return ("right" in words) - ("left" in words), ("down" in words) - ("up" in words)


class Speed(StrEnum):
    SLOW = "slow"
    NORMAL = "normal"
    FAST = "fast"


class Pickup(StrEnum):
    """The action cue's acceleration."""

    STEADY = "steady"
    SPEEDING_UP = "speeding_up"
    SLOWING_DOWN = "slowing_down"


class Goal(StrEnum):
    """Where a movement ends, seen from its target."""

    TOWARD = "toward"  # stops where the two touch
    AWAY_FROM = "away_from"
    LEFT_OF = "left_of"
    RIGHT_OF = "right_of"
    ABOVE = "above"
    ONTO = "onto"
    BELOW = "below"
    PAST = "past"  # ends on the target's other side


class Manner(StrEnum):
    """How a non-rigid instance deforms; `manners.toml` has the displacement keyframes of each."""

    SWAY = "sway"
    FLUTTER = "flutter"
    SQUASH = "squash"
    DANCE = "dance"
    STRIDE = "stride"


class Place(StrEnum):
    UPPER_LEFT = "upper_left"
    TOP = "top"
    UPPER_RIGHT = "upper_right"
    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"
    LOWER_LEFT = "lower_left"
    BOTTOM = "bottom"
    LOWER_RIGHT = "lower_right"


class Edge(StrEnum):
    """The frame's edges, through which instances enter and leave."""

    LEFT = "left"
    TOP = "top"
    RIGHT = "right"
    BOTTOM = "bottom"


class Distance(StrEnum):
    """How far from the camera, where that is said: in the foreground, in the background."""

    NEAR = "near"
    FAR = "far"


class Size(WireModel):
    """Fractions of the frame's width and of its height."""

    width: Side
    height: Side


class Phase(WireModel):
    """What holds up to a moment of the clip."""

    label: MotionLabel
    until: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """The share of the clip at which this phase ends; the last phase ends at 1."""
    direction: Direction | None = None
    target: Identifier | None = None
    goal: Goal | None = None
    """A movement with respect to `target`, in place of a direction."""
    path: Annotated[tuple[Place, ...], Field(max_length=MAXIMUM_PATH)] = ()
    """Places of the frame to move through in turn and end at the last of, in place of a direction."""
    enters: Edge | None = None
    """The edge of the frame at which this phase begins; what else it says of movement follows from there.  Where the
    clip begins with this phase, the instance is absent for its first moments, while the edge would cut it."""
    leaves: Edge | None = None
    """The edge of the frame at which this phase ends, in place of a direction; likewise absent at the clip's end."""
    absent: bool = False
    """Nothing of the instance is seen: it has not appeared yet, or has disappeared.  Its box rests meanwhile."""
    sudden: bool = False
    """This phase begins at once: it need not take over the velocity of the one before ("suddenly stops")."""
    speed: Speed = Speed.NORMAL
    pickup: Pickup = Pickup.STEADY
    scale: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    """Size at the end over size at the start: above 1 approaches the camera, below 1 recedes.  Of a part ignored: it
    grows with its whole."""
    manner: Manner | None = None

    @property
    def travels(self) -> bool:
        return any((self.direction, self.target, self.path, self.enters, self.leaves))

    def move_as(self, other: "Phase") -> "Phase":
        """This one's label and manner with the other's movement and end; what was motionless is then rigid."""
        still = self.label is MotionLabel.MOTIONLESS and other.label is not MotionLabel.MOTIONLESS
        kept = {"label": MotionLabel.RIGID if still else self.label, "manner": self.manner}
        return other.model_copy(update=kept)

    @model_validator(mode="after")
    def _movement_is_one_thing(self) -> Self:
        if (self.target is None) != (self.goal is None):
            raise ValueError("target and goal go together: give both or neither")
        if sum(map(bool, (self.direction, self.target, self.path, self.leaves))) > 1:
            raise ValueError("give one of direction, target, path and leaves, not more")
        return self

    @model_validator(mode="after")
    def _label_allows_the_cues(self) -> Self:
        if self.label is MotionLabel.MOTIONLESS and (self.travels or self.scale != 1.0 or self.manner):
            raise ValueError("a motionless phase has no direction, target, path, enters, leaves, scale or manner")
        if self.label is MotionLabel.RIGID and self.manner:
            raise ValueError("a rigid phase has no manner: only non_rigid ones deform")
        if self.absent and self.label is not MotionLabel.MOTIONLESS:
            raise ValueError("an absent phase is motionless")
        return self


class InstanceCues(WireModel):
    """Where an instance begins, how large it is, and what it does."""

    instance: Identifier
    place: Place | None = None
    size: Size | None = None
    """None: the typical size of what the instance's name says."""
    distance: Distance | None = None
    """What is far is smaller, stands higher in the picture, and is behind the rest."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1, max_length=MAXIMUM_PHASES)]

    @model_validator(mode="after")
    def _phases_fill_the_clip(self) -> Self:
        ends = [phase.until for phase in self.phases]
        if sorted(set(ends)) != ends or ends[-1] != 1.0:
            raise ValueError(f"until must rise from phase to phase and end at 1, but is {', '.join(map(str, ends))}")
        return self

    @model_validator(mode="after")
    def _comes_and_goes_once(self) -> Self:
        shown = [phase for phase in self.phases if not phase.absent]
        if not shown:
            raise ValueError(f"'{self.instance}' is absent in all its phases: leave it out")
        if any(phase.enters for phase in shown[1:]) or any(phase.leaves for phase in shown[:-1]):
            raise ValueError(
                f"'{self.instance}' may enter only in the first phase it is seen in, and leave in the last"
            )
        return self


class Reading(WireModel):
    """What a planner understood of a prompt."""

    graph: MotionGraph
    background: Phrase
    cues: tuple[InstanceCues, ...]
    """One for each instance, in the graph's order."""
    depth_order: tuple[Identifier, ...]
    """Every instance once, nearest to the camera first."""

    @model_validator(mode="after")
    def _cues_match_the_graph(self) -> Self:
        cued = tuple(cues.instance for cues in self.cues)
        if cued != self.graph.ids:
            raise ValueError(
                f"cues must list every instance once, in the graph's order ({', '.join(self.graph.ids)}), "
                f"but list: {', '.join(cued) or 'none'}"
            )
        if sorted(self.depth_order) != sorted(self.graph.ids):
            raise ValueError(f"depth_order must name every instance once ({', '.join(self.graph.ids)})")
        for cues in self.cues:
            for phase in cues.phases:
                if phase.target is not None and (phase.target not in self.graph.ids or phase.target == cues.instance):
                    raise ValueError(f"'{cues.instance}' moves with respect to '{phase.target}', no other instance")
        return self

    @model_validator(mode="after")
    def _labels_agree(self) -> Self:
        for instance, cues in zip(self.graph.instances, self.cues, strict=True):
            if instance.label not in {phase.label for phase in cues.phases}:
                raise ValueError(f"'{instance.id}' is {instance.label.value} in the graph, but in no phase of its cues")
        return self
