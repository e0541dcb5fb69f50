"""The displacement keyframes of each manner: `manners.toml`."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from planner_service.motion.cues import Manner
from planner_service.motion.kinematics import Keyframe

MAXIMUM_CYCLES = 3
"""In a whole clip: the shortest layout has seven steps from frame to frame, of which a cycle needs more than two."""


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


def keyframes(manner: Manner, share: float) -> tuple[Keyframe, ...]:
    """The manner's keyframes over a leg that takes `share` of the clip; one too short for a cycle deforms less."""
    cycle = table()[manner]
    repeats = max(1, round(cycle.cycles * share))
    strength = min(1.0, MAXIMUM_CYCLES * share / repeats)
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
