"""A prompt's words, each with the part it plays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import TYPE_CHECKING

from text_to_num import text2num

from planner_service.motion.nouns import IRREGULAR_PLURALS

if TYPE_CHECKING:
    from spacy.tokens import Token

FINITE = ("VBZ", "VBP", "VBD")
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
        return self.tag in ("NNS", "NNPS") or self.lower in IRREGULAR_PLURALS


@cache
def spelled_number(text: str) -> int | None:
    """What number words in lower case say."""
    try:
        return int(text2num(text, "en")) if text else None
    except ValueError:
        return None
