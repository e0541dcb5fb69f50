"""What the lexicon says of a verb, given the words around it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from planner_service.motion.cues import Manner
from planner_service.motion.nouns import Kind, is_a, noun_of
from planner_service.parser.lexicon import ACTIVITY, Verb, lexicon, word_list
from planner_service.parser.words import Role, Word
from shared.motion_graph import MotionLabel
from shared.wordnet import senses

LEADING = (Role.PREPOSITION, Role.OTHER)
NOMINAL = (Role.DETERMINER, Role.NOUN, Role.ADJECTIVE, Role.NUMBER, Role.PRONOUN)
WAYS = frozenset(("up", "down", "across", "along", "past"))
CARRIED_ON = (*WAYS, "through", "over")
ON_ITS_WAY = Verb(travels=True, direction="sideways", manner=Manner.STRIDE)
"""A verb that is in no group, with a way after it: "shimmies down a palm tree"."""


def entry_of(word: Word, words: Sequence[Word], heads: Sequence[str]) -> tuple[str | None, tuple[int, ...]]:
    """The lexicon's entry for a verb, and the index of its particle; None where it only leads to another verb."""
    base = word.lemma if word.lemma in lexicon().verbs else lexicon().verb_form(word.lower) or word.lemma
    after = words[word.index + 1 : word.index + 4]
    for offset, follower in enumerate(after[:2]):
        phrasal = lexicon().phrasal(base, follower.lower)
        if phrasal in ("carry away", "carry off") and heads and noun_of(heads[0]).kind is Kind.ANIMATE:
            break  # who does so goes along, and no wind does
        open_ended = offset + 1 >= len(after) or after[offset + 1].role not in (
            Role.DETERMINER, Role.NOUN, Role.ADJECTIVE, Role.NUMBER,
        )  # fmt: skip
        if phrasal is not None and (open_ended or lexicon().verbs[phrasal].object is not None):
            return phrasal, (follower.index,)
        if follower.role is not Role.DETERMINER and follower.lower not in ("it", "him", "her", "them"):
            break  # "makes its way", "blows it away"
    for head in heads:
        if (phrasal := lexicon().phrasal(head, base)) is not None:
            return phrasal, ()
    if (
        base in word_list("becoming")
        and after
        and (
            after[0].role is Role.ADJECTIVE
            or (base == "turn" and after[0].role is Role.NOUN and senses(after[0].lower, "adjective"))
        )
    ):
        return "become", ()  # "turns red", "turns gold"
    if (
        base == "get"
        and after
        and after[0].lower in word_list("boarding")
        and (len(after) < 2 or after[1].role in NOMINAL or after[1].text in ".,;!")
    ):
        return "board", ()  # "gets on the bus"
    if base == "get" and after and after[0].lower in ("off", "out"):
        return "alight", ()  # "gets out"
    if base == "pass" and next((w.lower for w in words[word.index :] if w.role in LEADING), None) == "to":
        return "hand", ()  # "passes the ball to a girl"
    later = next((w for w in words[word.index + 1 :] if w.role in LEADING and w.lower != "of"), None)
    if base in ("pull", "take", "lift") and later is not None and later.lower == "out":
        return "take out", (later.index,)  # "pulls a tray out of the oven"
    if base in ("knock", "push", "shove") and later is not None and later.lower == "off":
        return "drop", ()  # "knocks a vase off a table"
    if base == "roll" and any(is_a(w.lower, word_list("wheeled")) for w in after):
        return "push", ()
    blown = later is not None and later.lower in (*CARRIED_ON, "off")
    if base == "blow" and blown and heads and heads[0] in ("wind", "breeze", "gust", "storm"):
        return "blow away", ()
    if base in ("toss", "flip") and later is not None and later.lower == "in":
        return "toss up", ()  # "flips a pancake in a pan"
    if base == "fall" and heads and noun_of(heads[0]).kind is Kind.ANIMATE and _falls_over(word, words):
        return "fall over", ()
    goes = base == "go" and after and after[0].lower in ("out", "off", "on", "dark")
    if goes and heads and is_a(heads[0], word_list("switched")):
        return ("turn on" if after[0].lower == "on" else "turn off"), (after[0].index,)  # "a lamp goes out"
    passive = word.tag == "VBN" and words[word.index - 1].lemma == "be"
    if base in ("see", "show") and passive and after and after[0].role in (Role.PREPOSITION, Role.ADVERB):
        return "be", ()  # "can be seen only in the second half"
    if base == "emerge" and any(is_a(w.lower, frozenset(("body of water", "water"))) for w in after):
        return "rise", ()
    if base == "leave" and word.lower != "left":
        return "exit", ()
    if (
        base in ("make", "use", "prepare")
        and after
        and after[0].role in (Role.DETERMINER, Role.NOUN, Role.ADJECTIVE, Role.NUMBER)
    ):
        return base, ()  # "uses a computer", but not "makes its way"
    if base == "look" and after and after[0].lower in ("into", "through", "over"):
        return base, ()
    if word.lemma in lexicon().aspect_verbs or base in lexicon().aspect_verbs:
        stays = base in ("begin", "start", "continue") and after and after[0].role in (Role.PREPOSITION, Role.DIRECTION)
        return ("be", ()) if stays and after[0].lower != "to" else (None, ())
    if base == "appear" and after and (after[0].lower in ("to", "as") or after[0].role is Role.ADJECTIVE):
        return None, ()
    return base, ()


def _falls_over(word: Word, words: Sequence[Word]) -> bool:
    """Whether who falls stood on the ground: "trips and falls", "falls to the floor", not "falls off a roof"."""
    after = {w.lower for w in words[word.index + 1 : word.index + 5]}
    tripped = any(w.lemma in ("trip", "slip", "stumble") for w in words[max(0, word.index - 3) : word.index])
    return after.isdisjoint(("off", "from", "down")) and (tripped or not after.isdisjoint(("ground", "floor")))


def meaning_of(entry: str, word: Word, words: Sequence[Word], *, crossed: bool) -> Verb:
    """`crossed`: whether the object is something in the picture; "enters a house" has nothing to do with the frame."""
    if entry == "be" and _is_equated(word, words):
        return ACTIVITY
    verb = lexicon().verbs.get(entry)
    if verb is not None and verb.frame is not None and crossed:
        verb = replace(verb, frame=None)
    return _with_way(verb, word, words)


def goes_along(entry: str, word: Word, words: Sequence[Word]) -> bool:
    """Whether what follows is no object but the way: "slides down a banister"."""
    verb = lexicon().verbs.get(entry)
    return verb is not None and verb.direction == "sideways" and _has_a_way(word, words)


def _is_equated(word: Word, words: Sequence[Word]) -> bool:
    """Whether "is" says what something is or does, not where: "a person is clay pottery making"."""
    after = words[word.index + 1] if word.index + 1 < len(words) else None
    return after is not None and after.role in (Role.NOUN, Role.ADJECTIVE)


def _with_way(verb: Verb | None, word: Word, words: Sequence[Word]) -> Verb:
    """What a verb says, with the way after it: "somersaults down a hill" goes down it."""
    if verb is not None and verb.object == "held" and verb.travels:
        after = takewhile(lambda w: w.role is not Role.VERB and w.text not in ",.;", words[word.index + 1 :])
        return replace(verb, direction="sideways") if any(w.lower in CARRIED_ON for w in after) else verb
    if verb == ACTIVITY or not _has_a_way(word, words):
        return verb or ACTIVITY
    if verb is None:
        return ON_ITS_WAY if words[word.index + 1].tag != "RP" else ACTIVITY  # not "gobbles up a carrot"
    moves = verb.travels or verb.label is MotionLabel.MOTIONLESS or verb.object not in (None, "made_to")
    return verb if moves else replace(verb, travels=True, direction=verb.direction or "sideways")


def _has_a_way(word: Word, words: Sequence[Word]) -> bool:
    """Whether a preposition of movement follows, and its noun phrase."""
    after = [w for w in words[word.index + 1 : word.index + 4] if w.role is not Role.ADVERB]
    return len(after) > 1 and after[0].lower in WAYS and after[1].role in (Role.DETERMINER, Role.NOUN, Role.ADJECTIVE)
