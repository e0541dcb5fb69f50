"""A prompt's words with the part each plays: spaCy's tags, mended where they commonly go wrong for prompts.

Prompts are short and often fragments ("Sled slides down a hill"), and a small model takes many a verb in them for a
noun.  A word that is a listed verb's third person, right after a noun that could be its subject, is that verb.
"""

from dataclasses import dataclass
from enum import Enum, auto

from spacy.tokens import Doc, Token

from planner_service.nouns import known
from planner_service.parser.lexicon import Lexicon

DIRECTION_WORDS = frozenset(
    "left right leftward leftwards rightward rightwards upward upwards downward downwards".split()
)
PREPOSITION_TAGS = ("IN", "TO", "RP")


class Role(Enum):
    NOUN = auto()
    VERB = auto()
    AUXILIARY = auto()
    ADJECTIVE = auto()
    DETERMINER = auto()
    NUMBER = auto()
    PRONOUN = auto()
    PREPOSITION = auto()
    ADVERB = auto()
    DIRECTION = auto()
    LINK = auto()  # within a noun phrase: hyphen, possessive 's
    OTHER = auto()


ROLES = {
    **dict.fromkeys(("NN", "NNS", "NNP", "NNPS", "FW", "GW", "ADD"), Role.NOUN),
    **dict.fromkeys(("VB", "VBD", "VBG", "VBN", "VBP", "VBZ"), Role.VERB),
    **dict.fromkeys(("JJ", "JJR", "JJS", "AFX"), Role.ADJECTIVE),
    **dict.fromkeys(("DT", "PDT", "PRP$", "WP$"), Role.DETERMINER),
    **dict.fromkeys(("PRP", "WP", "WDT", "EX"), Role.PRONOUN),
    **dict.fromkeys(PREPOSITION_TAGS, Role.PREPOSITION),
    **dict.fromkeys(("RB", "RBR", "RBS", "WRB"), Role.ADVERB),
    **dict.fromkeys(("HYPH", "POS"), Role.LINK),
    "CD": Role.NUMBER,
    "MD": Role.AUXILIARY,
}


@dataclass(frozen=True)
class Word:
    index: int
    text: str
    role: Role
    lemma: str
    tag: str
    token: Token

    @property
    def lower(self) -> str:
        return self.text.lower()

    @property
    def is_plural(self) -> bool:
        return self.tag in ("NNS", "NNPS") or self.lower in ("people", "men", "women", "children")


def words_of(doc: Doc, lexicon: Lexicon) -> list[Word]:
    words = [
        Word(token.i, token.text, _role(token), token.lemma_.lower(), token.tag_, token)
        for token in doc
    ]
    for index in range(len(words)):
        words[index] = _mended(words, index, lexicon)
    return words


def _role(token: Token) -> Role:
    if token.pos_ == "AUX":
        return Role.AUXILIARY
    if token.lower_ in DIRECTION_WORDS:
        return Role.DIRECTION
    if token.lower_ in ("someone", "somebody"):
        return Role.NOUN
    return ROLES.get(token.tag_, Role.OTHER)


def _mended(words: list[Word], index: int, lexicon: Lexicon) -> Word:
    word = words[index]
    before = words[index - 1] if index else None
    after = words[index + 1] if index + 1 < len(words) else None
    if word.role is Role.DIRECTION:
        if word.lower == "left" and word.tag in ("VBN", "VBD") and before and before.role is Role.NOUN:
            return _as_verb(word, "leave")
        return word
    if word.role is Role.AUXILIARY and word.token.dep_ not in ("aux", "auxpass") and word.tag != "MD":
        return _as_verb(word, word.lemma)
    if word.role is Role.VERB and _modifies_a_noun(before, word, after):
        return Word(word.index, word.text, Role.ADJECTIVE, word.lemma, word.tag, word.token)
    if word.role is Role.NOUN and before is not None and _could_be_subject(words, index - 1):
        verb = lexicon.verb_form(word.lower)
        ends_the_phrase = after is None or after.role not in (Role.NOUN, Role.VERB, Role.AUXILIARY, Role.LINK)
        third_person = word.lower.endswith("s") or (known(before.lower) is not None and known(word.lower) is None)
        if verb is not None and ends_the_phrase and third_person:
            return _as_verb(word, verb)
    return word


def _as_verb(word: Word, lemma: str) -> Word:
    return Word(word.index, word.text, Role.VERB, lemma, "VBZ" if word.lower.endswith("s") else "VBP", word.token)


def _modifies_a_noun(before: Word | None, word: Word, after: Word | None) -> bool:
    """"a waiting dog", "two crowded cafe tables"."""
    return (
        word.tag in ("VBG", "VBN")
        and after is not None
        and after.role in (Role.NOUN, Role.ADJECTIVE)
        and (before is None or before.role in (Role.DETERMINER, Role.NUMBER, Role.ADJECTIVE))
        and not (before is None and word.tag == "VBG")
    )


def _could_be_subject(words: list[Word], index: int) -> bool:
    """Whether the word is a noun, or a mistagged one, with which a clause could begin."""
    word = words[index]
    if word.role is Role.ADJECTIVE and known(word.lower) is None:
        return False
    if word.role not in (Role.NOUN, Role.ADJECTIVE) or word.is_plural:
        return False
    first = index
    while first > 0 and words[first - 1].role in (Role.NOUN, Role.ADJECTIVE, Role.NUMBER, Role.LINK):
        first -= 1
    start = words[first - 1] if first else None
    return start is None or start.lower in ("a", "an", "the", "one", "another", ",", "and", "while", "as")
