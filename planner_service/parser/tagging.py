"""spaCy's tags, mended where they commonly go wrong for prompts.

Prompts are short and often fragments ("Sled slides down a hill"), and a small model takes many a verb in them for a
noun.  A word that is a listed verb's third person, right after a noun that could be its subject, is that verb.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from planner_service.motion.nouns import IRREGULAR_PLURALS, Kind, is_a, is_personal, known, singular
from planner_service.parser.lexicon import lexicon, word_list
from planner_service.parser.words import FINITE, ROLES, Role, Word, spelled_number
from shared.wordnet import base_of, senses, supersense

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token

LEADING_ON = (Role.PREPOSITION, Role.DETERMINER, Role.ADVERB, Role.DIRECTION)
"""What follows a verb rather than a noun phrase's last noun."""
CORNERED = ("top", "bottom", "upper", "lower", "far")
"""Before "left" these name a corner."""
ONWARD = ("forward", "forwards", "backward", "backwards")
NOMINAL = (Role.NOUN, Role.ADJECTIVE)
SINGULAR = ("a", "an", "one", "another", "each", "every")
BEFORE_A_NOUN = (Role.DETERMINER, Role.ADJECTIVE, Role.NUMBER)


def words_of(doc: Doc) -> list[Word]:
    words = [Word(token.i, token.text, _role(token), token.lemma_.lower(), _tag(token), token) for token in doc]
    for before, word in pairwise(words):
        if word.lower == "one" and before.lower == "some":
            words[before.index] = replace(before, role=Role.OTHER)
            words[word.index] = replace(word, text="someone", role=Role.NOUN, tag="NN")
        if word.lower == "one" and word.role is Role.NUMBER and before.role is Role.ADJECTIVE:
            words[word.index] = replace(word, role=Role.NOUN, tag="NN")  # "the big one"
    for index in range(len(words)):
        words[index] = _correct_role(words, index)
        mended = words[index].role is Role.VERB and words[index].tag != words[index].token.tag_
        if mended and index and words[index - 1].role is Role.ADJECTIVE:
            words[index - 1] = replace(words[index - 1], role=Role.NOUN)  # its subject
    return words


def _tag(token: Token) -> str:
    """The tagger's, but neither a third person nor a plural name without an "s": "two waltz", "Romeo kisses"."""
    if token.tag_ == "VBZ" and not token.lower_.endswith("s"):
        return "VBP"
    if token.i == 0 and len(token.doc) > 1 and token.doc[1].lower_ == "and" and is_personal(token.text):
        return "NNP"  # "Gandalf and Frodo"
    named = token.tag_ == "NNS" and not token.lower_.endswith("s") and is_personal(token.text)
    return "NNP" if named else str(token.tag_)


def _role(token: Token) -> Role:
    if token.pos_ == "AUX":
        return Role.AUXILIARY
    if token.lower_ in word_list("direction_words"):
        return Role.DIRECTION
    role = ROLES.get(_tag(token), Role.OTHER)
    if role in NOMINAL and token.i + 1 < len(token.doc) and (spelled_number(token.lower_) or 0) > 1:
        return Role.NUMBER  # "Eleven swans"
    return Role.DETERMINER if role is Role.NOUN and token.lower_ in word_list("determiners") else role


def _correct_role(words: list[Word], index: int) -> Word:
    word = words[index]
    before = words[index - 1] if index else None
    after = words[index + 1] if index + 1 < len(words) else None
    follows = words[index + 2] if index + 2 < len(words) else None
    if word.role is Role.DIRECTION:
        behind = before is not None and before.role is Role.NOUN and before.lower not in CORNERED
        left_behind = behind and after is not None and word.lower == "left" and word.tag in ("VBN", "VBD")
        return _as_verb(word, "leave") if left_behind else word
    noun = known(word.lower) is not None and not word.lower.endswith("s")
    alone = word.tag == "MD" and (after is None or after.role not in (Role.VERB, Role.ADVERB, Role.AUXILIARY))
    if word.role is Role.AUXILIARY and (noun or word.token.dep_ in ("pobj", "dobj") or (alone and senses(word.lower))):
        return replace(word, role=Role.NOUN)  # "a yellow rose", "with a watering can"
    if word.role is not Role.NOUN and word.lower not in ONWARD and _is_misread_noun(words, index):
        return replace(word, role=Role.NOUN, tag="NNS" if word.tag == "VBZ" else "NN")
    if word.role is Role.AUXILIARY and word.tag in FINITE and words[word.token.head.i].role is Role.DIRECTION:
        return _as_verb(word, word.lemma)  # "a car goes left"
    if word.role is Role.AUXILIARY and word.lemma == "be" and after is not None and after.lower == "gone":
        return _as_verb(word, word.lemma)
    if word.role is Role.AUXILIARY and word.token.dep_ not in ("aux", "auxpass") and word.tag != "MD":
        return _as_verb(word, word.lemma)
    if word.lower == "gone" and before is not None and before.lemma == "be":
        return replace(word, role=Role.ADJECTIVE)  # it is there no longer
    if word.role is Role.VERB and _modifies_a_noun(before, word, after, follows):
        return replace(word, role=Role.ADJECTIVE)
    if word.role in (Role.VERB, Role.OTHER) and known(word.lower) is not None and _is_hidden_noun(words, index):
        return replace(word, role=Role.NOUN)
    if word.role in (Role.NOUN, Role.ADJECTIVE) and before is not None:
        verb = _hidden_verb(words, index) or _coordinated_verb(words, index)
        if verb is not None:
            return _as_verb(word, verb)
    return word


def _is_misread_noun(words: list[Word], index: int) -> bool:
    """Whether what was taken for something else can only be a noun: "golden retriever", "a metal coat rack"."""
    word = words[index]
    before = words[index - 1] if index else None
    if word.role is Role.VERB and lexicon().verb_form(word.lower) is None and supersense(word.lemma, "verb") is None:
        return bool(senses(singular(word.lower))) and word.tag != "VBG"  # "Mermaid on a rock"
    bare = word.role is Role.VERB and word.tag in ("VB", "VBP") and bool(senses(word.lower))
    if bare and before is not None and before.text == ",":
        follows = words[index + 1] if index + 1 < len(words) else None
        acts = follows is not None and follows.tag == "VBG"  # "…, steam rising"
        listed = known(word.lower) if lexicon().verb_form(word.lower) is None else None
        subject = any(child.dep_ == "nsubj" for child in word.token.children)
        alive = listed is not None and listed.kind is Kind.ANIMATE  # "…, kitten on her knees"
        return acts or alive or (listed is not None and not subject)  # "…, crowd in the background"
    plural = word.role is Role.VERB and word.tag == "VBZ" and bool(senses(singular(word.lower)))
    if plural and before is not None and _lacks_its_plural(words, index - 1):
        return True  # "four cartoon pirates"
    if plural and index + 1 < len(words) and words[index + 1].tag == "VBG":
        first = _phrase(words, index)[0].index
        if first > 0 and words[first - 1].text == ",":
            return True  # "…, autumn leaves falling"
    if word.role is Role.VERB and word.tag == "VBZ" and _is_plural_noun(word):
        return before is None or before.role is not Role.NOUN
    if word.lower in IRREGULAR_PLURALS and word.role in (Role.ADJECTIVE, Role.OTHER):
        return True
    if before is None:
        follows = words[1] if len(words) > 1 else None
        bare = word.tag in ("VB", "VBP") and follows is not None and follows.role is Role.NOUN
        return bare and lexicon().verb_form(word.lower) is None  # "Corduroy cloth"
    after = words[index + 1] if index + 1 < len(words) else None
    ends = after is None or after.role in (Role.OTHER, Role.PREPOSITION)
    if word.role is Role.ADJECTIVE and ends and before.role is Role.ADJECTIVE and known(word.lower) is not None:
        return _start_of_phrase(words, index - 1) in ("a", "an", "the")  # "a pink convertible"
    alone = before.text == "," and not senses(word.lower, "adjective")  # "…, puppy on her knees"
    if word.role is Role.ADJECTIVE and ends and (alone or before.role in (Role.DETERMINER, Role.NUMBER)):
        joined = (
            words[index + 2].role if after is not None and after.lower == "and" and index + 2 < len(words) else None
        )
        noun = known(word.lower) is not None or (bool(senses(word.lower)) and not senses(word.lower, "adjective"))
        return noun and joined is not Role.ADJECTIVE  # "over a pebble", not "an orange and white"
    if word.role is Role.ADJECTIVE and after is not None and after.role is Role.VERB and after.tag in ("VBG", "VBZ"):
        return known(word.lower) is not None and before.role in BEFORE_A_NOUN  # "striped seagull soaring"
    if word.role in (Role.ADVERB, Role.PRONOUN):
        return before.role in (*BEFORE_A_NOUN, Role.NOUN) and known(word.lower) is not None
    if word.role is Role.VERB and word.tag in ("VB", "VBP") and not before.is_plural and before.role in NOMINAL:
        shared = after is not None and after.role is Role.DETERMINER and _ends_a_pair(words, index)
        several = shared or _is_of_several(words, index - 1) or _is_verb_of_several(words, index)
        if several and supersense(word.lemma, "verb") is not None:
            return False  # "the lights of a truck shine"
        one_such = _start_of_phrase(words, index - 1) in ("a", "an")
        owner = known(before.lower)
        things = owner is not None and owner.kind is not Kind.ANIMATE
        if one_such and things and not _ends_a_pair(words, index):
            return True  # "a swing set"
        return lexicon().verb_form(word.lower) is None and (known(word.lower) is not None or one_such)
    return False


def _is_of_several(words: list[Word], index: int) -> bool:
    """Whether the phrase that ends at `index` says whose several things are: "the lights of a truck"."""
    first = _phrase(words, index)[0].index
    return first > 2 and words[first - 2].lower == "of" and words[first - 3].is_plural


def _lacks_its_plural(words: list[Word], index: int) -> bool:
    """Whether the phrase that ends at `index` has a number above one and a noun that is no plural."""
    phrase = _phrase(words, index)
    number = any(inner.role is Role.NUMBER and (spelled_number(inner.lower) or 0) > 1 for inner in phrase)
    return number and words[index].tag == "NN" and not any(inner.is_plural for inner in phrase)


def _is_plural_noun(word: Word) -> bool:
    """Whether a verb's third person can only be a plural: "seagulls circle", "sparks fly"."""
    no_verb = lexicon().verb_form(word.lower) is None and supersense(word.lemma, "verb") is None
    head = word.token.head
    subject = word.token.dep_ == "nsubj" and head.i == word.index + 1 and head.tag_ in ("VBP", "VB")
    return subject or (no_verb and known(word.lower) is not None)


def _is_hidden_noun(words: list[Word], index: int) -> bool:
    """Whether a listed noun that was taken for a verb or a cry is a noun: "a red building", "Pig with wings"."""
    if index == 0:
        return words[index].tag in ("UH", "VB")
    before = words[index - 1]
    object_of = before.role is Role.VERB and before.tag == "VBZ" and words[index].tag in ("VB", "VBP")  # "kneads dough"
    return before.role in BEFORE_A_NOUN or object_of


def _modifies_a_noun(before: Word | None, word: Word, after: Word | None, follows: Word | None) -> bool:
    """Whether it is a participle as in "a waiting dog", "two crowded cafe tables", "…, falling leaves"."""
    if word.tag not in ("VBG", "VBN") or after is None or after.role not in NOMINAL:
        return False
    if before is not None and before.text not in word_list("clause_marks"):
        return before.role in (*BEFORE_A_NOUN, Role.LINK) or (before.role is Role.PREPOSITION and word.tag == "VBN")
    opens = before is None and (word.tag == "VBN" or (follows is not None and follows.tag in ("VBG", "VBZ")))
    return opens or (word.token.dep_ == "amod" and word.token.head.i > word.index)


def _hidden_verb(words: list[Word], index: int) -> str | None:
    """The verb that a word taken for a noun is, if it is one: "a ball rolls", "five bunnies nibble on clover"."""
    word, before = words[index], words[index - 1]
    if word.lower in ("morning", "evening"):
        return None
    after = words[index + 1] if index + 1 < len(words) else None
    listed = lexicon().verb_form(word.lower)
    other = before.lower == "other" and any(earlier.lower == "one" for earlier in words[:index])
    if (before.lower == "one" or other) and word.is_plural:
        return listed  # "one flies away, the other stays"
    if before.role is Role.DIRECTION and word.is_plural and after is not None and after.role in LEADING_ON:
        return listed  # "the man on the left waves at a child"
    leads_on = after is not None and (after.role in LEADING_ON or after.text in (",", ".", ";"))
    goes_on = leads_on and word.lower.endswith("ing")  # "a car racing past"
    if before.role not in (Role.NOUN, Role.ADJECTIVE) or (
        senses(f"{before.lower} {word.lower}") and not goes_on and not _ends_a_pair(words, index)
    ):
        return None  # "a car park"
    start = _start_of_phrase(words, index - 1)
    number = any(inner.role is Role.NUMBER or inner.lower in lexicon().numbers for inner in _phrase(words, index - 1))
    clashes = start in SINGULAR and not number and word.is_plural and not before.is_plural
    acts = known(word.lower) is None or supersense(word.lemma, "verb") is not None
    ends = after is None or after.role not in (Role.NOUN, Role.ADJECTIVE)  # not "a red sports car"
    noun = known(before.lower)
    ends = ends or (noun is not None and noun.kind is Kind.ANIMATE)  # "a kitten tangles yarn"
    if clashes and (listed is not None or (ends and acts)):
        return listed or word.lemma  # "a puffin flies left": one puffin cannot be "flies"
    if not word.is_plural and acts and _is_verb_of_several(words, index):
        return listed or word.lower
    lives = is_personal(before.text) or (noun is not None and noun.kind is Kind.ANIMATE)
    takes = after is not None and (after.role in (Role.NOUN, Role.DETERMINER) or lexicon().is_in("worn", after.lower))
    if takes and lives and acts and _ends_a_pair(words, index):
        return listed or word.lower  # "a clown and a mime shake hands"
    if (
        after is not None
        and after.lower != "side"
        and after.role in (Role.NOUN, Role.VERB, Role.AUXILIARY, Role.LINK, Role.ADJECTIVE)
    ):
        is_participle = word.lower.endswith("ing") and listed is not None
        return listed if is_participle and known(before.lower) is not None else None
    unknown = known(word.lower) is None
    if word.lower.endswith("ing"):
        ends = after is None or after.role is Role.OTHER
        blooms = listed is not None and ends and known(before.lower) is not None
        return (listed or word.lower.removesuffix("ing")) if (leads_on or blooms) and unknown else None
    if before.is_plural and word.lower.endswith("s") and (unknown or lexicon().is_in("worn", before.lower)):
        return listed  # "a swarm of wasps hovers"
    if before.is_plural:
        base_form = not word.lower.endswith("s") and (
            (listed is not None and (unknown or leads_on)) or (unknown and leads_on)
        )
        return (listed or word.lower) if base_form else None
    if before.role is Role.ADJECTIVE and known(before.lower) is None:
        return None
    if start is None or start in word_list("opening"):
        subject = known(before.lower) is not None or is_personal(before.text)
        third_person = word.lower.endswith("s") or (subject and unknown)
        return listed if third_person else None
    return None


def _ends_a_pair(words: list[Word], index: int) -> bool:
    """Whether "and" joins the phrase before a word to another, with no verb yet: "a fork and a soup spoon lie"."""
    start = _phrase(words, index - 1)[0].index - 1
    joined = start > 1 and words[start].role is Role.DETERMINER and words[start - 1].lower == "and"
    joined = joined or (start > 0 and words[start].lower == "and" and words[start + 1].tag == "NNP")  # "Anna and Bob"
    plural = words[index].lower.endswith("ss") or not words[index].lower.endswith(("s", "ing"))
    return joined and plural and all(word.role is not Role.VERB for word in words[:index])


def _is_verb_of_several(words: list[Word], index: int) -> bool:
    """Whether a sentence about two has no other verb: "a king in a robe and a queen in a gown shake hands"."""
    garment = words[index - 1].lower
    if not (lexicon().is_in("worn", garment) or is_a(garment, word_list("clothes"))):
        return False
    sentence = [word for word in words if word.token.sent.start == words[index].token.sent.start]
    first = _phrase(words, index - 1)[0].index
    joined = any(a.lower == "and" and b.role is Role.DETERMINER for a, b in pairwise(sentence) if b.index < first)
    after = words[index + 1] if index + 1 < len(words) else None
    if not joined or words[first - 2].lower not in ("in", "with", "wearing") or after is None:
        return False
    goes_on = after.role in LEADING_ON or after.token.tag_ in ("NNS", "VBZ")
    rest = (word for word in sentence if word.index not in (index, index + 1))
    return goes_on and not any(word.role in (Role.VERB, Role.AUXILIARY) for word in rest)


def _coordinated_verb(words: list[Word], index: int) -> str | None:
    """The verb that a word is which goes on after "and" or a comma: "flies up, hovers, then …", "and climbs on"."""
    word, before = words[index], words[index - 1]
    # "goes up and leaves", not "grass and leaves"
    joins = before.lower == "and" and words[index - 2].role is not Role.NOUN
    follows = words[index + 1].lower if index + 1 < len(words) else ""
    joins = joins or (before.lower == "and" and follows in word_list("ways"))  # "a house and flies toward a hill"
    noun = known(word.lower) is not None and not (joins and lexicon().verb_form(word.lower) is not None)
    if before.lower not in (",", "and", "then") or not word.lower.endswith("s") or noun:
        return None
    if not any(earlier.role is Role.VERB and earlier.tag == "VBZ" for earlier in words[:index]):
        return None
    after = words[index + 1] if index + 1 < len(words) else None
    ends = after is None or after.role in LEADING_ON or after.lower in (",", "and", "then", ".")
    only_verb = word.lemma if base_of(word.lower, "verb") or not senses(singular(word.lower)) else None
    return (lexicon().verb_form(word.lower) or only_verb) if ends else None


def _phrase(words: list[Word], index: int) -> list[Word]:
    """The adjectives and nouns that end at `index`."""
    first = index
    while first > 0 and words[first - 1].role in (Role.NOUN, Role.ADJECTIVE, Role.NUMBER, Role.LINK):
        first -= 1
    return words[first : index + 1]


def _start_of_phrase(words: list[Word], index: int) -> str | None:
    """The word before the adjectives and nouns that end at `index`; None at the beginning."""
    first = _phrase(words, index)[0].index
    return words[first - 1].lower if first else None


def _as_verb(word: Word, lemma: str) -> Word:
    tag = "VBG" if word.lower.endswith("ing") else "VBZ" if word.lower.endswith("s") else "VBP"
    return replace(word, role=Role.VERB, lemma=lemma, tag=tag)
