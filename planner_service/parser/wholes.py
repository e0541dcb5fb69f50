"""Parts, and what is held: what goes where something else goes."""

from collections.abc import Sequence

from planner_service.motion.nouns import Kind, noun_of
from planner_service.motion.parts import part_of
from planner_service.parser.actions import Action
from planner_service.parser.lexicon import Lexicon
from planner_service.parser.mentions import POSSESSIVES, Mention
from planner_service.parser.subjects import mention_at
from planner_service.parser.words import Word
from shared.motion_graph import MotionLabel


def wholes_of(
    words: Sequence[Word],
    mentions: Sequence[Mention],
    actions: Sequence[Action],
    numbers: Sequence[int],
    lexicon: Lexicon,
) -> dict[int, int]:
    """What each part or held thing among the mentions `numbers` belongs to.

    "her flowing skirt", "a car with a roof flag", "an elephant swings its trunk", "a man
    holding a cup".
    """
    wholes: dict[int, int] = {}
    for action in actions:
        if action.verb.object == "held" and action.subjects and not action.negated:
            holder = action.subjects[0]
            wholes |= {held: holder for held in action.objects if _is_handy(held, holder, mentions)}
    for number in numbers:
        mention = mentions[number]
        attached = _is_attached(number, words, mentions, actions)
        worn = lexicon.is_in(lexicon.worn, mention.name) or part_of(mention.name) is not None
        swung = any(number in action.objects and action.verb.object == "made_to" for action in actions)
        possessed = mention.end > mention.start and words[mention.start].lower in POSSESSIVES
        if attached or (possessed and (worn or swung)):
            owner = _owner(number, mentions, actions, numbers)
            wholes |= {number: owner} if owner is not None else {}
    return {
        part: whole for part, whole in wholes.items() if part in numbers and whole in numbers and whole not in wholes
    }


def _is_handy(held: int, holder: int, mentions: Sequence[Mention]) -> bool:
    """Whether it is one, and small enough to go where its holder goes."""
    smaller = noun_of(mentions[held].name).height <= noun_of(mentions[holder].name).height
    return mentions[held].count == 1 and held != holder and smaller


def _is_attached(number: int, words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> bool:
    """Whether another is said to come with it, and it is a part or something soft that deforms."""
    mention = mentions[number]
    if mention.start < 2 or words[mention.start - 1].lower != "with":
        return False
    beside = mention_at(mentions, mention.start - 2) is not None
    deforms = any(action.verb.label is MotionLabel.NON_RIGID for action in actions if number in action.subjects)
    return beside and (part_of(mention.name) is not None or (deforms and noun_of(mention.name).kind is Kind.SOFT))


def _owner(number: int, mentions: Sequence[Mention], actions: Sequence[Action], numbers: Sequence[int]) -> int | None:
    """Whose it is: who acts on it, else the thing before it."""
    for action in actions:
        if number in action.objects and action.subjects and action.subjects[0] != number:
            return action.subjects[0]
    before = [other for other in numbers if mentions[other].end <= mentions[number].start]
    return max(before, key=lambda other: mentions[other].end) if before else None
