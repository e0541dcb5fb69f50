"""How things carry others: how deep who is on them sits in, and what carries people rather than what they work with."""

import tomllib
from functools import cache
from importlib.resources import files

from planner_service.motion.nouns import Kind, head_phrase, is_a, noun_of, singular

FLAT = 0.12
"""What is no higher than this is stepped into a little, a fraction of the frame."""
DATA = tomllib.loads(files(__package__).joinpath("supports.toml").read_text(encoding="utf-8"))
DEPTHS = tuple((frozenset(seat["kinds"]), float(seat["depth"])) for seat in DATA["seat"])
IN_A_SADDLE = 0.35
CARRYING, WORKPLACES = frozenset(DATA["carrying"]), frozenset(DATA["workplaces"])


@cache
def seat_depth(name: str) -> float:
    """How deep in from its top is what is on a thing, as a share of its height."""
    noun, head = noun_of(name), head_of(name)
    if noun.kind is Kind.ANIMATE:
        return IN_A_SADDLE
    for kinds, depth in DEPTHS:
        if is_a(head, kinds):
            return depth
    return 0.2 if noun.height <= FLAT else 0.0


@cache
def carries_people(name: str) -> bool:
    """Whether it is what who does something is on or in meanwhile: a bench, a boat, a branch."""
    head = head_of(name)
    if noun_of(name).kind is Kind.VEHICLE:
        return True
    return not is_a(head, WORKPLACES) and is_a(head, CARRYING)


def is_workplace(name: str) -> bool:
    return is_a(head_of(name), WORKPLACES)


def head_of(name: str) -> str:
    words = head_phrase(name).lower().replace("-", " ").split()
    return singular(words[-1]) if words else ""
