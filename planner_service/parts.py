"""Where parts hang on their wholes: `parts.toml`, looked up by noun phrase."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from planner_service.nouns import head_phrase, singular


class Part(NamedTuple):
    """Shares of the whole's box."""

    x: float
    y: float
    width: float
    height: float

    @property
    def mirrored(self) -> "Part":
        return self._replace(x=1 - self.x)


UNKNOWN = Part(x=0.5, y=0.5, width=0.6, height=0.6)
"""Where what the table does not have hangs, and how large it may be."""


@cache
def table() -> dict[str, Part]:
    entries = tomllib.loads(files(__package__).joinpath("parts.toml").read_text(encoding="utf-8"))
    return {name: Part(*numbers) for name, numbers in entries.items()}


def part_of(name: str) -> Part | None:
    """What is known of a noun phrase: "her long hair" is hair."""
    words = head_phrase(name).lower().replace("-", " ").split()
    return table().get(singular(words[-1])) if words else None
