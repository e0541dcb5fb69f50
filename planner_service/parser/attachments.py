"""Prepositions: which thing is where with respect to which other, and where movements end."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from planner_service.arrangements import Arrangement
from planner_service.cues import Goal
from planner_service.parser.actions import Action, mention_at
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.words import Role, Word
from shared.motion_graph import MotionLabel

LOOK_BACK = 8
"""The longest prepositional phrase, in words."""


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


@dataclass(frozen=True)
class _Pattern:
    words: re.Pattern[str]
    arrangement: Arrangement | None
    goal: Goal | None
    """What it means after a verb of movement."""
    insists: bool
    """Whether it makes any verb but a posture one of movement: "flutters to the top of"."""


def _pattern(
    words: str, arrangement: Arrangement | None, goal: Goal | None = None, *, insists: bool = True
) -> _Pattern:
    return _Pattern(re.compile(rf"(?:^|\s)({words})$"), arrangement, goal, insists)


PATTERNS = (
    _pattern(r"(?:to|towards?) the left(?:[ -]hand)?(?: side)? of", Arrangement.LEFT_OF, Goal.LEFT_OF),
    _pattern(r"(?:to|towards?) the right(?:[ -]hand)?(?: side)? of", Arrangement.RIGHT_OF, Goal.RIGHT_OF),
    _pattern(r"(?:(?:on|at|by|from) )?(?:the )?left(?:[ -]hand)?(?: side)? of", Arrangement.LEFT_OF),
    _pattern(r"(?:(?:on|at|by|from) )?(?:the )?right(?:[ -]hand)?(?: side)? of", Arrangement.RIGHT_OF),
    _pattern(r"(?:to|onto) (?:the )?top of", Arrangement.ON, Goal.ONTO),
    _pattern(r"(?:on|at) (?:the )?top of|atop|upon", Arrangement.ON),
    _pattern(r"(?:on|at) the bottom of", Arrangement.BELOW),
    _pattern(r"in (?:the )?front of", Arrangement.IN_FRONT_OF),
    _pattern(r"(?:at|in) the back of|behind", Arrangement.BEHIND),
    _pattern(r"next to|close to|beside|alongside|near(?: to)?|adjacent to|along with", Arrangement.NEXT_TO),
    _pattern(r"away from", None, Goal.AWAY_FROM),
    _pattern(r"towards?|closer to|up to", None, Goal.TOWARD),
    _pattern(r"onto", Arrangement.ON, Goal.ONTO),
    _pattern(r"above|over", Arrangement.ABOVE),
    _pattern(r"below|beneath|underneath|under", Arrangement.BELOW),
    _pattern(r"inside(?: of)?|within", Arrangement.IN),
    _pattern(r"into|to|at", None, Goal.TOWARD, insists=False),
    _pattern(r"on", Arrangement.ON),
    _pattern(r"in", Arrangement.IN),
    _pattern(r"past|by|around|through|across|along|between|among|against|with|off|from", None),
)
"""The first that matches the words before a noun phrase decides."""

TRAILING = {"behind": Arrangement.BEHIND, "in front": Arrangement.IN_FRONT_OF}


def attachments_of(words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> list[Attachment]:
    found = []
    acting = {number for action in actions for number in action.subjects}
    for number, mention in enumerate(mentions):
        if mention.use is not Use.THING:
            continue
        matched = preposition_before(words, mention.start)
        if matched is None or (matched[1] == "with" and number in acting):
            continue
        pattern, phrase, start = matched
        sources, action = _sources(words, mentions, actions, start, number)
        moves = action is not None and (
            action.verb.travels or (pattern.insists and action.verb.label is not MotionLabel.MOTIONLESS)
        )
        goal = pattern.goal if moves else None
        onto = (
            moves
            and action is not None
            and pattern.arrangement is Arrangement.ON
            and action.lemma in ("land", "jump", "hop")
        )
        goal = Goal.ONTO if onto else goal
        found += [
            Attachment(
                source=source,
                target=number,
                phrase=phrase,
                arrangement=None if goal else pattern.arrangement,
                goal=goal,
                action=action.index if action is not None else None,
            )
            for source in sources
            if source != number
        ]
    return found + _trailing(words, mentions, actions)


def preposition_before(words: Sequence[Word], start: int) -> tuple[_Pattern, str, int] | None:
    """The prepositional words that end right before `start`, and where they begin."""
    text = " ".join(word.lower for word in words[max(0, start - LOOK_BACK) : start])
    for pattern in PATTERNS:
        if match := pattern.words.search(text):
            phrase = match.group(1)
            return pattern, phrase, start - len(phrase.split())
    return None


def _sources(
    words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action], start: int, target: int
) -> tuple[tuple[int, ...], Action | None]:
    """What a prepositional phrase that begins at `start` is about, and the verb it belongs to."""
    before = mention_at(mentions, start - 1) if start > 0 else None
    verbs = [action for action in actions if action.start <= start < action.end and target not in action.subjects]
    action = max(verbs, key=lambda action: action.index) if verbs else None
    if action is None or not action.subjects:
        if start == 0:  # "Next to a tree, a dog sits."
            later = [a for a in actions if a.subjects and a.index > start]
            return (later[0].subjects, later[0]) if later else ((), None)
        earlier = [n for n, mention in enumerate(mentions) if mention.end <= start and mention.use is Use.THING]
        return ((before,) if before is not None and mentions[before].use is Use.THING else tuple(earlier[:1])), None
    if before is not None and before not in action.subjects and mentions[before].use is Use.THING:
        head = words[start].token.head.i
        about = mention_at(mentions, head)
        if before in action.objects and action.verb.object in ("placed", "travels"):
            return (before,), action
        if about is not None and about == before:
            return (before,), None
    elif before is not None and before in action.subjects and action.index > start:
        return (before,), None
    return action.subjects, action


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


def is_governed(words: Sequence[Word], mention: Mention) -> bool:
    """Whether any preposition stands right before a mention."""
    return mention.start > 0 and words[mention.start - 1].role is Role.PREPOSITION
