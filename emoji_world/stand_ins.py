"""People's nouns and places → the world's: what it has itself, else the nearest that it has.

A noun in its commonest sense is compared with every sprite by how deep their nearest common ancestor lies in WordNet
(Wu and Palmer's similarity).  `INSTEAD` holds what WordNet sees otherwise than people do.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TypeVar

from emoji_world.spec import Background
from emoji_world.vocabulary import SPRITES, Kind
from shared.wordnet import ancestors, base_of, senses

T = TypeVar("T")


def _by_word(table: Mapping[T, str]) -> dict[str, T]:
    """Meaning → "word word …" turned into word → meaning."""
    return {word: meaning for meaning, words in table.items() for word in words.split()}


INSTEAD = _by_word(
    {
        "dog": "puppy pup doggy",
        "cat": "kitten kitty tabby rabbit bunny mouse rat squirrel hamster monkey tiger",
        "pig": "turtle tortoise frog lizard crocodile",
        "horse": "unicorn dinosaur dragon kangaroo camel",
        "cow": "elephant rhino hippo",
        "fish": "whale dolphin orca seal snake eel octopus jellyfish squid crab lobster",
        "bird": "chicken hen rooster turkey",
        "butterfly": "moth fairy",
        "man": "person people boy guy kid child baby toddler king crowd couple snowman",
        "woman": "girl queen princess waitress ballerina mother grandmother actress bride witch nurse",
        "robot": "android droid cyborg toy man woman",
        "tree": "bamboo cactus palm oak flower",
        "flower": "rose tulip daisy blossom bouquet lily mushroom leaf",
        "leaf": "petal feather snowflake",
        "ball": "football basketball soccer volleyball marble sphere globe moon sun planet bubble balloon",
        "balloon": "parachute lantern kite",
        "airplane": "rocket drone spaceship spacecraft ufo missile helicopter",
        "boat": "surfboard raft",
        "bicycle": "skateboard scooter unicycle wheelchair",
        "train": "subway tram locomotive",
        "truck": "van tank tractor bulldozer",
        "car": "vehicle bicycle bus truck train",
        "house": "church tower castle shop store cabin barn cottage temple skyscraper",
        "flag": "curtain scarf cloth banner",
    }
)
"""Where a world lacks that sprite too, what stands in for the sprite."""
LEAST_DEPTH = 7
"""Of a common ancestor, counted from the root: animal, person and vehicle are as deep, artifact and organism not."""
DEPTHS = {"house": 6, "leaf": 8, "ball": 8, "robot": 9, "flag": 9}
"""Where things of other kinds are near: a guitar and a robot are both devices."""
LEAST_LIKENESS = 0.6

PLACES: dict[str, Background] = _by_word(
    {
        "sky": "sky air heaven cloud",
        "grass": "grass field meadow park lawn garden forest farm hill pasture countryside yard wood jungle prairie",
        "road": "road street highway city avenue lane bridge path town driveway motorway parking sidewalk track",
        "sea": "sea water ocean lake river pond pool harbor bay aquarium",
        "night": "night dark darkness midnight space moonlight evening nighttime stars",
        "sand": "sand desert dune beach shore coast",
        "snow": "snow ice winter snowy glacier",
        "room": "room kitchen floor indoors office studio table bedroom cafe restaurant gym stage desk hallway "
        "corridor hall classroom library bar sofa couch armchair bed stove carpet",
    }
)
USUAL_PLACE: dict[Kind, Background] = {
    "vehicle": "road",
    "boat": "sea",
    "flyer": "sky",
    "animal": "grass",
    "swimmer": "sea",
    "person": "road",
    "plant": "grass",
    "thing": "grass",
}
"""Where an object is, if nothing is said."""


def find_sprite(name: str, sprites: Sequence[str]) -> str | None:
    """The sprite that draws a noun phrase; None where nothing in the world is like it."""
    for part in re.split(r" (?:of|with|in|on|wearing|holding) ", name.lower()):  # "group of dogs"
        words = re.findall(r"[a-z]+", part)
        if words and (own := _singular(words[-1])) in sprites:
            return own
        for start in range(len(words)):
            if (found := _find(" ".join(words[start:]), tuple(sprites))) is not None:
                return found
    return None


def find_background(texts: Sequence[str], sprite: str, backgrounds: Sequence[Background]) -> Background:
    """The first place that one of the texts names, else the sprite's usual one."""
    for text in texts:
        for word in re.findall(r"[a-z]+", text.lower()):
            named = PLACES.get(word) or PLACES.get(_singular(word))
            if named is not None and named in backgrounds:
                return named
    usual = USUAL_PLACE[SPRITES[sprite].kind]
    return usual if usual in backgrounds else backgrounds[0]


@cache
def _find(noun: str, sprites: tuple[str, ...]) -> str | None:
    singular = _singular(noun)
    if singular in sprites:
        return singular
    if singular in INSTEAD:
        return _find(INSTEAD[singular], sprites)
    found = senses(singular)
    above = ancestors(found[0].offset) if found else ()
    for synset in above[: max(0, len(above) - LEAST_DEPTH - 1)]:  # "killer whale": whales are listed
        for lemma in synset.lemmas:
            if (lemma in sprites or lemma in INSTEAD) and senses(lemma)[0].offset == synset.offset:
                return _find(lemma, sprites)
    likest = _likest(singular, sprites)
    is_person = likest is None and "man" not in sprites and _likest(singular, ("man",)) is not None
    return _find("man", sprites) if is_person else likest


def _likest(noun: str, sprites: tuple[str, ...]) -> str | None:
    if not (found := senses(noun)):
        return None
    its = _chain(found[0].offset)
    likest, likeness = None, LEAST_LIKENESS
    for sprite in sprites:
        own = _chain(senses(sprite)[0].offset)
        depth = sum(a == b for a, b in zip(its, own, strict=False))
        if depth >= DEPTHS.get(sprite, LEAST_DEPTH) and 2 * depth / (len(its) + len(own)) > likeness:
            likest, likeness = sprite, 2 * depth / (len(its) + len(own))
    return likest


def _chain(offset: int) -> list[int]:
    """A synset and all that it is a kind of, from the root."""
    return [synset.offset for synset in reversed(ancestors(offset))]


@cache
def _singular(noun: str) -> str:
    if (sprite := next((sprite.name for sprite in SPRITES.values() if sprite.many == noun), None)) is not None:
        return sprite
    if (irregular := base_of(noun)) is not None:
        return irregular
    for ending, instead in (("ies", "y"), ("es", ""), ("s", "")):
        stem = noun.removesuffix(ending) + instead
        if noun.endswith(ending) and not noun.endswith("ss") and (stem in SPRITES or senses(stem)):
            return stem
    return noun
