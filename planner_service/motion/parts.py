"""Where parts hang on their wholes (`parts.toml`, looked up by noun phrase), and how they go along with them."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from planner_service.motion.framing import clamped, inside
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


def attached(part: Path, whole: Path, home: Box) -> Path:
    """A part's path: its whole's movement and scale, and its own.

    The part hangs at one point of its whole and moves with that.  What it moves by itself is measured in its whole's
    box, as others' movement is in the frame, and the point stays in that box.  However it deforms, it is never wider or
    higher than its whole.  `home`: the whole's box that the part was placed on.
    """
    first = part.resting[0]
    hung = [_share(c, low, high) for c, low, high in zip(first.center, home[:2], home[2:], strict=True)]
    boxes, resting = [], []
    for own, calm, theirs, rested in zip(part.boxes, part.resting, whole.boxes, whole.resting, strict=True):
        scale = rested.width / whole.resting[0].width
        u, v = (clamped(h + new - old, 0.0, 1.0) for h, old, new in zip(hung, first.center, calm.center, strict=True))
        x, y = theirs.x0 + u * theirs.width, theirs.y0 + v * theirs.height
        left, top, right, bottom = (scale * (p - q) for p, q in zip(own, calm, strict=True))
        still = Box.around(x, y, calm.width * scale, calm.height * scale)
        resting.append(still)
        box = Box(still.x0 + left, still.y0 + top, still.x1 + right, still.y1 + bottom)
        size = min(box.width, theirs.width), min(box.height, theirs.height)
        boxes.append(inside(Box.around(*box.center, *size)))
    return Path(tuple(boxes), tuple(resting))


def _share(value: float, low: float, high: float) -> float:
    return clamped((value - low) / (high - low), 0.0, 1.0)
