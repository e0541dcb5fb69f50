"""What an instance does: the cues of its actions, one after the other, and of what carries it along."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import dropwhile

from planner_service.explanation import About
from planner_service.motion.arrangements import Arrangement
from planner_service.motion.cues import MAXIMUM_PHASES, Phase
from planner_service.motion.nouns import Kind, is_a, noun_of
from planner_service.motion.supports import head_of
from planner_service.parser.actions import Action
from planner_service.parser.attachments import Attachment
from planner_service.parser.cueing import Because, Cued, Setting, cue, cue_sent, mutual_goal
from planner_service.parser.lexicon import word_list
from planner_service.parser.scene import Scene
from planner_service.parser.times import Seen, seen_when
from planner_service.parser.whereabouts import tour_of
from shared.motion_graph import MotionLabel

SENDING = ("travels", "follows", "rides")
"""What such verbs are done to travels too."""
FIXED = 0.4
"""Things of this height and more are not thrown, a fraction of the frame's."""
BESIDE = Arrangement.NEXT_TO


def cues_of(scene: Scene, number: int) -> tuple[Cued, ...]:
    """The cues for each of "…, then …"; within a phase those of the action that moves most."""
    by_sequence: dict[int, list[Cued]] = {}
    for action in scene.actions:
        if number in action.subjects or (number in action.objects and action.verb.object == "made_to"):
            by_sequence.setdefault(action.sequence, []).append(cue(action, _setting(scene, number, action)))
        elif _is_sent(scene, number, action):
            by_sequence.setdefault(action.sequence, []).append(cue_sent(action, _setting(scene, number, action)))
    own = [action for action in scene.actions if number in action.subjects]
    if (time := seen_when(own)) is not None:
        while_seen = [cue for cues in by_sequence.values() for cue in cues if cue.shown is None]
        return _seen_for_a_time(while_seen, time, scene.mentions[number].name)
    if not by_sequence:
        return (cue(None, Setting(scene.mentions[number].name, arranged=False)),)
    chosen = [_merge(by_sequence[sequence]) for sequence in sorted(by_sequence)]
    if tour_of(scene, number):  # it starts or appears in one place, and goes to others all the time
        chosen = list(dropwhile(lambda told: not told.phase.travels, chosen)) or chosen
    steps: list[Cued] = []
    for index, told in enumerate(chosen):
        if told.shown == "after":
            steps += [told.hide(), *([told] if index + 1 == len(chosen) else [])]
        elif told.shown == "before":
            seen = any(not step.phase.absent for step in steps)
            steps += [*([] if seen else [told]), told.hide()]
        else:
            steps.append(told)
    return tuple(steps[:MAXIMUM_PHASES])


def carry(scene: Scene, number: int, told: tuple[Cued, ...]) -> tuple[Cued, ...]:
    """The cues of what carries it, where it is on or in something that travels and goes nowhere by itself; and of what
    it runs beside."""
    if (whole := scene.wholes.get(number)) is not None:
        moving = any(cued.phase.travels for cued in cues_of(scene, whole))
        return tuple(cued.move_along() for cued in told) if moving else told
    for attachment in scene.attachments:
        if attachment.source != number or attachment.arrangement not in (Arrangement.ON, Arrangement.IN, BESIDE):
            continue
        carrier = cues_of(scene, scene.wholes.get(attachment.target, attachment.target))
        if attachment.arrangement is BESIDE:
            pairs = list(zip(told, carrier, strict=False))
            abreast = len(told) == len(carrier) and all(
                mine.phase.direction and theirs.phase.direction and not mine.named for mine, theirs in pairs
            )
            if abreast:
                return tuple(mine.move_as(theirs) for mine, theirs in pairs)
            continue
        rides = len(carrier) == len(told) and any(
            action.verb.object == "rides" and number in action.subjects and attachment.target in action.objects
            for action in scene.actions
        )
        travels = any(cued.phase.travels for cued in told)
        if any(cued.phase.travels for cued in carrier) and (rides or not travels):
            own = [*told, *told[-1:] * len(carrier)]
            return tuple(mine.move_as(theirs) for mine, theirs in zip(own, carrier, strict=False))
    return told


def meet_or_part(scene: Scene, number: int, identifier: str, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """The phases, with respect to the other where two move toward each other, or apart."""
    for action in scene.actions:
        goal = mutual_goal(action)
        group = [name for subject in action.subjects for name in scene.ids.get(subject, ())]
        if goal is not None and number in action.subjects and len(group) > 1:
            other = group[1] if identifier == group[0] else group[0]
            changes = {"direction": None, "goal": goal, "target": other}
            return tuple(
                phase if phase.label is MotionLabel.MOTIONLESS else phase.model_copy(update=changes) for phase in phases
            )
    return phases


def _setting(scene: Scene, number: int, action: Action) -> Setting:
    about = action.subjects if action.verb.object == "rides" and number in action.objects else (number,)
    goals = [
        a for a in scene.attachments if a.source in about and a.target != number and a.goal and a.action == action.index
    ]
    held = (Arrangement.BEHIND, Arrangement.IN_FRONT_OF, None)
    before = {other.index for other in scene.actions if other.sequence < action.sequence}
    arranged = any(
        a.arrangement not in held and not _goes_along(scene, action, a)
        for a in scene.attachments
        if a.source == number and a.action not in before
    )
    target = scene.ids[goals[0].target][0] if goals and goals[0].target in scene.ids else None
    return Setting(
        scene.mentions[number].name,
        arranged=arranged,
        goal=goals[0].goal if target else None,
        target=target,
        phrase=goals[0].phrase if goals else "",
        toured=bool(tour_of(scene, number)),
        causes=number in action.subjects and _moves_another(scene, number, action),
    )


def _moves_another(scene: Scene, number: int, action: Action) -> bool:
    """Whether the object does what the verb says: "a boy flies a kite", "a girl kicks a ball"."""
    throws = action.verb.object == "travels" and noun_of(scene.mentions[number].name).kind is Kind.ANIMATE
    caused = throws or action.verb.object == "made_to"
    return caused and bool(action.objects) and not action.passive and not action.negated


def _is_sent(scene: Scene, number: int, action: Action) -> bool:
    """Whether it goes where the action goes; what is large stays where it is when it is hit."""
    if number not in action.objects or action.negated:
        return False
    noun = noun_of(scene.mentions[number].name)
    large = noun.height >= FIXED or is_a(head_of(scene.mentions[number].name), word_list("furniture"))
    fixed = action.verb.object == "travels" and noun.kind is Kind.OBJECT and large
    sends = action.verb.object in SENDING or any(
        a.source == number and a.goal is not None and a.action == action.index for a in scene.attachments
    )
    own = [other for other in scene.actions if number in other.subjects]
    changes = any(other.verb.label is MotionLabel.NON_RIGID and not other.verb.travels for other in own)  # "crumbles"
    return sends and not fixed and not changes


def _goes_along(scene: Scene, action: Action, attachment: Attachment) -> bool:
    """Whether what an instance is arranged with travels as it does."""
    if action.verb.object == "rides" and attachment.target in action.objects:
        return True
    if attachment.phrase in ("along", "across"):
        return True
    return attachment.arrangement in (Arrangement.NEXT_TO, Arrangement.AT) and any(
        other.verb.travels for other in scene.actions if attachment.target in other.subjects
    )


def _merge(told: Sequence[Cued]) -> Cued:
    """What says most of a movement, entering and leaving with the rest: "enters and walks to the right"."""
    chosen = max(told, key=lambda cued: cued.liveliness)
    for other in told:
        if other is not chosen:
            chosen = chosen.cross_as(other)
    return chosen


def _seen_for_a_time(told: Sequence[Cued], seen: Seen, name: str) -> tuple[Cued, ...]:
    """What it does while it is seen, in quarters of the clip, and nothing before or after."""
    does = max(told, key=lambda cued: cued.liveliness) if told else cue(None, Setting(name, arranged=False))
    because = Because(About.CUE, "absent", (seen.said,), "the words say when it is seen")
    unseen = replace(does, phase=Phase(label=MotionLabel.MOTIONLESS, absent=True), because=(because,))
    quarters = round(seen.share * 4)
    before, after = (unseen, does) if seen.from_on else (does, unseen)
    if quarters == 2:
        return before, after
    return (*[before] * quarters, *[after] * (4 - quarters))


def divide_clip(told: Sequence[Cued]) -> tuple[Phase, ...]:
    """Equal shares of the clip.  Who is in the frame already comes in no more, and goes out of it once, at the end."""
    shown = [index for index, each in enumerate(told) if not each.phase.absent]
    return tuple(
        cued.phase.model_copy(
            update={
                "until": (index + 1) / len(told),
                "enters": cued.phase.enters if index in shown[:1] else None,
                "leaves": cued.phase.leaves if index in shown[-1:] else None,
            }
        )
        for index, cued in enumerate(told)
    )
