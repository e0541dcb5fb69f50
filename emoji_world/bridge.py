"""People's prompts → captions in the grammar the model was trained on.  Plain text: no numerical libraries.

What the world lacks is drawn as the nearest thing it has, and the translation says so.  At most two objects, of
different kinds, are drawn; the rest, and every word that says nothing to this world, is listed as ignored.
A mover without a direction goes right; an object without a verb stands still; a prompt without a place happens where
its first object usually is.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from emoji_world import grammar
from emoji_world.grammar import Told
from emoji_world.lexicon import (
    CLAUSE_ENDS,
    COLOURS,
    DEFAULT_DIRECTION,
    DIRECTION_WORDS,
    DRAGGING,
    FUNCTION_WORDS,
    KIND_STAND_INS,
    MOVE,
    NEAREST,
    PHRASES,
    PLACE_WORDS,
    SHARING_ENDS,
    TOWARD,
    USUAL_PLACE,
    VERBS,
    sprite_of,
)
from emoji_world.spec import WORLD, Background, Motion, WorldSpec
from emoji_world.vocabulary import SPRITES

MAX_OBJECTS = 2
ARTICLES = frozenset({"a", "an", "the", "this", "that"})
UNKNOWN_OBJECT = "ball"
"""Drawn where a prompt names nothing that this world has or has a relative of."""


class Substitution(NamedTuple):
    word: str
    drawn_as: str


class Drawn(NamedTuple):
    """One object of a caption."""

    noun: str
    """What the prompt calls it: the name in `vocabulary`, of all sprites, whether or not this world has it."""
    sprite: str
    motion: Motion

    @property
    def told(self) -> Told:
        return Told(self.sprite, self.motion)


@dataclass(frozen=True)
class Translation:
    objects: tuple[Drawn, ...]
    background: Background
    substitutions: tuple[Substitution, ...]
    ignored: tuple[str, ...]

    @property
    def caption(self) -> str:
        return grammar.caption([drawn.told for drawn in self.objects], self.background, grammar.first)


@dataclass
class _Mention:
    """An object word of the prompt."""

    word: str
    names: str
    colour: str | None
    motion: Motion | None = None


@dataclass
class _Clause:
    end: str = ""
    """The word or comma that closes it."""
    mentions: list[_Mention] = field(default_factory=list)
    verb: str | None = None
    direction: Motion | None = None
    toward: bool = False
    away: bool = False
    mutual: bool = False


@dataclass
class _Reading:
    clauses: list[_Clause]
    place: tuple[str, Background] | None
    ignored: list[str]


def translate(prompt: str, world: WorldSpec = WORLD) -> Translation:
    reading = _read(_words(prompt))
    _settle_motions(reading.clauses)
    mentions = [mention for clause in reading.clauses for mention in clause.mentions]
    substitutions: list[Substitution] = []
    ignored = reading.ignored
    if not mentions:
        noun = ignored.pop(0) if ignored else prompt.strip()
        motions = [_motion_of(clause) for clause in reading.clauses if clause.verb or clause.direction]
        mentions = [_Mention(noun, UNKNOWN_OBJECT, None, motions[0] if motions else "still")]
    drawn = _cast(mentions, world)
    objects: list[Drawn] = []
    for mention, sprite in zip(mentions, drawn, strict=True):
        if sprite is None:
            ignored.append(mention.word)
            continue
        objects.append(Drawn(mention.names, sprite, mention.motion or "still"))
        own_colour = SPRITES[sprite].colour
        if mention.word and mention.word not in _forms(sprite):
            substitutions.append(Substitution(mention.word, sprite))
        elif mention.colour not in (None, own_colour):
            substitutions.append(Substitution(f"{mention.colour} {mention.word}", f"{own_colour} {sprite}"))
    word, background = reading.place or ("", USUAL_PLACE[SPRITES[objects[0].noun].kind])
    if background not in world.backgrounds:
        background = world.backgrounds[0]
    if word and word not in {part for place in grammar.PLACES[background] for part in place.split()}:
        substitutions.append(Substitution(word, grammar.first(grammar.PLACES[background]).split()[-1]))
    return Translation(tuple(objects), background, tuple(substitutions), tuple(dict.fromkeys(ignored)))


def noun_of(phrase: str) -> str | None:
    """The first thing of `vocabulary` that a phrase names, as `Drawn.noun` says it."""
    mentions = (mention for clause in _read(_words(phrase)).clauses for mention in clause.mentions)
    return next((mention.names for mention in mentions), None)


def _words(prompt: str) -> list[str]:
    plain = re.sub(r"['’]s\b", "", prompt.lower()).replace("’", "'")  # "a pig's tail" is about the pig
    text = " ".join(re.findall(r"[a-z]+(?:'[a-z]+)?|[,.;]", plain))
    for phrase, replacement in PHRASES.items():
        text = re.sub(rf"\b{phrase}\b", replacement, text)
    return text.split()


def _read(words: Sequence[str]) -> _Reading:
    reading = _Reading([_Clause()], None, [])
    colour: str | None = None
    modifier = ""
    for index, word in enumerate(words):
        clause = reading.clauses[-1]
        following = words[index + 1] if index + 1 < len(words) else ""
        if word in CLAUSE_ENDS or word in ",.;" or _opens_clause(words, index):
            clause.end = word
            reading.clauses.append(_Clause())
            colour = None
        elif word in TOWARD or word == "away":
            clause.toward, clause.away = word in TOWARD, word == "away"
        elif word == "one_another":
            clause.mutual = True
        elif word in COLOURS:
            colour = word
        elif word in DIRECTION_WORDS:
            if _is_direction(words, index):
                clause.direction = clause.direction or DIRECTION_WORDS[word]
        elif ((names := _names(word)) or _place(word)) and not _is_predicate(words, index, clause):
            if _names(following):  # "beach ball", "fire truck": the last noun is the thing
                modifier = f"{modifier} {word}".strip()
                continue
            if names:
                clause.mentions.append(_Mention(f"{modifier} {word}".strip(), names, colour))
            elif reading.place is None:
                reading.place = (word, _place(word) or "grass")
            elif _place(word) != reading.place[1]:
                reading.ignored.append(word)
            colour, modifier = None, ""
        elif verb := _verb(word):
            if clause.verb is None or (VERBS[clause.verb] == MOVE and VERBS[verb] != MOVE):
                clause.verb = verb
        elif word not in FUNCTION_WORDS:
            reading.ignored.append(word)
    return reading


def _is_direction(words: Sequence[str], index: int) -> bool:
    """ "to the left" is a direction; "on the left", "left of", "the left car" are places, "down the street" a way."""
    before = words[max(0, index - 2) : index]
    following = words[index + 1] if index + 1 < len(words) else ""
    if following == "of" or _names(following):
        return False
    if following in ARTICLES and any(_place(word) == "road" for word in words[index + 2 : index + 4]):
        return False
    to = before[-1:] == ["the"] and before[:1] in (["to"], ["towards"], ["toward"])
    if following in {"side", "corner", "half"}:
        return to
    return to or before[-1:] != ["the"]


def _is_predicate(words: Sequence[str], index: int, clause: _Clause) -> bool:
    """ "a flag waves": a place's name, but right after the clause's first object, and a verb too."""
    return bool(clause.mentions and clause.verb is None and index and _names(words[index - 1]) and _verb(words[index]))


def _opens_clause(words: Sequence[str], index: int) -> bool:
    """ "with a blue bird flying": what follows has a verb of its own."""
    if words[index] != "with":
        return False
    for noun, verb in pairwise(words[index + 1 : index + 5]):
        if _names(noun):
            return verb.endswith("ing") and _verb(verb) is not None
    return False


def _settle_motions(clauses: Sequence[_Clause]) -> None:
    """Give every mention the motion its clause states."""
    for index, clause in enumerate(clauses):
        source = clause
        for following in clauses[index + 1 :]:  # "a pig and a cat run", "a cat, which is yellow, sits"
            if source.verb or source.direction or source.end not in SHARING_ENDS:
                break
            source = following
        for rank, mention in enumerate(clause.mentions):
            mention.motion = _motion_of(source)
            if rank and clause.verb not in DRAGGING and not clause.mutual:  # "drives past a tree"
                mention.motion = "still"
    together = [mention for clause in clauses for mention in clause.mentions]
    for clause in clauses:
        if clause.mutual and len(together) >= MAX_OBJECTS and (clause.toward or clause.away):
            together[0].motion = "right" if clause.toward else "left"
            together[1].motion = "left" if clause.toward else "right"


def _motion_of(clause: _Clause) -> Motion:
    stated = VERBS[clause.verb] if clause.verb else None
    if clause.direction is not None and stated != "still":
        return clause.direction
    if stated is None:
        return "still"
    if stated == "move":
        return "left" if clause.away else DEFAULT_DIRECTION
    return stated


def _cast(mentions: Sequence[_Mention], world: WorldSpec) -> list[str | None]:
    """The sprite for each mention, None for those that are not drawn.  What the world has comes before stand-ins."""
    cast: list[str | None] = [None] * len(mentions)
    for index, mention in enumerate(mentions):
        if mention.names in world.sprites and mention.names not in cast and _drawn(cast) < MAX_OBJECTS:
            cast[index] = mention.names
    for index, mention in enumerate(mentions):
        if cast[index] is None and mention.names not in world.sprites and _drawn(cast) < MAX_OBJECTS:
            cast[index] = next((name for name in _stand_ins(mention.names, world) if name not in cast), None)
    return cast


def _drawn(cast: Sequence[str | None]) -> int:
    return sum(name is not None for name in cast)


def _stand_ins(sprite: str, world: WorldSpec) -> Iterator[str]:
    for name in (*NEAREST.get(sprite, ()), *KIND_STAND_INS[SPRITES[sprite].kind], *world.sprites):
        if name in world.sprites:
            yield name


def _verb(word: str) -> str | None:
    return next((form for form in _bases(word) if form in VERBS), None)


def _bases(word: str) -> Iterator[str]:
    """The word itself and what it may be an inflection of."""
    yield word
    for ending, replacements in (
        ("ies", ("y", "ie")),
        ("es", ("", "e")),
        ("s", ("",)),
        ("ying", ("ie",)),
        ("ing", ("", "e")),
        ("ied", ("y",)),
        ("ed", ("", "e")),
    ):
        if word.endswith(ending) and len(word) > len(ending):
            stem = word.removesuffix(ending)
            for replacement in replacements:
                yield stem + replacement
            if ending in ("ing", "ed") and stem[-1] == stem[-2:-1]:  # running, stopped
                yield stem[:-1]


def _forms(sprite: str) -> set[str]:
    return {sprite, f"{sprite}s", f"{sprite}es"}


def _names(word: str) -> str | None:
    singulars = (word, word.removesuffix("s"), word.removesuffix("es"))
    return next((name for form in singulars if (name := sprite_of(form))), None)


def _place(word: str) -> Background | None:
    return PLACE_WORDS.get(word) or PLACE_WORDS.get(word.removesuffix("s"))
