"""Parts, and what is held: what goes where something else goes."""

from collections.abc import Sequence

from planner_service.motion.arrangements import Arrangement, is_reached_for
from planner_service.motion.nouns import Kind, is_a, noun_of
from planner_service.motion.parts import part_of
from planner_service.motion.supports import head_of
from planner_service.parser.actions import Action
from planner_service.parser.attachments import HOLDING, Attachment
from planner_service.parser.lexicon import lexicon, word_list
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.riding import is_brought
from planner_service.parser.subjects import is_person, mention_at
from planner_service.parser.words import Word
from shared.motion_graph import MotionLabel
from shared.wordnet import supersense

HANDFUL = 3
"""The most things that one has in hand."""
IN_HAND, CARRIED = 0.35, 0.6
"""The largest that is done something to in hand, and that is carried along, as shares of their holder's height."""


def wholes_of(
    words: Sequence[Word],
    mentions: Sequence[Mention],
    actions: Sequence[Action],
    attachments: Sequence[Attachment],
    numbers: Sequence[int],
) -> dict[int, int]:
    """What each part or held thing among the mentions `numbers` belongs to.

    "her flowing skirt", "a car with a roof flag", "an elephant swings its trunk", "a man
    holding a cup".
    """
    wholes: dict[int, int] = {}
    placed = {a.source for a in attachments if a.arrangement is not None}
    placed |= {
        n
        for action in actions
        for n in (action.subjects if action.verb.travels else action.objects if action.verb.object == "travels" else ())
    }  # "a pen drifts past, she catches it", "throws a ball to a girl, who catches it"
    for action in actions:
        if not action.subjects or action.negated or action.passive:
            continue
        holder = action.subjects[0]
        given = [
            a.target
            for a in attachments
            if a.action == action.index and a.arrangement is Arrangement.AT and action.lemma in word_list("giving")
            if noun_of(mentions[a.target].name).kind is Kind.ANIMATE
        ]
        taken = given[0] if given and _goes_later(given[0], action, actions) else holder
        taking = bool(given) or (action.lemma in word_list("taking") and _goes_later(holder, action, actions))
        if taking:
            left = _let_go(action, actions)
            wholes |= {n: taken for n in action.objects if n not in (*left, *given) and _is_handy(n, taken, mentions)}
        elif action.verb.object == "held":
            left = _let_go(action, actions) | {a.source for a in attachments if a.target == holder and a.phrase == "on"}
            wholes |= {n: holder for n in action.objects if n not in left and _is_handy(n, holder, mentions)}
        elif _takes_in_hand(action):
            wholes |= {
                n: holder for n in action.objects if n not in placed and is_in_hand(n, holder, mentions, IN_HAND)
            }
    wholes |= {
        a.target: a.source for a in attachments if a.phrase == "on" and mentions[a.target].head in word_list("tethers")
    }
    for a in attachments:
        travels = any(a.action == action.index and action.verb.travels for action in actions)
        along = travels and a.phrase == "with"
        if a.phrase == HOLDING:
            wholes[a.target] = a.source
        voices = a.phrase == "into" and any(a.action == action.index and _is_said(action) for action in actions)
        handled = a.phrase in word_list("hand_prepositions") and (a.phrase in ("with", "using") or not travels)
        in_hand = (handled or voices) and a.source not in wholes
        if in_hand and is_in_hand(a.target, a.source, mentions, CARRIED, even_fixed=along):
            wholes[a.target] = a.source
        if a.phrase == "with" and any(
            a.action == action.index and is_brought(action, mentions[a.source], mentions[a.target])
            for action in actions
        ):
            wholes[a.target] = a.source
    for number in numbers:
        mention = mentions[number]
        attached = _is_attached(number, words, mentions, actions)
        worn = (
            lexicon().is_in("worn", mention.name)
            or part_of(mention.name) is not None
            or is_a(mention.head, frozenset(("body part",)))
        )
        swung = any(number in action.objects and action.verb.object == "made_to" for action in actions)
        first = words[mention.start].lower if mention.end > mention.start else ""
        possessed = first in word_list("possessives") or (
            first == "the" and mention.name.lower() in word_list("built_in")
        )
        if attached or (possessed and (worn or swung)):
            owner = _owner(number, first, mentions, actions, [other for other in numbers if other not in wholes])
            wholes |= {number: owner} if owner is not None else {}
    return {
        part: whole for part, whole in wholes.items() if part in numbers and whole in numbers and whole not in wholes
    }


def _goes_later(doer: int, action: Action, actions: Sequence[Action]) -> bool:
    return any(a.index > action.index and doer in a.subjects and a.verb.travels for a in actions)


def _let_go(holding: Action, actions: Sequence[Action]) -> set[int]:
    """What goes its own way later: "holds a balloon, and it floats away", "holds a ball and throws it"."""
    later = [action for action in actions if action.index > holding.index and not action.negated]
    sending = ("travels", "made_to", "placed")
    sent = {n for a in later if a.verb.object in sending for n in a.objects if n not in a.subjects}
    return sent | {n for a in later if a.verb.travels for n in a.subjects}


def _takes_in_hand(action: Action) -> bool:
    """Whether who does it to a small thing has it in hand meanwhile: who reads it or eats it."""
    handles = action.verb.object is None or action.lemma in word_list("swung")
    return handles and not action.verb.travels and is_reached_for(action.lemma)


def _is_said(action: Action) -> bool:
    return supersense(action.lemma, "verb") == "verb.communication"  # "speaks into a megaphone"


def is_in_hand(
    held: int, holder: int, mentions: Sequence[Mention], largest: float, *, even_fixed: bool = False
) -> bool:
    """Whether it is a thing that its holder can have in hand, by size and kind."""
    thing, doer = noun_of(mentions[held].name), noun_of(mentions[holder].name)
    lifeless = thing.kind in (Kind.OBJECT, Kind.SOFT) and doer.kind is Kind.ANIMATE
    small = thing.height <= largest * doer.height and thing.height * thing.aspect <= doer.height
    fixed = is_a(head_of(mentions[held].name), word_list("fixtures"))
    return (
        lifeless
        and small
        and (even_fixed or not fixed)
        and held != holder
        and mentions[held].count <= HANDFUL * mentions[holder].count
    )


def _is_handy(held: int, holder: int, mentions: Sequence[Mention]) -> bool:
    """Whether it is one, and small enough to go where its holder goes."""
    smaller = noun_of(mentions[held].name).height <= noun_of(mentions[holder].name).height
    return mentions[held].count <= HANDFUL and held != holder and smaller


def _is_attached(number: int, words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> bool:
    """Whether another is said to come with it, and it is a part or something soft that deforms."""
    mention = mentions[number]
    if mention.start < 2 or words[mention.start - 1].lower != "with":
        return False
    elsewhere = mention.end < len(words) and words[mention.end].lower in ("behind", "above", "beside", "around", "near")
    bearer = mention_at(mentions, mention.start - 2)
    beside = (
        bearer is not None and mentions[bearer].use is Use.THING and not elsewhere
    )  # "a desk with a flag behind it"
    deforms = any(action.verb.label is MotionLabel.NON_RIGID for action in actions if number in action.subjects)
    return beside and (part_of(mention.name) is not None or (deforms and noun_of(mention.name).kind is Kind.SOFT))


def _owner(
    number: int, first: str, mentions: Sequence[Mention], actions: Sequence[Action], numbers: Sequence[int]
) -> int | None:
    """Whose it is: of "the door" the last thing that has one; else who acts on it, else the last thing that fits."""
    before = [other for other in numbers if mentions[other].end <= mentions[number].start]
    if first == "the" and mentions[number].name.lower() in word_list("built_in"):
        having = [other for other in before if _has_doors(mentions[other].name)]
        return having[-1] if having else None
    for action in actions:
        doer = action.subjects[0] if action.subjects else number
        if number in action.objects and doer != number and not (first == "its" and is_person(mentions[doer])):
            return doer
    alive = [other for other in before if noun_of(mentions[other].name).kind is Kind.ANIMATE]
    of_body = is_a(mentions[number].head, frozenset(("body part",)))
    fitting = (alive if first in ("his", "her") or of_body else before) or before
    return max(fitting, key=lambda other: mentions[other].end) if fitting else None


def _has_doors(name: str) -> bool:
    return noun_of(name).kind is Kind.VEHICLE or is_a(head_of(name), frozenset(("building", "structure", "vehicle")))
