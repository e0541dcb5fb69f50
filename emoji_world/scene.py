"""Scenes: what is where, how it moves and what the caption says.  Drawn from a random generator, nothing rendered."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from emoji_world import grammar
from emoji_world.spec import MOTIONS, STEP, Background, Motion, WorldSpec
from emoji_world.split import is_held_out
from emoji_world.sprites import texture
from emoji_world.vocabulary import SPRITES

CLEARANCE_PX = 1.0
"""Least distance between two objects' boxes, in some axis, at any frame."""


@dataclass(frozen=True)
class Placed:
    """One object: half its drawn size, its centre in the first frame and its way, all (x, y) in px."""

    sprite: str
    motion: Motion
    half: tuple[float, float]
    start: tuple[float, float]
    travel: tuple[float, float]

    @property
    def mirrored(self) -> bool:
        """Sideways movers look ahead."""
        return (self.motion, SPRITES[self.sprite].facing) in {("right", "left"), ("left", "right")}

    def centres(self, frames: int) -> np.ndarray:
        """[frames, 2], px."""
        return np.linspace(self.start, np.add(self.start, self.travel), frames)


@dataclass(frozen=True)
class Scene:
    objects: tuple[Placed, ...]
    background: Background
    caption: str


def draw_scene(spec: WorldSpec, rng: Generator, objects: int, *, held_out: bool) -> Scene:
    """A random scene of no, one or two objects.  Held out: at least one triple is never trained on; else none is."""
    while True:
        sprites = [str(name) for name in rng.choice(spec.sprites, objects, replace=False)]
        motions = [MOTIONS[k] for k in rng.integers(len(MOTIONS), size=objects)]
        background = spec.backgrounds[rng.integers(len(spec.backgrounds))]
        pairs = list(zip(sprites, motions, strict=True))
        if any(is_held_out(spec, sprite, motion, background) for sprite, motion in pairs) == held_out:
            break
    return Scene(
        objects=place(spec, rng, pairs),
        background=background,
        caption=grammar.caption(pairs, background, lambda options: options[int(rng.integers(len(options)))]),
    )


def place(spec: WorldSpec, rng: Generator, pairs: Sequence[tuple[str, Motion]]) -> tuple[Placed, ...]:
    """Positions and ways that keep every object inside the frame and the boxes of two apart in every frame."""
    attempts = 0
    while True:
        patience = 0.97**attempts  # crowded scenes: a little smaller and slower at every attempt
        placed = tuple(_place_one(spec, rng, sprite, motion, len(pairs), patience) for sprite, motion in pairs)
        if len(placed) < 2 or _apart(spec, *placed):
            return placed
        attempts += 1


def _place_one(spec: WorldSpec, rng: Generator, sprite: str, motion: Motion, objects: int, patience: float) -> Placed:
    frame = np.array([spec.width, spec.height], dtype=float)
    height, width = texture(sprite).shape[1:]
    longest = rng.uniform(*(spec.single_px if objects == 1 else spec.pair_px)) * max(patience, 0.9)
    half = np.array([width, height]) * longest / max(height, width) / 2
    step = np.array(STEP.get(motion, (0, 0)))
    travel = step * np.minimum(rng.uniform(*spec.travel_px) * patience, frame - 2 * half)
    reach = reach_of(spec, half, motion)
    low, high = reach - np.minimum(travel, 0), frame - reach - np.maximum(travel, 0)
    middle = (low + high) / 2  # where a wide swayer has no room to choose
    start = np.where(low < high, rng.uniform(np.minimum(low, high), np.maximum(low, high)), middle)
    return Placed(sprite, motion, _xy(half), _xy(start), _xy(travel))


def reach_of(spec: WorldSpec, half: np.ndarray, motion: Motion) -> np.ndarray:
    """How far (x, y) px an object's deformation can take its edge from its centre."""
    return half * np.array([1 + spec.sway, 1.0]) if motion == "sway" else half


def _apart(spec: WorldSpec, one: Placed, other: Placed) -> bool:
    reach = sum(reach_of(spec, np.asarray(placed.half), placed.motion) for placed in (one, other))
    gap = np.abs(one.centres(spec.frames) - other.centres(spec.frames)) - reach
    return bool((gap.max(axis=1) >= CLEARANCE_PX).all())


def _xy(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])
