"""From an action to the cues of a phase: its label, where it goes, how."""

import re
from typing import NamedTuple

from planner_service.cues import Direction, Goal, Manner, Phase, Pickup, Speed
from planner_service.nouns import Kind, known, noun_of
from planner_service.parser import directions
from planner_service.parser.actions import Action
from shared.motion_graph import MotionLabel

APPROACH, RECEDE = 1.6, 0.6
"""Size at the end over size at the start of what comes nearer, or goes away."""
SIDEWAYS = Direction.RIGHT
"""Where a movement goes that has to go somewhere."""
MUTUAL = re.compile(r"\b(towards?|to|away from|closer to|from) (?:each other|one another)\b")
LIVELY = (Manner.STRIDE, Manner.SQUASH, Manner.DANCE)
"""Manners of what has legs."""


class Setting(NamedTuple):
    """What an action's cues depend on beside its words."""

    name: str
    """The noun phrase."""
    arranged: bool
    """Whether a spatial relation holds the instance where it is."""
    goal: Goal | None = None
    target: str | None = None
    causes: bool = False
    """It makes another do what the verb says: "a boy flies a kite"."""


def phase_of(action: Action | None, setting: Setting) -> Phase:
    """The cues of one action for its subject, or for an object that it sends on its way."""
    kind = noun_of(setting.name).kind
    if action is None or setting.causes:
        return _at_rest(kind)
    if _stands_still(action, setting, kind):
        return Phase(label=MotionLabel.MOTIONLESS)
    oscillates = directions.OSCILLATING.search(action.text) is not None
    deforms = oscillates or _deforms(action, setting, kind)
    travels = action.verb.travels or (action.passive and action.verb.object == "travels")
    direction = directions.direction_in(action.text, travels=travels)
    goes_somewhere = (action.verb.direction is not None or action.passive) and not oscillates
    if direction is None and travels and goes_somewhere and not setting.arranged:
        direction = {"up": Direction.UP, "down": Direction.DOWN}.get(action.verb.direction or "", SIDEWAYS)
    goal, target = setting.goal, setting.target
    scale = 1.0
    if directions.APPROACHING.search(action.text):
        direction, scale = None, APPROACH
    elif directions.RECEDING.search(action.text):
        direction, scale = None, RECEDE
    named = directions.direction_in(action.text, travels=travels) is not None or action.verb.direction in ("up", "down")
    if goal in (Goal.TOWARD, Goal.AWAY_FROM) and direction is not None and named:
        goal = target = None  # "flying right towards a dog" flies right
    if goal is not None:
        direction = None
    label = action.verb.label or (MotionLabel.NON_RIGID if deforms else MotionLabel.RIGID)
    if label is MotionLabel.MOTIONLESS:  # a posture, but the words say where it goes
        label = MotionLabel.NON_RIGID if deforms else MotionLabel.RIGID
    return Phase(
        label=label,
        direction=direction,
        target=target,
        goal=goal,
        speed=_speed(action),
        pickup=_pickup(action),
        scale=scale,
        manner=_manner(action, kind) if label is MotionLabel.NON_RIGID else None,
    )


def sent(action: Action, setting: Setting) -> Phase:
    """The cues of what is thrown, chased or ridden: it goes where the action goes."""
    deforms = noun_of(setting.name).kind in (Kind.ANIMATE, Kind.SOFT)
    direction = directions.direction_in(action.text, travels=True)
    if setting.goal is not None:
        direction = None
    elif direction is None:
        direction = {"up": Direction.UP, "down": Direction.DOWN}.get(action.verb.direction or "", SIDEWAYS)
    return Phase(
        label=MotionLabel.NON_RIGID if deforms else MotionLabel.RIGID,
        direction=direction,
        target=setting.target,
        goal=setting.goal,
        speed=_speed(action),
        manner=Manner.STRIDE if deforms else None,
    )


def mutual_goal(action: Action) -> Goal | None:
    """What "toward each other" and "away from one another" ask of all the subjects."""
    match = MUTUAL.search(action.text)
    if match is None:
        return None
    return Goal.AWAY_FROM if match.group(1).startswith("away") else Goal.TOWARD


def _at_rest(kind: Kind) -> Phase:
    """What has no verb: what lives breathes, cloth and water stir, all else stands."""
    if kind is Kind.ANIMATE:
        return Phase(label=MotionLabel.NON_RIGID, manner=Manner.SWAY)
    if kind is Kind.SOFT:
        return Phase(label=MotionLabel.NON_RIGID, manner=Manner.FLUTTER)
    return Phase(label=MotionLabel.MOTIONLESS)


def _stands_still(action: Action, setting: Setting, kind: Kind) -> bool:
    if action.negated:
        return True
    explicit = directions.direction_in(action.text, travels=False)
    if action.verb.label is MotionLabel.MOTIONLESS:
        return explicit is None or action.lemma in ("be", "stand", "sit", "lie")
    if not action.listed or action.verb.object == "placed":
        if explicit is not None:
            return False
        acts = kind is Kind.ANIMATE or kind is Kind.SOFT or (known(setting.name) is None and not action.passive)
        return not acts
    return False


def _deforms(action: Action, setting: Setting, kind: Kind) -> bool:
    if kind in (Kind.ANIMATE, Kind.SOFT):
        return True
    acts = not action.passive and (
        not action.listed or action.verb.manner in LIVELY or action.verb.object in ("travels", "placed")
    )
    return (
        known(setting.name) is None and acts and not (action.listed and action.verb.travels and action.lemma in NEUTRAL)
    )


NEUTRAL = frozenset(
    (
        "move",
        "pass",
        "go",
        "come",
        "cross",
        "enter",
        "head",
        "roll",
        "arrive",
        "depart",
        "return",
        "sweep",
        "speed",
        "turn",
    )
)
"""Verbs of movement that say nothing of legs."""


def _speed(action: Action) -> Speed:
    if directions.SLOWLY.search(action.text):
        return Speed.SLOW
    if directions.QUICKLY.search(action.text):
        return Speed.FAST
    return action.verb.speed


def _pickup(action: Action) -> Pickup:
    if directions.SPEEDING_UP.search(action.text):
        return Pickup.SPEEDING_UP
    if directions.SLOWING_DOWN.search(action.text):
        return Pickup.SLOWING_DOWN
    return Pickup.STEADY


def _manner(action: Action, kind: Kind) -> Manner:
    if kind is Kind.SOFT and action.verb.manner in (Manner.SWAY, Manner.STRIDE):
        return Manner.FLUTTER
    return action.verb.manner
