"""Where movements end that another clause tells of: "walks to a swing and sits on it", "then puts it into an oven"."""

from collections.abc import Sequence
from dataclasses import replace

from planner_service.motion.arrangements import Arrangement
from planner_service.motion.cues import Direction, Goal
from planner_service.parser.actions import Action
from planner_service.parser.attachments import Attachment
from planner_service.parser.directions import direction_in
from planner_service.parser.lexicon import word_list
from shared.motion_graph import MotionLabel

REACHED = {
    Arrangement.ON: Goal.ONTO,
    Arrangement.IN: Goal.TOWARD,
    Arrangement.AT: Goal.TOWARD,
    Arrangement.NEXT_TO: Goal.TOWARD,
    Arrangement.IN_FRONT_OF: Goal.TOWARD,
    Arrangement.LEFT_OF: Goal.LEFT_OF,
    Arrangement.RIGHT_OF: Goal.RIGHT_OF,
}
"""Where a movement ends after which something is so arranged."""


def with_arrivals(attachments: Sequence[Attachment], actions: Sequence[Action]) -> list[Attachment]:
    """What is somewhere after it went, or is put there later, goes there: "walks to a swing and sits on it"."""
    found: list[Attachment] = []
    for a in attachments:
        doing = next((action for action in actions if action.index == a.action), None)
        before = [action for action in actions if doing is not None and action.index < doing.index]
        if doing is None or a.goal is not None or a.arrangement not in REACHED:
            found.append(a)
        elif doing.verb.object == "placed":
            late = any(n in action.subjects + action.objects for action in before for n in doing.objects)
            phrase, goal = ("onto", Goal.ONTO) if a.arrangement is Arrangement.ON else ("to", Goal.TOWARD)
            found.append(replace(a, phrase=phrase, arrangement=None, goal=goal) if late else a)
        else:
            went = [action for action in before if a.source in action.subjects and action.verb.travels]
            rests = doing.verb.label is MotionLabel.MOTIONLESS and a.source in doing.subjects
            told = [b for b in found if went and b.action == went[-1].index and b.source == a.source and b.goal]
            if not (rests and went) or any(b.target != a.target for b in told):
                found.append(a)
                continue
            goal = _arrival(went[-1], a.arrangement)
            found = [b for b in found if b not in told]
            phrase = "onto" if goal is Goal.ONTO else "to"
            found.append(replace(a, phrase=phrase, arrangement=None, goal=goal, action=went[-1].index))
    return [*found, *_catches(actions, found)]


def _catches(actions: Sequence[Action], attachments: Sequence[Attachment]) -> list[Attachment]:
    """Who goes and then catches something gets to it: "an owl swoops from a tree and grabs a mouse"."""
    found: list[Attachment] = []
    ended = {b.action for b in attachments if b.goal is not None}
    for action in actions:
        earlier = [a for a in actions if a.index < action.index and set(a.subjects) & set(action.subjects)]
        caught = action.lemma in word_list("catching") and action.objects and not action.passive and not action.negated
        if not caught or not earlier or earlier[-1].index in ended:
            continue
        went = earlier[-1]
        if went.verb.direction == "sideways" and direction_in(went.about, travels=True) is None:
            goal = (action.objects[0], "to", None, Goal.TOWARD, went.index)
            found += [Attachment(doer, *goal) for doer in action.subjects if doer != action.objects[0]]
    return found


def _arrival(action: Action, arrangement: Arrangement) -> Goal:
    """Which end of its way is so arranged, given where it is headed."""
    heading = direction_in(action.about, travels=True)
    sides = {Direction.RIGHT: Goal.LEFT_OF, Direction.LEFT: Goal.RIGHT_OF}
    return sides.get(heading.value, Goal.TOWARD) if heading is not None else REACHED[arrangement]
