"""Batches by number: batch k is the same in every run, so a resumed run needs no saved position."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emoji_world.networks import SPATIAL_FACTOR, TEMPORAL_FACTOR
from emoji_world.spec import WorldSpec
from emoji_world.world import Clip, make_clip

PAIR_SHARE = 0.3
"""Share of clips with two objects, unless asked otherwise."""
EMPTY_SHARE = 0.06
"""Share of clips that show a place and nothing in it: what is around the things of a video can be described alone."""


@dataclass(frozen=True)
class Batch:
    """videos: [clip, 3, frames, height, width] in -1..1; inside: [clip, 1, frames, height, width], 1 in any box."""

    videos: Tensor
    inside: Tensor


def noise_source(*seed: int) -> torch.Generator:
    """A generator of its own for every tuple of numbers."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))


def training_clip(spec: WorldSpec, seed: Sequence[int], *, still: bool = False, pair_share: float = PAIR_SHARE) -> Clip:
    """Clip of this seed from the training split; `still` keeps one random frame."""
    rng = np.random.default_rng([*seed, 1])
    drawn = rng.random()
    objects = 0 if drawn > 1 - EMPTY_SHARE else 1 + int(drawn < pair_share)
    frame = int(rng.integers(spec.frames))
    return make_clip(spec, [*seed, 2], objects, frames=[frame] if still else None)


def pixel_batch(spec: WorldSpec, seeds: Sequence[Sequence[int]], *, still: bool, pair_share: float) -> Batch:
    clips = [training_clip(spec, seed, still=still, pair_share=pair_share) for seed in seeds]
    inside = torch.stack([sprite_map(spec, clip, spec.height, spec.width) > 0 for clip in clips]).float()
    return Batch(to_signed(torch.stack([clip.video for clip in clips])), inside[:, None])


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


def latent_sprite_map(spec: WorldSpec, clip: Clip) -> Tensor:
    """[latent frames, latent rows, latent columns], int8: of all frames that a latent frame stands for."""
    sprites = sprite_map(spec, clip, spec.height // SPATIAL_FACTOR, spec.width // SPATIAL_FACTOR)
    groups = [sprites[:1], *sprites[1:].split(TEMPORAL_FACTOR)]
    return torch.stack([group.amax(0) for group in groups])
