"""The captions' grammar: scene → sentence.  Training draws among the wordings, the bridge takes the first of each.

caption = [clause [("and" | "while") clause]] place
clause  = article [colour] sprite ["is"] verb [direction]
"""

from collections.abc import Callable, Iterator, Sequence

from emoji_world.spec import STEP, Background, Motion
from emoji_world.vocabulary import SPRITES, Kind

Choose = Callable[[Sequence[str]], str]

ARTICLES = ("a", "a", "a", "the")
JOINS = ("while", "and")
MOVING: dict[Kind, tuple[str, ...]] = {
    "vehicle": ("driving", "moving"),
    "boat": ("sailing", "moving"),
    "flyer": ("flying", "moving"),
    "animal": ("walking", "moving"),
    "swimmer": ("swimming", "moving"),
    "person": ("walking", "moving"),
    "plant": ("sliding", "moving"),
    "thing": ("rolling", "moving"),
}
STANDING: dict[Kind, tuple[str, ...]] = {
    "vehicle": ("standing still", "parked"),
    "boat": ("standing still", "anchored"),
    "flyer": ("standing still", "resting"),
    "animal": ("standing still", "sitting"),
    "swimmer": ("standing still", "resting"),
    "person": ("standing still", "standing"),
    "plant": ("standing still", "standing"),
    "thing": ("lying still", "resting"),
}
NON_RIGID_VERBS: dict[Motion, tuple[str, ...]] = {
    "sway": ("swaying", "dancing"),
    "squash": ("bouncing", "squashing"),
}
DIRECTIONS: dict[Motion, tuple[str, ...]] = {
    "left": ("to the left", "left"),
    "right": ("to the right", "right"),
    "up": ("up", "upwards"),
    "down": ("down", "downwards"),
}
PLACES: dict[Background, tuple[str, ...]] = {
    "sky": ("in the sky", "in the blue sky"),
    "grass": ("on the grass", "in a green field"),
    "road": ("on the road", "on the street"),
    "sea": ("in the sea", "in the water"),
    "night": ("at night", "in the dark"),
    "sand": ("in the desert", "on the sand"),
}


def first(options: Sequence[str]) -> str:
    """The canonical wording."""
    return options[0]


def clause(sprite: str, motion: Motion, choose: Choose) -> str:
    word = SPRITES[sprite]
    noun = choose((f"{word.colour} {sprite}", sprite))
    article = choose(ARTICLES)
    if article == "a" and noun[0] in "aeiou":
        article = "an"
    if motion in STEP:
        verb = f"{choose(MOVING[word.kind])} {choose(DIRECTIONS[motion])}"
    elif motion == "still":
        verb = choose(STANDING[word.kind])
    else:
        verb = choose(NON_RIGID_VERBS[motion])
    return f"{article} {noun} {choose(('is ', ''))}{verb}"


def caption(objects: Sequence[tuple[str, Motion]], background: Background, choose: Choose) -> str:
    clauses = f" {choose(JOINS)} ".join(clause(sprite, motion, choose) for sprite, motion in objects)
    return f"{clauses} {choose(PLACES[background])}".strip()


def words() -> list[str]:
    """Every word any caption of any world can hold, sorted: the tokenizer's vocabulary."""

    def phrases() -> Iterator[str]:
        yield from ("a", "an", "the", "is", "while", "and")
        for sprite in SPRITES.values():
            yield from (sprite.name, sprite.colour)
        for wordings in (MOVING, STANDING, NON_RIGID_VERBS, DIRECTIONS, PLACES):
            for options in wordings.values():
                yield from options

    return sorted({word for phrase in phrases() for word in phrase.split()})
