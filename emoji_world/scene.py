"""Scenes: what is where, how it moves and what the caption says.  Drawn from a random generator, nothing rendered."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.random import Generator

from emoji_world import grammar
from emoji_world.grammar import Size, Told
from emoji_world.spec import SCALING, STEP, Background, Motion, Timing, WorldSpec
from emoji_world.split import is_held_out
from emoji_world.sprites import texture
from emoji_world.vocabulary import SPRITES

CLEARANCE_PX = 1.0
"""Least distance between two objects' boxes, in some axis, at any frame, where they may not overlap."""
ALIKE_SHARE = 0.6
"""Share of two things of a kind that do the same."""
SIZE_WORD_SHARE = 0.5
"""Share of small and large things that are called so."""
PATIENCE = 0.97
"""Crowded scenes: a little smaller and slower at every attempt to place their things."""


@dataclass(frozen=True)
class Placed:
    """One object: half its drawn size in the first frame, its centre there and its way, all (x, y) in px;
    growth: its size in the last frame, as a multiple."""

    sprite: str
    motion: Motion
    half: tuple[float, float]
    start: tuple[float, float]
    travel: tuple[float, float]
    timing: Timing = "throughout"
    growth: float = 1.0

    @property
    def mirrored(self) -> bool:
        """Sideways movers look ahead."""
        across = STEP.get(self.motion, (0, 0))[0]
        return (across, SPRITES[self.sprite].facing) in {(1, "left"), (-1, "right")}

    def progress(self, frames: int) -> np.ndarray:
        """[frames], share of its motion that is done, 0..1: linear while it moves."""
        begin, end = {"throughout": (0.0, 1.0), "starts": (0.5, 1.0), "stops": (0.0, 0.5)}[self.timing]
        progress: np.ndarray = np.interp(np.linspace(0, 1, frames), (begin, end), (0, 1))
        return progress

    def centres(self, frames: int) -> np.ndarray:
        """[frames, 2], px."""
        return self.start + self.progress(frames)[:, None] * self.travel

    def halves(self, frames: int) -> np.ndarray:
        """[frames, 2], px."""
        return np.asarray(self.half) * self.growth ** self.progress(frames)[:, None]


@dataclass(frozen=True)
class Scene:
    """objects: farthest first, in the order in which they are drawn."""

    objects: tuple[Placed, ...]
    background: Background
    caption: str


def draw_scene(spec: WorldSpec, rng: Generator, objects: int, *, held_out: bool) -> Scene:
    """A random scene of up to three objects.  Held out: at least one triple is never trained on; else none is."""
    while True:
        kinds = _draw_kinds(spec, rng, objects)
        background = spec.backgrounds[rng.integers(len(spec.backgrounds))]
        if any(is_held_out(spec, told.sprite, told.motion, background) for told in kinds) == held_out:
            break
    placed = place(spec, rng, kinds)
    told = [Told(each.sprite, each.motion, each.timing, _size_word(spec, rng, each)) for each in placed]
    if len(set(kinds)) < len(kinds):  # those alike are told alike
        told = [Told(each.sprite, each.motion, each.timing) for each in placed]
    return Scene(
        objects=tuple(sorted(placed, key=lambda each: each.start[1] + each.half[1])),
        background=background,
        caption=grammar.caption(told, background, lambda options: options[int(rng.integers(len(options)))]),
    )


def _draw_kinds(spec: WorldSpec, rng: Generator, objects: int) -> list[Told]:
    """Different kinds, or two of a kind one after the other."""
    sprites = [str(name) for name in rng.choice(spec.sprites, objects, replace=False)]
    weights = np.array(spec.motion_weights) / sum(spec.motion_weights)
    kinds = []
    for sprite in sprites:
        motion = spec.motions[rng.choice(len(spec.motions), p=weights)]
        timing: Timing = "throughout"
        if motion != "still" and rng.random() < spec.rest_share:
            timing = "starts" if rng.random() < 0.5 else "stops"
        kinds.append(Told(sprite, motion, timing))
    if objects > 1 and rng.random() < spec.same_kind:
        alike = rng.random() < ALIKE_SHARE
        kinds[1] = kinds[0] if alike else Told(kinds[0].sprite, kinds[1].motion, kinds[1].timing)
    return kinds


def _size_word(spec: WorldSpec, rng: Generator, placed: Placed) -> Size:
    longest = 2 * max(placed.half)
    if placed.growth != 1 or rng.random() > SIZE_WORD_SHARE:
        return ""
    return "small" if longest <= spec.small_px else "big" if longest >= spec.large_px else ""


def place(spec: WorldSpec, rng: Generator, kinds: Sequence[Told]) -> tuple[Placed, ...]:
    """Positions and ways that keep every object inside the frame and no two nearer than the world allows."""
    attempts = 0
    while True:
        patience = PATIENCE**attempts
        placed = tuple(_place_one(spec, rng, told, patience) for told in kinds)
        if all(_apart(spec, one, other) for one, other in combinations(placed, 2)):
            return placed
        attempts += 1


def _place_one(spec: WorldSpec, rng: Generator, told: Told, patience: float) -> Placed:
    frame = np.array([spec.width, spec.height], dtype=float)
    height, width = texture(told.sprite).shape[1:]
    low_px, high_px = spec.size_px
    growth = 1.0
    if told.motion in SCALING:
        growth = rng.uniform(*spec.growth)
        low_px, high_px = (low_px, high_px / growth) if told.motion == "approach" else (low_px * growth, high_px)
        growth = growth if told.motion == "approach" else 1 / growth
    longest = low_px + rng.random() * (high_px - low_px) * patience
    half = np.array([width, height]) * longest / max(height, width) / 2
    step = np.array(STEP.get(told.motion, (0, 0)))
    way = rng.uniform(*spec.travel_px) * patience / max(1.0, float(np.hypot(*step)))
    if told.timing != "throughout":
        way /= 2
    travel = step * np.minimum(way, frame - 2 * half)
    reach = reach_of(spec, half * max(1.0, growth), told.motion)
    low, high = reach - np.minimum(travel, 0), frame - reach - np.maximum(travel, 0)
    middle = (low + high) / 2  # where a wide swayer has no room to choose
    start = np.where(low < high, rng.uniform(np.minimum(low, high), np.maximum(low, high)), middle)
    return Placed(told.sprite, told.motion, _xy(half), _xy(start), _xy(travel), told.timing, growth)


def reach_of(spec: WorldSpec, half: np.ndarray, motion: Motion) -> np.ndarray:
    """How far (x, y) px an object's deformation can take its edge from its centre."""
    further = {"sway": (spec.sway, 0.0), "flutter": (spec.flutter, spec.flutter)}.get(motion, (0.0, 0.0))
    reach: np.ndarray = half * (1 + np.array(further))
    return reach


def _apart(spec: WorldSpec, one: Placed, other: Placed) -> bool:
    centres, halves = zip(*((each.centres(spec.frames), _reaches(spec, each)) for each in (one, other)), strict=True)
    gap = np.abs(centres[0] - centres[1]) - halves[0] - halves[1]  # [frame, axis]
    if not spec.overlap:
        return bool((gap.max(axis=1) >= CLEARANCE_PX).all())
    common = np.clip(-gap, 0, 2 * np.minimum(*halves)).prod(axis=1)
    smaller = np.minimum(*((2 * half).prod(axis=1) for half in halves))
    return bool((common <= spec.overlap * smaller).all())


def _reaches(spec: WorldSpec, placed: Placed) -> np.ndarray:
    """[frames, 2]."""
    return np.stack([reach_of(spec, half, placed.motion) for half in placed.halves(spec.frames)])


def _xy(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])
