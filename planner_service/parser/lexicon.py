"""The parser's word lists: `verbs.toml` and `words.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from planner_service.motion.cues import Goal, Manner, Speed
from planner_service.motion.nouns import singular
from shared.motion_graph import MotionLabel


@dataclass(frozen=True)
class Verb:
    """What a verb says of motion."""

    label: MotionLabel | None = None
    """None: by the subject."""
    travels: bool = False
    direction: Literal["sideways", "up", "down"] | None = None
    speed: Speed = Speed.NORMAL
    manner: Manner | None = None
    """None: by the subject."""
    object: Literal["travels", "follows", "rides", "passed", "approached", "made_to", "held", "placed"] | None = None
    shown: Literal["after", "before"] | None = None
    """The subject is not seen before, or after, it does so."""
    frame: Literal["enters", "leaves"] | None = None
    mutual: Goal | None = None
    """What several subjects do with respect to one another."""


ACTIVITY = Verb()
"""A verb that is in no group, or in that of activities."""


@dataclass(frozen=True)
class Lexicon:
    verbs: Mapping[str, Verb]
    aspect_verbs: frozenset[str]
    camera_verbs: frozenset[str]
    place_endings: tuple[str, ...]
    collectives: Mapping[str, int]
    numbers: Mapping[str, int]
    nouns: Mapping[str, frozenset[str]]
    """Lists by what their nouns are: "place", "worn" and so on, as `words.toml` names them."""

    def verb_form(self, word: str) -> str | None:
        """The listed verb that `word` is a form of."""
        return next((base for base in bases(word) if base in self.verbs or base in self.camera_verbs), None)

    def phrasal(self, base: str, following: str) -> str | None:
        """The entry of a verb and the word after it: "take off"."""
        entry = f"{base} {following}"
        return entry if entry in self.verbs else None

    def is_in(self, group: str, name: str) -> bool:
        """Whether a noun phrase's last two words, or its last, stand in that list, as they are or in the singular."""
        words = name.lower().split()
        tails = {" ".join(words[-2:]), words[-1], singular(words[-1])}
        return not tails.isdisjoint(self.nouns[group])


@cache
def lexicon() -> Lexicon:
    words = _read("words.toml")
    return Lexicon(
        verbs={verb: _verb(group) for group in _read("verbs.toml").values() for verb in group["verbs"]},
        aspect_verbs=frozenset(words["aspect"]["verbs"]),
        camera_verbs=frozenset(words["camera"]["verbs"]),
        place_endings=tuple(words["place"]["endings"]),
        collectives=words["collectives"],
        numbers=words["numbers"],
        nouns={group: frozenset(listed["nouns"]) for group, listed in words.items() if "nouns" in listed},
    )


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _verb(group: Mapping[str, Any]) -> Verb:
    return Verb(
        label=MotionLabel(group["label"]) if "label" in group else None,
        travels=group.get("travels", False),
        direction=group.get("direction"),
        speed=Speed(group.get("speed", Speed.NORMAL)),
        manner=Manner(group["manner"]) if "manner" in group else None,
        object=group.get("object"),
        shown=group.get("shown"),
        frame=group.get("frame"),
        mutual=Goal(group["mutual"]) if "mutual" in group else None,
    )


def bases(word: str) -> list[str]:
    """What an English verb form may be a form of, most literal first."""
    bases = [word]
    for ending in ("s", "es", "ed", "d", "ing"):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            stem = word[: -len(ending)]
            bases += [stem, f"{stem}e"]
            if len(stem) > 2 and stem[-1] == stem[-2]:
                bases.append(stem[:-1])
            if stem.endswith("i"):
                bases.append(f"{stem[:-1]}y")
    return bases


@cache
def word_list(group: str) -> frozenset[str]:
    """The words of a list in `lists.toml`."""
    return frozenset(_lists()[group])


@cache
def _lists() -> dict[str, Any]:
    return _read("lists.toml")
