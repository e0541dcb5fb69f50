"""The captions' grammar: scene → sentence.  Training draws among the wordings, a plan takes the first of each.

caption = [clause [("and" | "while") clause] …] place
clause  = article [size] [colour] sprite ["is"] action | number [size] [colour] sprites ["are"] action
action  = rest | motion | rest "then" motion | motion "then" rest
motion  = verb [direction]

Things of one kind that do the same share a clause ("two dogs are walking to the left").
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from emoji_world.spec import SCALING, STEP, Background, Motion, Timing
from emoji_world.vocabulary import SPRITES, Kind

Choose = Callable[[Sequence[str]], str]
Size = Literal["", "small", "big"]

ARTICLES = ("a", "a", "a", "the")
JOINS = ("while", "and")
NUMBERS: dict[int, str] = {2: "two", 3: "three"}
SIZES: dict[Size, tuple[str, ...]] = {"": ("",), "small": ("small", "tiny"), "big": ("big", "large")}
MOVING: dict[Kind, tuple[str, ...]] = {
    "vehicle": ("driving", "moving"),
    "boat": ("sailing", "moving"),
    "flyer": ("flying", "moving"),
    "animal": ("walking", "running", "moving"),
    "swimmer": ("swimming", "moving"),
    "person": ("walking", "running", "moving"),
    "plant": ("sliding", "moving"),
    "thing": ("rolling", "moving"),
}
STANDING: dict[Kind, tuple[str, ...]] = {
    "vehicle": ("standing still", "parked"),
    "boat": ("standing still", "anchored"),
    "flyer": ("standing still", "resting", "perching"),
    "animal": ("standing still", "sitting"),
    "swimmer": ("standing still", "resting"),
    "person": ("standing still", "standing"),
    "plant": ("standing still", "standing"),
    "thing": ("lying still", "resting"),
}
NON_RIGID_VERBS: dict[Motion, tuple[str, ...]] = {
    "sway": ("swaying", "dancing"),
    "squash": ("bouncing", "squashing"),
    "flutter": ("fluttering", "waving"),
}
DIRECTIONS: dict[Motion, tuple[str, ...]] = {
    "left": ("to the left", "left"),
    "right": ("to the right", "right"),
    "up": ("up", "upwards"),
    "down": ("down", "downwards"),
    "up-left": ("up to the left", "diagonally up to the left"),
    "up-right": ("up to the right", "diagonally up to the right"),
    "down-left": ("down to the left", "diagonally down to the left"),
    "down-right": ("down to the right", "diagonally down to the right"),
    "approach": ("closer", "toward the camera"),
    "recede": ("away", "into the distance"),
}
PLACES: dict[Background, tuple[str, ...]] = {
    "sky": ("in the sky", "in the blue sky"),
    "grass": ("on the grass", "in a green field"),
    "road": ("on the road", "on the street"),
    "sea": ("in the sea", "in the water"),
    "night": ("at night", "in the dark"),
    "sand": ("in the desert", "on the sand"),
    "snow": ("in the snow", "on the white snow"),
    "room": ("in a room", "on the floor"),
}


@dataclass(frozen=True)
class Told:
    """What a caption tells of one thing."""

    sprite: str
    motion: Motion
    timing: Timing = "throughout"
    size: Size = ""


def first(options: Sequence[str]) -> str:
    """The canonical wording."""
    return options[0]


def clause(told: Told, count: int, choose: Choose, *, another: bool = False) -> str:
    """Of `count` things alike; another: an earlier clause told of one of this kind."""
    word = SPRITES[told.sprite]
    name = word.many if count > 1 else word.name
    noun = choose((f"{word.colour} {name}", name))
    if told.size:
        noun = f"{choose(SIZES[told.size])} {noun}"
    if count > 1:
        subject, be = f"{NUMBERS[count]} {noun}", "are"
    else:
        article = "another" if another else choose(ARTICLES)
        subject, be = f"{'an' if article == 'a' and noun[0] in 'aeiou' else article} {noun}", "is"
    return f"{subject} {choose((f'{be} ', ''))}{_action(told, choose)}"


def _action(told: Told, choose: Choose) -> str:
    kind = SPRITES[told.sprite].kind
    if told.motion == "still":
        return choose(STANDING[kind])
    if told.motion in STEP or told.motion in SCALING:
        motion = f"{choose(MOVING[kind])} {choose(DIRECTIONS[told.motion])}"
    else:
        motion = choose(NON_RIGID_VERBS[told.motion])
    if told.timing == "throughout":
        return motion
    rest = choose(STANDING[kind])
    return f"{rest} then {motion}" if told.timing == "starts" else f"{motion} then {rest}"


def caption(things: Sequence[Told], background: Background, choose: Choose) -> str:
    """Things that are told alike must follow each other to share a clause."""
    clauses: list[str] = []
    named: set[str] = set()
    for told, alike in groupby(things):
        clauses.append(clause(told, len(list(alike)), choose, another=told.sprite in named))
        named.add(told.sprite)
    return f"{f' {choose(JOINS)} '.join(clauses)} {choose(PLACES[background])}".strip()


def words() -> list[str]:
    """Every word any caption of any world can hold, sorted: the tokenizer's vocabulary."""

    def phrases() -> Iterator[str]:
        yield from ("a", "an", "the", "another", "is", "are", "then", *JOINS, *NUMBERS.values())
        for sprite in SPRITES.values():
            yield from (sprite.name, sprite.many, sprite.colour)
        for wordings in (SIZES, MOVING, STANDING, NON_RIGID_VERBS, DIRECTIONS, PLACES):
            for options in wordings.values():
                yield from options

    return sorted({word for phrase in phrases() for word in phrase.split()})
