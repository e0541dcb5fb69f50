"""Prepositions: which thing is where with respect to which other, and where movements end."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from planner_service.motion.arrangements import Arrangement
from planner_service.motion.cues import Goal
from planner_service.parser.actions import Action
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.prepositions import Preposition, preposition_around, preposition_before
from planner_service.parser.subjects import coordinated, mention_at
from planner_service.parser.words import Role, Word
from shared.motion_graph import MotionLabel


@dataclass(frozen=True)
class Attachment:
    """`source` and `target` are indices of mentions; `action` is the one whose movement it ends, if any."""

    source: int
    target: int
    phrase: str
    arrangement: Arrangement | None
    goal: Goal | None = None
    action: int | None = None
    """The verb's word."""


LANDING = frozenset(("land", "jump", "hop", "leap", "climb", "clamber", "spring", "vault", "pounce", "settle"))
"""What does so on a thing ends on it."""

OBJECT_GOALS = {"passed": Goal.PAST, "approached": Goal.TOWARD}
"""Where a movement ends that a verb's object is the goal of."""

TRAILING = {"behind": Arrangement.BEHIND, "in front": Arrangement.IN_FRONT_OF}


def attachments_of(words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> list[Attachment]:
    found = []
    acting = {number for action in actions for number in action.subjects}
    for number, mention in enumerate(mentions):
        if mention.use is Use.PRONOUN and words[mention.start].role is Role.DETERMINER:
            matched = preposition_around(words, mention.start)
        elif mention.use in (Use.THING, Use.PRONOUN):
            matched = preposition_before(words, mention.start)
        else:
            continue
        if (
            matched is None
            or (matched[1] == "with" and number in acting)
            or _is_particle(matched[1], words[matched[2]])
        ):
            continue
        preposition, phrase, start = matched
        if phrase == "by" and any(number in action.subjects and action.index < mention.start for action in actions):
            continue  # "chased by a cat": the cat's own action says it
        sources, action = _sources(words, mentions, actions, start, number, ends=preposition.goal is not None)
        goal = _goal(preposition, phrase, action)
        stays = (
            action is None or action.verb.label is MotionLabel.MOTIONLESS or not (action.passive or action.verb.travels)
        )
        arrangement = Arrangement.NEXT_TO if phrase == "by" and stays else preposition.arrangement
        found += [
            Attachment(
                source=source,
                target=number,
                phrase=phrase,
                arrangement=None if goal else arrangement,
                goal=goal,
                action=action.index if action is not None else None,
            )
            for source in sources
            if source != number
        ]
    return found + _trailing(words, mentions, actions) + _to_objects(actions)


def _is_particle(phrase: str, word: Word) -> bool:
    """Whether it belongs to the verb: "knocks over a vase"."""
    return word.tag == "RP" and phrase == word.lower


def _goal(preposition: Preposition, phrase: str, action: Action | None) -> Goal | None:
    """Where the movement ends, if it is one."""
    if action is None or action.verb.label is MotionLabel.MOTIONLESS or action.verb.object == "placed":
        return None
    moves = action.verb.travels or action.verb.object == "travels"
    moves = moves or (preposition.insists and (action.listed or action.sequence > 0))
    lands = action.lemma in LANDING or action.verb.direction == "down"
    if action.lemma in LANDING and phrase == "over":
        return Goal.PAST
    if moves and preposition.arrangement is Arrangement.ON and lands and not phrase.startswith(("from", "off")):
        return Goal.ONTO
    return preposition.goal if moves else None


def _to_objects(actions: Sequence[Action]) -> list[Attachment]:
    """ "A bus passes a cyclist" goes past it, "a car approaches a house" toward it."""
    return [
        Attachment(subject, target, "", None, OBJECT_GOALS[action.verb.object], action.index)
        for action in actions
        if action.verb.object in OBJECT_GOALS and not action.passive
        for subject in action.subjects
        for target in action.objects[:1]
    ]


def _sources(
    words: Sequence[Word],
    mentions: Sequence[Mention],
    actions: Sequence[Action],
    start: int,
    target: int,
    *,
    ends: bool,
) -> tuple[tuple[int, ...], Action | None]:
    """What a prepositional phrase that begins at `start` is about, and the verb it belongs to.

    `ends`: whether it is one that says where movements end.
    """
    before = mention_at(mentions, start - 1) if start > 0 else None
    verbs = [action for action in actions if action.start <= start < action.end and target not in action.subjects]
    action = max(verbs, key=lambda action: action.index) if verbs else None
    if action is None or not action.subjects:
        if not any(mention.end <= start for mention in mentions):  # "Next to a tree, a dog sits."
            later = [a for a in actions if a.subjects and a.index > start]
            return (later[0].subjects, later[0]) if later else ((), None)
        if before is not None and mentions[before].use is Use.THING:
            return _together(words, mentions, before), None
        earlier = [n for n, mention in enumerate(mentions) if mention.end <= start and mention.use is Use.THING]
        return tuple(earlier[:1]), None
    if before is not None and before not in action.subjects and mentions[before].use is Use.THING:
        if mentions[target].use is Use.PRONOUN and not ends and action.verb.object is None:
            return (before,), None  # "a castle with a dragon above it"
        head = words[start].token.head.i
        about = mention_at(mentions, head)
        if before in action.objects and action.verb.object in ("placed", "travels", "held"):
            return (before,), action
        if about is not None and about == before:
            shared = action.verb.object is None and action.subjects  # who does it is there too
            return (before, *(shared or ())), None
    elif before is not None and before in action.subjects and action.index > start:
        return (before,), None
    return action.subjects, action


def _together(words: Sequence[Word], mentions: Sequence[Mention], number: int) -> tuple[int, ...]:
    """The mention with those that are joined to it, if these are not themselves said to be somewhere."""
    group = [n for n in coordinated(mentions, words, number) if mentions[n].use is Use.THING]
    governed = preposition_before(words, mentions[group[0]].start) is not None
    return (number,) if governed else tuple(group)


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
