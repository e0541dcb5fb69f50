"""The constants of a world in one place: a larger world is another instance.  Plain text and numbers."""

from dataclasses import dataclass
from typing import Literal, get_args

Motion = Literal[
    "still",
    "left",
    "right",
    "up",
    "down",
    "sway",
    "squash",
    "up-left",
    "up-right",
    "down-left",
    "down-right",
    "approach",
    "recede",
    "flutter",
]
MOTIONS: tuple[Motion, ...] = get_args(Motion)
STEP: dict[Motion, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up-left": (-1, -1),
    "up-right": (1, -1),
    "down-left": (-1, 1),
    "down-right": (1, 1),
}
"""Step (x, y) of each motion that leads somewhere; y grows downwards."""
SCALING: tuple[Motion, ...] = ("approach", "recede")
NON_RIGID: tuple[Motion, ...] = ("sway", "squash", "flutter")

Timing = Literal["throughout", "starts", "stops"]
"""When an object moves: all the time; in the second half, after a rest; in the first half, then it rests."""
TIMINGS: tuple[Timing, ...] = get_args(Timing)

Background = Literal["sky", "grass", "road", "sea", "night", "sand", "snow", "room"]
BACKGROUNDS: tuple[Background, ...] = get_args(Background)


@dataclass(frozen=True)
class WorldSpec:
    height: int = 64
    width: int = 96
    frames: int = 9
    sprites: tuple[str, ...] = ("car", "tree", "ball", "sheep", "pig", "bird", "cat", "robot")
    backgrounds: tuple[Background, ...] = ("sky", "grass", "road", "sea", "night", "sand")
    motions: tuple[Motion, ...] = ("still", "left", "right", "up", "down", "sway", "squash")
    motion_weights: tuple[float, ...] = (1, 1, 1, 1, 1, 1, 1)
    """How often each motion is drawn, relative to the others."""
    rest_share: float = 0.0
    """Share of moving objects that rest in the first or in the second half of the clip."""
    size_px: tuple[float, float] = (30.0, 36.0)
    """Longest edge of an object, drawn uniformly."""
    travel_px: tuple[float, float] = (24.0, 36.0)
    """Way of a rigid motion over the clip, in any direction, cut to what fits; half of it in half the time."""
    growth: tuple[float, float] = (1.7, 2.4)
    """How much larger an approaching object becomes, a receding one smaller."""
    sway: float = 0.6
    """Shear at the top of a swaying object, in half widths."""
    squash: float = 0.4
    """Share of its height that a squashing object loses at the lowest point."""
    flutter: float = 0.35
    """Amplitude of a fluttering object's wave at its free end, in half its extent across."""
    most_objects: int = 2
    same_kind: float = 0.0
    """Share of the clips of several objects in which two are of a kind."""
    overlap: float = 0.0
    """Most that two objects' boxes share in any frame, as part of the smaller one."""
    small_px: float = 0.0
    """An object up to this size may be called small."""
    large_px: float = 1000.0
    """An object from this size on may be called big."""
    template_px: tuple[int, ...] = (26, 28, 30, 32, 34, 36)
    """Longest edges of the drawings that a video is searched for."""
    held_out: int = 8
    """One in this many (sprite, motion, background) triples is never trained on."""


WORLD = WorldSpec()

SECOND_WORLD = WorldSpec(
    frames=17,
    sprites=(
        *("car", "truck", "bus", "train", "bicycle", "boat", "airplane"),
        *("dog", "cat", "horse", "cow", "pig", "sheep", "bird", "fish", "butterfly"),
        *("man", "woman", "robot"),
        *("tree", "flower", "leaf", "flag", "ball", "balloon", "house"),
    ),
    backgrounds=BACKGROUNDS,
    motions=MOTIONS,
    motion_weights=(2.5, 1.5, 1.5, 1, 1, 1.3, 1.3, 0.5, 0.5, 0.5, 0.5, 1, 1, 1.3),
    rest_share=0.25,
    size_px=(13.0, 43.0),
    most_objects=3,
    same_kind=0.25,
    overlap=0.25,
    small_px=20.0,
    large_px=33.0,
    template_px=(13, 15, 17, 19, 22, 25, 28, 32, 36, 41),
)
