"""Places and goals that no preposition names: a verb's object, what stands first, what a clause leaves out."""

import re
from collections.abc import Sequence

from planner_service.motion.arrangements import Arrangement
from planner_service.motion.cues import Goal
from planner_service.motion.nouns import Kind, is_a, noun_of
from planner_service.motion.supports import head_of
from planner_service.parser.actions import Action
from planner_service.parser.attachments import Attachment
from planner_service.parser.lexicon import word_list
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.words import Role, Word

OBJECT_GOALS = {"passed": Goal.PAST, "approached": Goal.TOWARD}
"""Where a movement ends that a verb's object is the goal of."""

TRAILING = {"behind": Arrangement.BEHIND}


def unsaid(
    words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action], found: Sequence[Attachment]
) -> list[Attachment]:
    return [
        *_boarding(actions, mentions, found),
        *_trailing(words, mentions, actions),
        *_emitted(words, mentions, actions),
        *_to_objects(actions, mentions),
    ]


def _boarding(actions: Sequence[Action], mentions: Sequence[Mention], found: Sequence[Attachment]) -> list[Attachment]:
    """Onto the last vehicle before, where none is named: "a bus stops, and a lady gets on"."""
    boarding = [a for a in actions if a.lemma == "board" and not a.objects]
    boarding = [a for a in boarding if not any(b.action == a.index for b in found)]
    return [
        Attachment(subject, vehicles[-1], "to", None, Goal.TOWARD, action.index)
        for action in boarding
        if (vehicles := [n for n, m in enumerate(mentions) if m.end <= action.start and _is_vehicle(m)])
        for subject in action.subjects
        if subject != vehicles[-1]
    ]


def _is_vehicle(mention: Mention) -> bool:
    return mention.use is Use.THING and noun_of(mention.name).kind is Kind.VEHICLE


def _to_objects(actions: Sequence[Action], mentions: Sequence[Mention]) -> list[Attachment]:
    """ "A bus passes a cyclist" goes past it, "a car nears a house" toward it, "a train crosses a viaduct" is on it."""
    crossings = [
        Attachment(subject, target, "across", Arrangement.ON, None, action.index)
        for action in actions
        if action.lemma == "cross"
        for subject in action.subjects
        for target in action.objects[:1]
        if is_a(head_of(mentions[target].name), word_list("bridges"))
    ]
    receivers = [
        Attachment(subject, action.objects[0] - 1, "at", Arrangement.AT, None, action.index)
        for action in actions
        if action.lemma in word_list("giving") and action.objects and action.objects[0] > 0
        if action.index < mentions[action.objects[0] - 1].start < mentions[action.objects[0]].start
        for subject in action.subjects
    ]
    return (
        crossings
        + receivers
        + [
            Attachment(subject, target, "", None, OBJECT_GOALS.get(action.verb.object or "", Goal.TOWARD), action.index)
            for action in actions
            if (action.verb.object in OBJECT_GOALS or action.lemma == "enter") and not action.passive
            for subject in action.subjects
            for target in action.objects[:1]
        ]
    )


def _emitted(words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> list[Attachment]:
    """From the first thing, where no place is said: "a bowl of soup, steam rising"."""
    things = [number for number, mention in enumerate(mentions) if mention.use is Use.THING]
    return [
        Attachment(subject, things[0], "from", None, None, action.index)
        for action in actions
        for subject in action.subjects
        if subject > things[0] and not mentions[subject].determined
        if is_a(mentions[subject].head, word_list("emitted")) and mentions[subject].end == action.index
        if not any(word.role is Role.PREPOSITION for word in words[action.index + 1 : action.end])
    ]


def _trailing(words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> list[Attachment]:
    """Behind the prompt's first thing: "a truck passes, with a bird in a tree behind"."""
    things = [number for number, mention in enumerate(mentions) if mention.use is Use.THING]
    found = []
    for action in actions:
        for phrase, arrangement in TRAILING.items():
            ends = re.search(rf"\b{phrase}(?: it| them)?[ .,;]*$", action.text)
            if ends and action.subjects and things and action.subjects[0] != things[0]:
                found.append(Attachment(action.subjects[0], things[0], phrase, arrangement))
                around = [number for number in things if action.start <= mentions[number].start < action.end]
                found += [
                    Attachment(number, things[0], phrase, arrangement) for number in around if number != things[0]
                ]
    return found
