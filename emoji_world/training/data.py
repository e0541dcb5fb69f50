"""Batches by number: batch k is the same in every run, so a resumed run needs no saved position."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emoji_world.networks import SPATIAL_FACTOR
from emoji_world.spec import WorldSpec
from emoji_world.world import Clip, make_clip

COUNT_WEIGHTS = (6, 34, 40, 20)
"""How many clips have no object (what is around the things of a video can be described alone), one, two and three."""


@dataclass(frozen=True)
class Batch:
    """videos: [clip, 3, frames, height, width] in -1..1; inside: [clip, 1, frames, height, width], 1 in any box."""

    videos: Tensor
    inside: Tensor


def noise_source(*seed: int) -> torch.Generator:
    """A generator of its own for every tuple of numbers."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))


def training_clip(spec: WorldSpec, seed: Sequence[int], frames: Sequence[int] | None = None) -> Clip:
    """Clip of this seed from the training split; `frames` renders only some of its frames."""
    weights = np.array(COUNT_WEIGHTS[: spec.most_objects + 1])
    objects = np.random.default_rng([*seed, 1]).choice(len(weights), p=weights / weights.sum())
    return make_clip(spec, [*seed, 2], int(objects), frames=frames)


def whole_batch(spec: WorldSpec, seeds: Sequence[Sequence[int]]) -> Batch:
    """Whole clips."""
    clips = [training_clip(spec, seed) for seed in seeds]
    return _batch([(clip.video, _inside(spec, clip)) for clip in clips])


def crop_batch(spec: WorldSpec, seeds: Sequence[Sequence[int]], frames: int, size: int) -> Batch:
    """Of each clip `frames` frames in a row and a square of `size` px around one of its objects there, or anywhere."""
    parts = []
    for seed in seeds:
        rng = np.random.default_rng([*seed, 3])
        first = int(rng.integers(spec.frames - frames + 1))
        clip = training_clip(spec, seed, frames=range(first, first + frames))
        centre = rng.uniform(0, 1, 2)
        if clip.tracks:
            box = clip.tracks[int(rng.integers(len(clip.tracks)))].boxes[frames // 2].numpy()
            centre = (box[:2] + box[2:]) / 2
        corner = centre * (spec.width, spec.height) - size / 2 + rng.uniform(-size / 6, size / 6, 2)
        left, top = np.clip(corner.round().astype(int), 0, (spec.width - size, spec.height - size))
        window = (..., slice(top, top + size), slice(left, left + size))
        parts.append((clip.video[window], _inside(spec, clip)[window]))
    return _batch(parts)


def _inside(spec: WorldSpec, clip: Clip) -> Tensor:
    """[frames, 1, height, width], 1 in any box."""
    return (sprite_map(spec, clip, spec.height, spec.width) > 0).float()[:, None]


def _batch(parts: Sequence[tuple[Tensor, Tensor]]) -> Batch:
    videos, inside = zip(*parts, strict=True)
    return Batch(to_signed(torch.stack(videos)), torch.stack(inside).transpose(1, 2))


def to_signed(videos: Tensor) -> Tensor:
    """[clip, frames, 3, height, width] uint8 -> [clip, 3, frames, height, width] in -1..1."""
    return videos.transpose(1, 2).float() / 127.5 - 1


def sprite_map(spec: WorldSpec, clip: Clip, rows: int, columns: int) -> Tensor:
    """[frames, rows, columns], int8: 1 + the index of the sprite whose box touches the cell, 0 where none does."""
    sprites = torch.zeros(len(clip.video), rows, columns, dtype=torch.int8)
    for track in clip.tracks:
        for frame, (x0, y0, x1, y1) in enumerate(track.boxes.tolist()):
            left, right = int(x0 * columns + 1e-4), int(np.ceil(x1 * columns - 1e-4))
            top, bottom = int(y0 * rows + 1e-4), int(np.ceil(y1 * rows - 1e-4))
            sprites[frame, top:bottom, left:right] = 1 + spec.sprites.index(track.sprite)
    return sprites


def latent_sprite_map(spec: WorldSpec, clip: Clip, temporal_factor: int) -> Tensor:
    """[latent frames, latent rows, latent columns], int8: of all frames that a latent frame stands for."""
    sprites = sprite_map(spec, clip, spec.height // SPATIAL_FACTOR, spec.width // SPATIAL_FACTOR)
    groups = [sprites[:1], *sprites[1:].split(temporal_factor)]
    return torch.stack([group.amax(0) for group in groups if len(group)])
