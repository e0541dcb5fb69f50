"""Prepositions: what each says of place, and of where a movement ends."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from planner_service.motion.arrangements import Arrangement
from planner_service.motion.cues import Goal
from planner_service.parser.words import Word

LOOK_BACK = 8
"""The longest prepositional phrase, in words."""


@dataclass(frozen=True)
class Preposition:
    words: re.Pattern[str]
    arrangement: Arrangement | None
    goal: Goal | None
    """What it means after a verb of movement."""
    insists: bool
    """Whether it makes any verb but a posture one of movement: "flutters to the top of"."""


def _preposition(
    words: str, arrangement: Arrangement | None, goal: Goal | None = None, *, insists: bool = True
) -> Preposition:
    return Preposition(re.compile(rf"(?:^|\s)({words})$"), arrangement, goal, insists)


TO = r"(?:over |back |down |up |across )?(?:on)?(?:to|towards?)"
HAND = "(?:(?: - | |-)hand)?"
AT = r"(?:on|at|by|from|off|in)"


def _side(side: str) -> str:
    """ "the left side of", "its left side"."""
    return rf"(?:(?:the )?{side}{HAND}(?: side)? of|(?:its|his|her|their) {side}{HAND}(?: side)?)"


PREPOSITIONS = (
    _preposition(rf"{TO} {_side('left')}", Arrangement.LEFT_OF, Goal.LEFT_OF),
    _preposition(rf"{TO} {_side('right')}", Arrangement.RIGHT_OF, Goal.RIGHT_OF),
    _preposition(rf"(?:{AT} )?{_side('left')}", Arrangement.LEFT_OF),
    _preposition(rf"(?:{AT} )?{_side('right')}", Arrangement.RIGHT_OF),
    _preposition(rf"(?:{TO} (?:the )?top of|(?:back |up )?onto(?: the top of)?)", Arrangement.ON, Goal.ONTO),
    _preposition(r"(?:on|at|from|off) (?:the )?(?:top|tip|edge|rim) of|on the back of|atop|upon", Arrangement.ON),
    _preposition(r"(?:on|at|to) the (?:bottom|underside) of", Arrangement.BELOW),
    _preposition(r"(?:in|at) the (?:middle|center|centre) of", Arrangement.IN),
    _preposition(r"in (?:the )?front of", Arrangement.IN_FRONT_OF),
    _preposition(r"(?:at|in) the back of|behind", Arrangement.BEHIND),
    _preposition(r"next to|close to|beside|alongside|near(?:by)?(?: to)?|adjacent to|along with", Arrangement.NEXT_TO),
    _preposition(r"away from", None, Goal.AWAY_FROM),
    _preposition(r"towards?|closer to|up to", None, Goal.TOWARD),
    _preposition(r"past", None, Goal.PAST),
    _preposition(r"above|over", Arrangement.ABOVE),
    _preposition(r"below|beneath|underneath|under", Arrangement.BELOW),
    _preposition(r"inside(?: of)?|within", Arrangement.IN),
    _preposition(r"into|to|at", None, Goal.TOWARD, insists=False),
    _preposition(r"on", Arrangement.ON),
    _preposition(r"in", Arrangement.IN),
    _preposition(r"up|down", Arrangement.AT),
    _preposition(r"using|out of", None),
    _preposition(r"by|around|through|across|along|between|among|against|with|off|from", None),
)
"""The first that matches the words before a noun phrase decides."""


def preposition_of(phrase: str) -> Preposition:
    """The entry of a whole phrase.  Raises StopIteration for what is none."""
    return next(preposition for preposition in PREPOSITIONS if preposition.words.fullmatch(phrase))


def preposition_before(words: Sequence[Word], start: int) -> tuple[Preposition, str, int] | None:
    """The prepositional words that end right before `start`, as they are, and where they begin."""
    text = " ".join(word.lower for word in words[max(0, start - LOOK_BACK) : start])
    for preposition in PREPOSITIONS:
        if match := preposition.words.search(text):
            phrase = match.group(1)
            return preposition, phrase, start - len(phrase.split())
    return None


def preposition_around(words: Sequence[Word], possessive: int) -> tuple[Preposition, str, int] | None:
    """The same of "to its left", where what it is about stands inside."""
    end = possessive + 1
    while end < len(words) and words[end].lower in ("left", "right", "-", "hand", "side"):
        end += 1
    return preposition_before(words, end)
