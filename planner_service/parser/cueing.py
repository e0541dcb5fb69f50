"""From an action to the cues of a phase: its label, where it goes, how; and which words said so."""

import re
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from planner_service.explanation import About
from planner_service.motion.cues import Direction, Edge, Goal, Manner, Phase, Pickup, Place, Speed
from planner_service.motion.nouns import Kind, known, noun_of
from planner_service.parser import directions
from planner_service.parser.actions import Action
from planner_service.parser.lexicon import word_list
from shared.motion_graph import MotionLabel

APPROACH, RECEDE = 1.6, 0.6
"""Size at the end over size at the start of what comes nearer, or goes away."""
SIDEWAYS = Direction.RIGHT
"""Where a movement goes that has to go somewhere."""
VERTICAL = {"up": Direction.UP, "down": Direction.DOWN}
MUTUAL = re.compile(
    r"\b(towards?|(?<!next )(?<!close )to|away from|closer to|from|past|by|at|into|pass(?:ing)?|approach(?:ing)?)"
    r" (?:each other|one another)\b|\b(?:in )?opposite directions\b|\bapart\b"
)
LIVELY = (Manner.STRIDE, Manner.SQUASH, Manner.DANCE)
"""Manners of what has legs."""
SUDDEN = "it need not take over the velocity of before"
BEHAVIOUR = {
    Kind.ANIMATE: "people and animals deform",
    Kind.SOFT: "what is soft deforms",
    Kind.VEHICLE: "a vehicle keeps its shape",
    Kind.OBJECT: "an object keeps its shape",
}


class Setting(NamedTuple):
    """What an action's cues depend on beside its words."""

    name: str
    """The noun phrase."""
    arranged: bool
    """Whether a spatial relation holds the instance where it is."""
    goal: Goal | None = None
    target: str | None = None
    phrase: str = ""
    """The words that say the goal."""
    toured: bool = False
    """Several places of the frame are named for it: it goes from one to the other."""
    causes: bool = False
    """It makes another do what the verb says: "a boy flies a kite"."""


class Because(NamedTuple):
    """Why something was decided: `words` of the prompt, and the rule."""

    about: About
    decided: str
    words: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Cued:
    """A phase, where it begins if words say so, and the reasons."""

    phase: Phase
    because: tuple[Because, ...]
    start: Place | None = None
    named: bool = False
    """Whether words say where it goes."""
    shown: str | None = None
    """"after" or "before": the instance is not seen before, or after, it does this."""

    def hide(self) -> "Cued":
        """The time in which there is nothing to see of it."""
        why = "it is not seen before" if self.shown == "after" else "it is not seen any more"
        because = Because(About.CUE, "absent", self.because[0].words, why)
        return replace(self, phase=Phase(label=MotionLabel.MOTIONLESS, absent=True), because=(because,), shown=None)

    def move_along(self) -> "Cued":
        """As part of what travels: a part at rest is then rigid, and goes nowhere by itself."""
        still = self.phase.label is MotionLabel.MOTIONLESS
        label = MotionLabel.RIGID if still else self.phase.label
        manner = self.phase.manner if label is MotionLabel.NON_RIGID else None
        return replace(self, phase=Phase(label=label, manner=manner))

    def move_as(self, other: "Cued") -> "Cued":
        """With the other's movement, and its own look."""
        return replace(
            self,
            phase=self.phase.move_as(other.phase),
            because=(
                *self.because,
                *(b for b in other.because if b.about is About.CUE and not b.decided.startswith("manner")),
            ),
            start=other.start,
        )

    def cross_as(self, other: "Cued") -> "Cued":
        """With the other's entering and leaving of the frame."""
        changes: dict[str, Any] = {}
        if other.phase.enters is not None and self.phase.enters is None:
            changes["enters"] = other.phase.enters
        if other.phase.leaves is not None and self.phase.leaves is None:
            changes |= {"leaves": other.phase.leaves, "direction": None, "goal": None, "target": None, "path": ()}
        if not changes or self.phase.label is MotionLabel.MOTIONLESS:
            return self
        crossing = tuple(b for b in other.because if b.decided.startswith(tuple(changes)))
        return replace(self, phase=self.phase.model_copy(update=changes), because=(*self.because, *crossing))

    @property
    def liveliness(self) -> tuple[bool, bool, bool, bool, bool]:
        """What says more of a movement compares greater."""
        phase = self.phase
        return (
            phase.travels,
            bool(phase.path),
            self.named,
            phase.scale != 1.0,
            phase.label is not MotionLabel.MOTIONLESS,
        )


def cue(action: Action | None, setting: Setting) -> Cued:
    """The cues of one action for its subject, or for an object that it sends on its way."""
    kind = noun_of(setting.name).kind
    if action is None or setting.causes or (action.passive and action.verb.object == "approached"):
        return _at_rest(kind, action)
    if action.verb.shown is not None:
        return _at_rest(kind, action)
    verb = (action.said,)
    if _stands_still(action, setting, kind):
        phase = Phase(label=MotionLabel.MOTIONLESS, sudden=_is_sudden(action))
        match = directions.SUDDENLY.search(action.about)
        sudden = (Because(About.CUE, "sudden", (match.group(),), SUDDEN),) if match else ()
        return Cued(phase, (_label(phase, verb, _stillness(action, kind)), *sudden), shown=action.verb.shown)
    oscillates = directions.OSCILLATING.search(action.about) is not None
    deforms = oscillates or _deforms(action, setting, kind)
    label = action.verb.label
    why = f"'{action.lemma}' deforms" if label is MotionLabel.NON_RIGID else _behaviour(setting.name)
    if label is None or label is MotionLabel.MOTIONLESS:  # of a posture the words say where it goes
        label = MotionLabel.NON_RIGID if deforms else MotionLabel.RIGID
    course = _course(action, setting, oscillates=oscillates)
    manner = _manner(action, kind) if label is MotionLabel.NON_RIGID else None
    phase = Phase(label=label, manner=manner, **course.fields)
    reasons = [_label(phase, verb, why), *course.because]
    if manner is not None:
        reasons.append(Because(About.CUE, f"manner: {manner.value}", verb, f"how '{action.lemma}' looks"))
    return Cued(phase, tuple(reasons), course.start, course.named, action.verb.shown)


def cue_sent(action: Action, setting: Setting) -> Cued:
    """The cues of what is thrown, chased or ridden: it goes where the action goes."""
    manner = {Kind.ANIMATE: Manner.STRIDE, Kind.SOFT: Manner.FLUTTER}.get(noun_of(setting.name).kind)
    course = _course(action, setting, oscillates=False, must_go=True)
    phase = Phase(label=MotionLabel.NON_RIGID if manner else MotionLabel.RIGID, manner=manner, **course.fields)
    return Cued(
        phase, (_label(phase, (action.said,), _behaviour(setting.name)), *course.because), course.start, course.named
    )


def mutual_goal(action: Action) -> Goal | None:
    """What "toward each other" and "away from one another" ask of all the subjects."""
    if action.verb.mutual is not None:
        return action.verb.mutual
    moves = action.listed and action.verb.label is not MotionLabel.MOTIONLESS
    match = MUTUAL.search(action.text) if moves else None
    if match is None or (match.group(1) in ("at", "into") and not action.verb.travels):
        return None  # "look at each other"
    if match.group(1) in ("past", "by", "pass", "passing"):
        return Goal.PAST
    return Goal.AWAY_FROM if match.group(1) in (None, "away from", "from") else Goal.TOWARD


@dataclass
class _Course:
    """The fields of a phase that say where and how fast, with the reasons."""

    fields: dict[str, Any] = field(default_factory=dict)
    because: list[Because] = field(default_factory=list)
    start: Place | None = None
    named: bool = False

    def decide(self, name: str, value: Any, words: tuple[str, ...], why: str, **others: Any) -> None:
        self.fields |= {name: value, **others}
        shown = ", ".join(value) if isinstance(value, tuple) else value
        decided = name if value is True else f"{name}: {shown}"
        self.because.append(Because(About.CUE, " ".join([decided, *others.values()]), words, why))


def _course(action: Action, setting: Setting, *, oscillates: bool, must_go: bool = False) -> _Course:
    """What an action's words say of where its movement goes."""
    course = _Course()
    about, verb = action.about, (action.said,)
    _how(course, action)
    travels = must_go or action.verb.travels or (action.passive and action.verb.object == "travels")
    found = directions.direction_in(about, travels=travels)
    course.named = found is not None or action.verb.direction in VERTICAL
    if _crosses_an_edge(course, action, found.value if found else None):
        if setting.goal is not None and "enters" in course.fields:
            course.decide("goal", setting.goal, (setting.phrase,), "it comes in and goes there", target=setting.target)
        return course
    if match := directions.APPROACHING.search(about):
        course.decide("scale", APPROACH, (match.group(),), "what comes nearer grows")
    elif match := directions.RECEDING.search(about):
        course.decide("scale", RECEDE, (match.group(),), "what goes away shrinks")
    elif (
        path := directions.path_in(about, alone=setting.toured, arrives=action.lemma in word_list("ending"))
    ) is not None:
        course.start, course.named = path.value.start, True
        course.decide("path", path.value.stops, (path.words,), "the words name places of the frame")
    elif setting.goal is not None and not _says_otherwise(course, setting, found.value if found else None):
        why = "the movement is about the other"
        course.decide("goal", setting.goal, (setting.phrase,), why, target=setting.target)
    elif found is not None:
        course.decide("direction", found.value, (found.words,), "the words name it")
    elif must_go or _has_to_go(action, setting, travels=travels and not oscillates):
        direction = VERTICAL.get(action.verb.direction or "", SIDEWAYS)
        course.decide("direction", direction, verb, f"'{action.lemma}' goes there if nothing else is said")
    return course


def _says_otherwise(course: _Course, setting: Setting, direction: Direction | None) -> bool:
    """Whether a named direction has it: "flies right towards a dog", "climbs upwards on a wall"."""
    beside_goal = course.named and setting.goal in (Goal.TOWARD, Goal.AWAY_FROM, Goal.PAST)
    return beside_goal or (setting.phrase == "on" and direction not in (None, Direction.DOWN))


def _has_to_go(action: Action, setting: Setting, *, travels: bool) -> bool:
    """Whether it goes somewhere although no words say where: sideways only if nothing holds it in its place."""
    vertical = action.verb.direction in VERTICAL
    return travels and (action.verb.direction is not None or action.passive) and (vertical or not setting.arranged)


def _how(course: _Course, action: Action) -> None:
    """Speed, acceleration, suddenness."""
    if match := directions.SLOWLY.search(action.about):
        course.decide("speed", Speed.SLOW, (match.group(),), "the word says how fast")
    elif match := directions.QUICKLY.search(action.about):
        course.decide("speed", Speed.FAST, (match.group(),), "the word says how fast")
    elif action.verb.speed is not Speed.NORMAL:
        why = f"'{action.lemma}' is {action.verb.speed.value}"
        course.decide("speed", action.verb.speed, (action.said,), why)
    if match := directions.SPEEDING_UP.search(action.text):
        course.decide("pickup", Pickup.SPEEDING_UP, (match.group(),), "the words say that it changes")
    elif match := directions.SLOWING_DOWN.search(action.text):
        course.decide("pickup", Pickup.SLOWING_DOWN, (match.group(),), "the words say that it changes")
    if match := directions.SUDDENLY.search(action.about):
        course.decide("sudden", True, (match.group(),), SUDDEN)


def _crosses_an_edge(course: _Course, action: Action, heading: Direction | None) -> bool:
    """Entering and leaving the frame: where the words say, else as it is headed, else to the right."""
    at = directions.FROM_EDGE.search(action.about)
    named = directions.edge_in(at.group(1)) if at is not None else None
    ahead = directions.edge_in(heading.value.replace("_", " ")) if heading is not None else None
    entering, leaving = directions.ENTERING.search(action.about), directions.LEAVING.search(action.about)
    if action.verb.frame == "enters" or entering:
        edge = named or directions.OPPOSITE_EDGE[ahead or Edge.RIGHT]
        words = at.group() if at else entering.group() if entering else action.said
        course.decide("enters", edge, (words,), "it comes into the frame")
    elif action.verb.frame == "leaves" or leaving:
        words = leaving.group() if leaving else action.said
        course.decide("leaves", named or ahead or Edge.RIGHT, (words,), "it goes out of the frame")
    else:
        return False
    course.named = True
    return True


def _at_rest(kind: Kind, action: Action | None) -> Cued:
    """What has no verb of its own: what lives breathes, cloth and water stir, all else stands."""
    manner = {Kind.ANIMATE: Manner.SWAY, Kind.SOFT: Manner.FLUTTER}.get(kind)
    sudden = action is not None and _is_sudden(action)
    phase = Phase(label=MotionLabel.NON_RIGID if manner else MotionLabel.MOTIONLESS, manner=manner, sudden=sudden)
    words = (action.said,) if action is not None else ()
    why = "it makes another move, and " if action is not None else "no verb says what it does, and "
    what = {Kind.ANIMATE: "what lives is never quite still", Kind.SOFT: "what is soft stirs"}
    reasons = [_label(phase, words, why + what.get(kind, "a thing stands still"))]
    if manner is not None:
        reasons.append(Because(About.CUE, f"manner: {manner.value}", words, "the least that such a thing does"))
    return Cued(phase, tuple(reasons), shown=action.verb.shown if action is not None else None)


def _label(phase: Phase, words: tuple[str, ...], why: str) -> Because:
    return Because(About.LABEL, phase.label.value, words, why)


def _behaviour(name: str) -> str:
    return BEHAVIOUR[noun_of(name).kind] if known(name) is not None else "by what it does, for the noun is not listed"


def _stillness(action: Action, kind: Kind) -> str:
    if action.negated:
        return "it is said not to"
    if action.verb.label is MotionLabel.MOTIONLESS:
        return f"'{action.lemma}' is a posture"
    return (
        f"'{action.lemma}' does not move a thing" if kind is not Kind.ANIMATE else f"'{action.lemma}' does not move it"
    )


def _stands_still(action: Action, setting: Setting, kind: Kind) -> bool:
    if action.negated:
        return True
    explicit = directions.direction_in(action.about, travels=False)
    if action.verb.label is MotionLabel.MOTIONLESS:
        return explicit is None or action.lemma in ("be", "stand", "sit", "lie")
    if not action.listed or action.verb.object in ("placed", "held"):
        if explicit is not None:
            return False
        acts = kind is Kind.ANIMATE or kind is Kind.SOFT or (known(setting.name) is None and not action.passive)
        return not acts
    return False


def _deforms(action: Action, setting: Setting, kind: Kind) -> bool:
    if kind in (Kind.ANIMATE, Kind.SOFT):
        return True
    acts = not action.passive and (
        not action.listed or action.verb.manner in LIVELY or action.verb.object in ("travels", "placed", "held")
    )
    return known(setting.name) is None and acts


def _manner(action: Action, kind: Kind) -> Manner:
    """The verb's, else the subject's."""
    manner = action.verb.manner
    if kind is Kind.SOFT and manner in (None, Manner.SWAY, Manner.STRIDE):
        return Manner.FLUTTER
    if manner is None:
        return Manner.STRIDE if action.verb.travels and kind is Kind.ANIMATE else Manner.SWAY
    return manner


def _is_sudden(action: Action) -> bool:
    return directions.SUDDENLY.search(action.about) is not None
