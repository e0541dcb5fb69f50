"""Where movements end that another clause tells of: "walks to a swing and sits on it", "then puts it into an oven"."""

from collections.abc import Sequence
from dataclasses import replace

from planner_service.motion.arrangements import Arrangement, is_reached_for
from planner_service.motion.cues import Direction, Goal
from planner_service.motion.nouns import noun_of
from planner_service.parser.actions import Action
from planner_service.parser.attachments import Attachment
from planner_service.parser.directions import direction_in
from planner_service.parser.lexicon import word_list
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.wholes import IN_HAND
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


def with_arrivals(
    attachments: Sequence[Attachment], actions: Sequence[Action], mentions: Sequence[Mention]
) -> list[Attachment]:
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
    return [*found, *_reached(actions, found, mentions)]


def _reached(
    actions: Sequence[Action], attachments: Sequence[Attachment], mentions: Sequence[Mention]
) -> list[Attachment]:
    """Who goes and then does something to something gets to it: "an owl swoops from a tree and grabs a mouse"."""
    found: list[Attachment] = []
    ended = {b.action for b in attachments if b.goal is not None}
    for action in actions:
        earlier = [a for a in actions if a.index < action.index and set(a.subjects) & set(action.subjects)]
        if not earlier or not action.objects or action.passive or action.negated or earlier[-1].index in ended:
            continue
        went, reached = earlier[-1], action.objects[0]
        ways = {"sideways": Goal.TOWARD, "down": Goal.ONTO}
        goal = ways.get(went.verb.direction or "")
        heading = direction_in(went.about, travels=True)
        turned = heading is not None and (goal is Goal.TOWARD or heading.value is not Direction.DOWN)
        if goal is not None and not turned and not went.objects and went.sequence == action.sequence:
            found += [
                Attachment(doer, reached, "to", None, goal, went.index)
                for doer in action.subjects
                if doer != reached and _goes_to(action, mentions[doer], mentions[reached])
            ]
    return found


def _goes_to(action: Action, doer: Mention, reached: Mention) -> bool:
    """Whether it is caught, found, or too large to be in hand already."""
    large = noun_of(reached.name).height > IN_HAND * noun_of(doer.name).height and reached.use is Use.THING
    handled = action.verb.object is None and not action.verb.travels and is_reached_for(action.lemma)
    return action.lemma in word_list("catching") or (large and handled)


def _arrival(action: Action, arrangement: Arrangement) -> Goal:
    """Which end of its way is so arranged, given where it is headed."""
    heading = direction_in(action.about, travels=True)
    sides = {Direction.RIGHT: Goal.LEFT_OF, Direction.LEFT: Goal.RIGHT_OF}
    return sides.get(heading.value, Goal.TOWARD) if heading is not None else REACHED[arrangement]
