"""The constants of a world in one place: a larger world is another instance.  Plain text and numbers."""

from dataclasses import dataclass
from typing import Literal, get_args

Motion = Literal["still", "left", "right", "up", "down", "sway", "squash"]
MOTIONS: tuple[Motion, ...] = get_args(Motion)
STEP: dict[Motion, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Unit step (x, y) of each rigid motion; y grows downwards."""
NON_RIGID: tuple[Motion, ...] = ("sway", "squash")

Background = Literal["sky", "grass", "road", "sea", "night", "sand"]
BACKGROUNDS: tuple[Background, ...] = get_args(Background)


@dataclass(frozen=True)
class WorldSpec:
    height: int = 64
    width: int = 96
    frames: int = 9
    sprites: tuple[str, ...] = ("car", "tree", "ball", "sheep", "pig", "bird", "cat", "robot")
    backgrounds: tuple[Background, ...] = BACKGROUNDS
    single_px: tuple[float, float] = (30.0, 36.0)
    """Longest edge of an object that is alone, drawn uniformly."""
    pair_px: tuple[float, float] = (30.0, 36.0)
    """Longest edge of either of two objects."""
    travel_px: tuple[float, float] = (24.0, 36.0)
    """Way of a rigid motion over the clip, the same for both axes, cut to what fits."""
    sway: float = 0.6
    """Shear at the top of a swaying object, in half widths."""
    squash: float = 0.4
    """Share of its height that a squashing object loses at the lowest point."""
    held_out: int = 8
    """One in this many (sprite, motion, background) triples is never trained on."""


WORLD = WorldSpec()
