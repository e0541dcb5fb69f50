"""The displacement keyframes of each manner: `manners.toml`."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from planner_service.cues import Manner
from planner_service.kinematics import Keyframe

STEPS_PER_CYCLE = 8
"""With fewer, frames would miss keyframes, and what moves would jump; so there are fewer cycles in a short leg."""
FULL_STEPS = 6
"""A leg shorter than these many steps deforms in proportion less."""


class Cycle(NamedTuple):
    cycles: int
    """In a whole clip."""
    keyframes: tuple[Keyframe, ...]


@cache
def table() -> dict[Manner, Cycle]:
    entries = tomllib.loads(files(__package__).joinpath("manners.toml").read_text(encoding="utf-8"))
    return {
        Manner(name): Cycle(entry["cycles"], tuple(Keyframe(*numbers) for numbers in entry["keyframes"]))
        for name, entry in entries.items()
    }


def keyframes(manner: Manner, steps: int, share: float) -> tuple[Keyframe, ...]:
    """The manner's keyframes over a leg of `steps` steps that takes `share` of the clip."""
    cycle = table()[manner]
    repeats = max(1, min(round(cycle.cycles * share), steps // STEPS_PER_CYCLE))
    strength = min(1.0, steps / FULL_STEPS)
    return tuple(
        Keyframe(
            (repeat + key.time) / repeats,
            key.left * strength,
            key.top * strength,
            key.right * strength,
            key.bottom * strength,
        )
        for repeat in range(repeats)
        for key in cycle.keyframes
    )
