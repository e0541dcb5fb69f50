"""From an action to the cues of a phase: its label, where it goes, how; and which words said so."""

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from planner_service.cues import Direction, Edge, Goal, Manner, Phase, Pickup, Place, Speed
from planner_service.explanation import About
from planner_service.nouns import Kind, known, noun_of
from planner_service.parser import directions
from planner_service.parser.actions import Action
from shared.motion_graph import MotionLabel

APPROACH, RECEDE = 1.6, 0.6
"""Size at the end over size at the start of what comes nearer, or goes away."""
SIDEWAYS = Direction.RIGHT
"""Where a movement goes that has to go somewhere."""
MUTUAL = re.compile(
    r"\b(towards?|to|away from|closer to|from|past|by) (?:each other|one another)\b|\b(?:in )?opposite directions\b|\bapart\b"
)
LIVELY = (Manner.STRIDE, Manner.SQUASH, Manner.DANCE)
"""Manners of what has legs."""
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

    def unseen(self) -> "Cued":
        """The time in which there is nothing to see of it."""
        return replace(self, phase=Phase(label=MotionLabel.MOTIONLESS, absent=True), shown=None)

    def moved_along(self) -> "Cued":
        """As part of what travels: a part at rest is then rigid, and goes nowhere by itself."""
        still = self.phase.label is MotionLabel.MOTIONLESS
        label = MotionLabel.RIGID if still else self.phase.label
        manner = self.phase.manner if label is MotionLabel.NON_RIGID else None
        return replace(self, phase=Phase(label=label, manner=manner))

    def carried_by(self, other: "Cued") -> "Cued":
        """With the other's movement, and its own look."""
        return replace(
            self,
            phase=self.phase.moving_as(other.phase),
            because=(
                *self.because,
                *(b for b in other.because if b.about is About.CUE and not b.decided.startswith("manner")),
            ),
            start=other.start,
        )

    def crossing_as(self, other: "Cued") -> "Cued":
        """With the other's entering and leaving of the frame."""
        changes: dict[str, object] = {}
        if other.phase.enters is not None and self.phase.enters is None:
            changes["enters"] = other.phase.enters
        if other.phase.leaves is not None and self.phase.leaves is None:
            changes |= {"leaves": other.phase.leaves, "direction": None, "goal": None, "target": None, "path": ()}
        if not changes or self.phase.label is MotionLabel.MOTIONLESS:
            return self
        crossing = tuple(b for b in other.because if b.decided.startswith(tuple(changes)))
        return replace(self, phase=self.phase.model_copy(update=changes), because=(*self.because, *crossing))

    @property
    def liveliness(self) -> tuple[bool, bool, bool, bool]:
        """What says more of a movement compares greater."""
        phase = self.phase
        return phase.travels, self.named, phase.scale != 1.0, phase.label is not MotionLabel.MOTIONLESS


def cued(action: Action | None, setting: Setting) -> Cued:
    """The cues of one action for its subject, or for an object that it sends on its way."""
    kind = noun_of(setting.name).kind
    if action is None or setting.causes:
        return _at_rest(kind, action)
    if action.verb.shown is not None:
        return _at_rest(kind, action)
    verb = _quoted(action)
    if _stands_still(action, setting, kind):
        phase = Phase(label=MotionLabel.MOTIONLESS, sudden=_is_sudden(action))
        return Cued(phase, (_label(phase, verb, _stillness(action, kind)),), shown=action.verb.shown)
    oscillates = directions.OSCILLATING.search(action.about) is not None
    deforms = oscillates or _deforms(action, setting, kind)
    label = action.verb.label
    why = f"'{action.lemma}' deforms" if label is MotionLabel.NON_RIGID else _behaviour(setting.name)
    if label is None or label is MotionLabel.MOTIONLESS:  # of a posture the words say where it goes
        label = MotionLabel.NON_RIGID if deforms else MotionLabel.RIGID
    course = _course(action, setting, oscillates=oscillates)
    manner = _manner(action, kind) if label is MotionLabel.NON_RIGID else None
    phase = Phase(label=label, manner=manner, **course.cues())
    reasons = [_label(phase, verb, why), *course.because]
    if manner is not None:
        reasons.append(Because(About.CUE, f"manner: {manner.value}", verb, f"how '{action.lemma}' looks"))
    return Cued(phase, tuple(reasons), course.start, course.named, action.verb.shown)


def sent(action: Action, setting: Setting) -> Cued:
    """The cues of what is thrown, chased or ridden: it goes where the action goes."""
    deforms = noun_of(setting.name).kind in (Kind.ANIMATE, Kind.SOFT)
    course = _course(action, setting, oscillates=False, must_go=True)
    phase = Phase(
        label=MotionLabel.NON_RIGID if deforms else MotionLabel.RIGID,
        manner=Manner.STRIDE if deforms else None,
        **course.cues(),
    )
    return Cued(
        phase, (_label(phase, _quoted(action), _behaviour(setting.name)), *course.because), course.start, course.named
    )


def mutual_goal(action: Action) -> Goal | None:
    """What "toward each other" and "away from one another" ask of all the subjects."""
    if action.verb.mutual is not None:
        return action.verb.mutual
    match = MUTUAL.search(action.text) if action.listed else None
    if match is None:
        return None
    if match.group(1) in ("past", "by"):
        return Goal.PAST
    return Goal.AWAY_FROM if match.group(1) in (None, "away from", "from") else Goal.TOWARD


@dataclass
class _Course:
    """Where and how fast, with the reasons."""

    because: list[Because]
    start: Place | None = None
    named: bool = False
    direction: Direction | None = None
    target: str | None = None
    goal: Goal | None = None
    path: tuple[Place, ...] = ()
    enters: Edge | None = None
    leaves: Edge | None = None
    speed: Speed = Speed.NORMAL
    pickup: Pickup = Pickup.STEADY
    scale: float = 1.0
    sudden: bool = False

    def cues(self) -> dict[str, object]:
        """The fields of a phase."""
        return {name: value for name, value in vars(self).items() if name not in ("because", "start", "named")}

    def say(self, decided: str, words: tuple[str, ...], why: str) -> None:
        self.because.append(Because(About.CUE, decided, words, why))


def _course(action: Action, setting: Setting, *, oscillates: bool, must_go: bool = False) -> _Course:
    """What an action's words say of where its movement goes."""
    course = _Course([])
    about, verb = action.about, _quoted(action)
    _how(course, action)
    travels = must_go or action.verb.travels or (action.passive and action.verb.object == "travels")
    found = directions.direction_in(about, travels=travels)
    course.named = found is not None or action.verb.direction in ("up", "down")
    if _crosses_an_edge(course, action, found.value if found else None):
        return course
    if directions.APPROACHING.search(about) or directions.RECEDING.search(about):
        nearer = directions.APPROACHING.search(about)
        match = nearer or directions.RECEDING.search(about)
        course.scale = APPROACH if nearer else RECEDE
        words = (match.group(),) if match else ()
        course.say(f"scale: {course.scale}", words, "what comes nearer grows" if nearer else "what goes away shrinks")
    elif (path := directions.path_in(about)) is not None:
        course.start, course.path = path.value
        course.named = True
        course.say(f"path: {', '.join(course.path)}", (path.words,), "the words name places of the frame")
    elif setting.goal is not None and (
        not course.named or setting.goal not in (Goal.TOWARD, Goal.AWAY_FROM, Goal.PAST)
    ):
        course.goal, course.target = setting.goal, setting.target
        course.say(f"goal: {setting.goal.value} {setting.target}", (setting.phrase,), "the movement is about the other")
    elif found is not None:
        course.direction = found.value
        course.say(f"direction: {found.value.value}", (found.words,), "the words name it")
    elif must_go or (
        travels
        and (action.verb.direction is not None or action.passive)
        and not oscillates
        and (action.verb.direction in ("up", "down") or not setting.arranged)
    ):
        course.direction = {"up": Direction.UP, "down": Direction.DOWN}.get(action.verb.direction or "", SIDEWAYS)
        course.say(f"direction: {course.direction.value}", verb, f"'{action.lemma}' goes there if nothing else is said")
    return course


def _how(course: _Course, action: Action) -> None:
    """Speed, acceleration, suddenness."""
    about = action.about
    course.speed = action.verb.speed
    for pattern, speed in ((directions.SLOWLY, Speed.SLOW), (directions.QUICKLY, Speed.FAST)):
        if match := pattern.search(about):
            course.speed = speed
            course.say(f"speed: {speed.value}", (match.group(),), "the word says how fast")
            break
    else:
        if course.speed is not Speed.NORMAL:
            course.say(f"speed: {course.speed.value}", _quoted(action), f"'{action.lemma}' is {course.speed.value}")
    for pattern, pickup in (
        (directions.SPEEDING_UP, Pickup.SPEEDING_UP),
        (directions.SLOWING_DOWN, Pickup.SLOWING_DOWN),
    ):
        if match := pattern.search(about):
            course.pickup = pickup
            course.say(f"pickup: {pickup.value}", (match.group(),), "the words say that it changes")
            break
    if match := directions.SUDDENLY.search(about):
        course.sudden = True
        course.say("sudden", (match.group(),), "it need not take over the velocity of before")


def _crosses_an_edge(course: _Course, action: Action, heading: Direction | None) -> bool:
    """Entering and leaving the frame."""
    about = action.about
    entering, leaving = directions.ENTERING.search(about), directions.LEAVING.search(about)
    if action.verb.frame == "enters" or entering:
        origin = directions.FROM_EDGE.search(about)
        ahead = directions.edge_in(heading.value.replace("_", " ")) if heading is not None else None
        if origin is not None and (edge := directions.edge_in(origin.group(1))) is not None:
            course.enters = edge.value
        else:
            course.enters = directions.OPPOSITE_EDGE[ahead.value] if ahead is not None else Edge.LEFT
        words = (origin or entering).group() if origin or entering else _quoted(action)[0]  # type: ignore[union-attr]
        course.say(f"enters: {course.enters.value}", (words,), "it comes into the frame")
        course.named = True
        return True
    if action.verb.frame == "leaves" or leaving:
        through = directions.FROM_EDGE.search(about)
        edge = directions.edge_in(
            through.group(1) if through else heading.value.replace("_", " ") if heading else "right"
        )
        course.leaves = edge.value if edge is not None else Edge.RIGHT
        course.say(
            f"leaves: {course.leaves.value}",
            (leaving.group(),) if leaving else _quoted(action),
            "it goes out of the frame",
        )
        course.named = True
        return True
    return False


def _at_rest(kind: Kind, action: Action | None) -> Cued:
    """What has no verb of its own: what lives breathes, cloth and water stir, all else stands."""
    manner = {Kind.ANIMATE: Manner.SWAY, Kind.SOFT: Manner.FLUTTER}.get(kind)
    sudden = action is not None and _is_sudden(action)
    phase = Phase(label=MotionLabel.NON_RIGID if manner else MotionLabel.MOTIONLESS, manner=manner, sudden=sudden)
    words = _quoted(action) if action is not None else ()
    why = "it makes another move, and " if action is not None else "no verb says what it does, and "
    what = {Kind.ANIMATE: "what lives is never quite still", Kind.SOFT: "what is soft stirs"}
    reasons = [_label(phase, words, why + what.get(kind, "a thing stands still"))]
    if manner is not None:
        reasons.append(Because(About.CUE, f"manner: {manner.value}", words, "the least that such a thing does"))
    return Cued(phase, tuple(reasons), shown=action.verb.shown if action is not None else None)


def _label(phase: Phase, words: tuple[str, ...], why: str) -> Because:
    return Because(About.LABEL, phase.label.value, words, why)


def _quoted(action: Action) -> tuple[str, ...]:
    return (action.said,)


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
