"""Where parts hang on their wholes (`parts.toml`, looked up by noun phrase), and how they go along with them."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from planner_service.motion.framing import clip_to_frame
from planner_service.motion.kinematics import Path
from planner_service.motion.nouns import head_phrase, singular
from shared.geometry import Box


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


def attach(part: Path, whole: Path, home: Box) -> Path:
    """A part's path: its whole's movement and scale, and its own.

    The part hangs at one point of its whole and moves with that.  What it moves by itself is measured in its whole's
    box, as others' movement is in the frame, and the point stays in that box.  However it deforms, it is never wider or
    higher than its whole.  `home`: the whole's box that the part was placed on.
    """
    scale = ((whole.resting[:, 2] - whole.resting[:, 0]) / (whole.resting[0, 2] - whole.resting[0, 0]))[:, None]
    calm = (part.resting[:, :2] + part.resting[:, 2:]) / 2
    low, high = np.array(home[:2]), np.array(home[2:])
    hung = np.clip((calm[0] - low) / (high - low), 0, 1)
    sides = whole.boxes[:, 2:] - whole.boxes[:, :2]
    centers = whole.boxes[:, :2] + np.clip(hung + calm - calm[0], 0, 1) * sides
    half = (part.resting[:, 2:] - part.resting[:, :2]) * scale / 2
    resting = np.concatenate([centers - half, centers + half], axis=1)
    boxes = resting + scale * (part.boxes - part.resting)
    middles, half = (boxes[:, :2] + boxes[:, 2:]) / 2, np.minimum(boxes[:, 2:] - boxes[:, :2], sides) / 2
    return Path(clip_to_frame(np.concatenate([middles - half, middles + half], axis=1)), resting)
