"""What the planner knows of things: `nouns.toml`, looked up by noun phrase."""

import math
import re
import tomllib
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

from shared.wordnet import Sense, ancestors, base_of, senses


class Kind(StrEnum):
    ANIMATE = "animate"
    SOFT = "soft"
    VEHICLE = "vehicle"
    OBJECT = "object"


class Habitat(StrEnum):
    GROUND = "ground"
    AIR = "air"
    WATER = "water"
    ANY = "any"


class Noun(NamedTuple):
    height: float
    """Share of the frame's height."""
    aspect: float
    """Width over height, in pixels."""
    kind: Kind
    habitat: Habitat


UNKNOWN = Noun(height=0.28, aspect=1.1, kind=Kind.OBJECT, habitat=Habitat.GROUND)
"""A medium-sized object: what a noun is that the table does not have."""

SIZE_WORDS = dict(
    tiny=0.5, miniature=0.5, toy=0.4, small=0.7, little=0.7, baby=0.7, young=0.85, big=1.25, large=1.25, tall=1.25,
    huge=1.5, giant=1.6, enormous=1.6, massive=1.6,
)  # fmt: skip

OF_PEOPLE = ("man", "woman", "boy", "girl", "person", "ist", "ician")
"""Endings of nouns for people that the table does not have."""

CONCRETE = frozenset(
    ("noun.animal", "noun.artifact", "noun.body", "noun.food", "noun.group", "noun.object", "noun.person",
     "noun.plant", "noun.shape", "noun.substance")
)  # fmt: skip
"""Supersenses of what can be drawn in a box."""

UNNAMED = frozenset(("noun.location", "noun.phenomenon"))
"""Nor are these anybody's names."""

GIVEN_NAMES = frozenset(
    ("sam", "jack", "bill", "mark", "frank", "bob", "max", "jill", "pat", "sue", "nick", "ray", "art", "gene", "jean",
     "carol", "grace", "hope", "faith", "jay", "grant", "don", "rob", "tom", "tim")
)  # fmt: skip
"""Names that WordNet has as things."""

ALIVE = frozenset(("noun.animal", "noun.person"))

MATERIALS = frozenset(
    ("plastic", "wooden", "porcelain", "ceramic", "bronze", "marble", "stone", "stuffed", "origami", "crystal", "metal",
     "iron", "copper", "clay", "wax", "inflatable", "knitted", "rubber", "glass", "paper", "cardboard", "granite",
     "lego")
)  # fmt: skip
"""A creature made of one of these is a thing."""

IRREGULAR_PLURALS = dict(
    people="person", men="man", women="woman", children="child", mice="mouse", geese="goose", feet="foot",
    teeth="tooth", leaves="leaf", wolves="wolf", knives="knife", loaves="loaf", shelves="shelf", oxen="ox",
    puppies="puppy", butterflies="butterfly", dragonflies="dragonfly", movies="movie", cookies="cookie",
    zombies="zombie", pies="pie", ties="tie", selfies="selfie", cacti="cactus", octopi="octopus", fungi="fungus",
)  # fmt: skip


@cache
def table() -> dict[str, Noun]:
    groups = tomllib.loads(files(__package__).joinpath("nouns.toml").read_text(encoding="utf-8"))
    return {
        noun: Noun(height, aspect, Kind(group["kind"]), Habitat(group["habitat"]))
        for group in groups.values()
        for noun, (height, aspect) in [
            *((noun, group["size"]) for noun in group.get("more", ())),
            *group["nouns"].items(),
        ]
    }


def singular(word: str) -> str:
    """The singular of an English noun in lower case; a singular stays as it is, with few exceptions."""
    if word in table():
        return word
    if word in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[word]
    if (irregular := base_of(word)) is not None:
        return irregular
    if word.endswith("s"):
        for stem in (word[:-1], word[:-2], word.removesuffix("ves") + "f"):
            if stem in table():
                return stem
    if word.endswith("men"):
        return word[:-3] + "man"
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses", "zzes", "oes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is", "'s")) and len(word) > 3:
        return word[:-1]
    return word


def head_phrase(name: str) -> str:
    """A noun phrase without what follows its noun: "girl with curly hair" is "girl"."""
    return re.split(r" (?:of|with|in|wearing) ", name)[0]


def known(name: str) -> Noun | None:
    """The table's entry for a noun phrase: of its last three words, two, then one; "bowl of soup" is a bowl.

    Of people and animals that the table does not have, the entry of what WordNet says they are a kind of.
    """
    words = _last_words(name)
    for length in (3, 2):
        if (noun := table().get(" ".join(words[-length:]))) is not None:
            return noun
    if not words:
        return None
    listed = table().get(words[-1])
    compound = _kind(" ".join(words[-2:])) if len(words) > 1 else None
    if compound is not None and not (listed is not None and listed.kind is compound.kind is Kind.ANIMATE):
        return compound  # a hot dog is no dog, but a lone wolf is a wolf
    if listed is not None:
        return listed
    if words[-1].endswith(OF_PEOPLE):
        return table()["person"]
    common = {sense.supersense for sense in _common(words[-1])} & CONCRETE
    if common == {"noun.person"}:
        return _kind(words[-1]) or table()["person"]  # a goblin
    return _kind(words[-1]) if common and common <= ALIVE else None


@lru_cache(maxsize=4096)
def noun_of(name: str) -> Noun:
    """What is known of a noun phrase, its size words applied."""
    words = _last_words(name)
    called = table()["person"] if is_personal(head_phrase(name)) else None
    noun = called or known(name) or (words and (_kind(" ".join(words[-2:])) or _kind(words[-1]))) or UNKNOWN
    attributes = head_phrase(name).lower().split()[:-1]
    factor = math.prod(SIZE_WORDS.get(word, 1.0) for word in attributes)
    made = noun.kind is Kind.ANIMATE and not MATERIALS.isdisjoint(attributes)
    kind = Kind.OBJECT if made else noun.kind
    return noun._replace(height=max(0.05, min(0.9, noun.height * factor)), kind=kind)


@cache
def is_personal(name: str) -> bool:
    """Whether capitalised words are somebody's name: the last is one in WordNet, or no thing that it has in use."""
    lower = name.split()[-1].lower() if name else ""
    if not name.istitle() or not lower.isalpha() or lower in table():
        return False
    if lower in GIVEN_NAMES:
        return True
    found = senses(lower)
    if found and ancestors(found[0].offset)[0].is_name:
        return found[0].supersense == "noun.person"
    return not any(sense.used or sense.supersense in {*CONCRETE, *UNNAMED} - {"noun.person"} for sense in found)


@cache
def is_abstract(lemma: str) -> bool:
    """Whether nothing that a noun commonly means could be drawn in a box: "journey", "atmosphere"."""
    common = _common(lemma)
    return bool(common) and not any(sense.supersense in CONCRETE for sense in common)


@cache
def is_a(lemma: str, kinds: frozenset[str]) -> bool:
    """Whether a noun, in its commonest concrete sense, is one of these or a kind of one: a stool is a seat."""
    sense = next((s for s in (*_common(lemma), *senses(lemma)) if s.supersense in CONCRETE), None)
    if sense is None:
        return lemma in kinds
    return lemma in kinds or any(not kinds.isdisjoint(synset.lemmas) for synset in ancestors(sense.offset))


def _common(lemma: str) -> list[Sense]:
    """The senses that are used at least a quarter as often as the commonest, which comes first."""
    found = [sense for sense in senses(lemma) if not ancestors(sense.offset)[0].is_name]
    most = max((sense.used for sense in found), default=0)
    return sorted((sense for sense in found if sense.used >= most / 4), key=lambda sense: -sense.used)


@cache
def _kind(lemma: str) -> Noun | None:
    """The table's entry for the nearest thing that a noun is a kind of."""
    common = [sense for sense in _common(lemma) if sense.supersense in CONCRETE]
    lifeless = [sense for sense in common if sense.supersense not in ALIVE]
    for sense in lifeless or common:
        for number, synset in enumerate(ancestors(sense.offset)):
            for name in synset.lemmas:
                alike = name in table() and (table()[name].kind is Kind.ANIMATE) == (sense.supersense in ALIVE)
                if alike and (number == 0 or senses(name)[0].offset == synset.offset):
                    return table()[name]
    return None


def _last_words(name: str) -> list[str]:
    words = head_phrase(name).lower().replace("-", " ").split()
    return [*words[:-1], singular(words[-1])][-3:] if words else []
