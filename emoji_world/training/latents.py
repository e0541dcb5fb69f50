"""Stage 2: clips and stills are drawn and encoded once, in numbered shards: the transformer never waits for the VAE."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor
from transformers import T5Tokenizer

from emoji_world.precision import mixed_precision
from emoji_world.spec import WorldSpec
from emoji_world.training.data import latent_sprite_map, to_signed, training_clip
from emoji_world.training.loop import write_atomically
from emoji_world.training.trainee import barrier, rank

SHARD = 256
"""Clips per file."""
ENCODED_AT_ONCE = 8
REPORT_SECONDS = 30


@dataclass(frozen=True)
class Shard:
    """latents: [clip, latent frames, channels, rows, columns] bfloat16, as the pipeline denoises them;
    tokens: [clip, text length]; sprites: [clip, latent frames, rows, columns], whose box touches a cell (`sprite_map`);
    counts: [clip], objects."""

    latents: Tensor
    tokens: Tensor
    sprites: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Latents:
    """Shards that stay on disk: only what is picked is read.  All but the last hold as many clips."""

    shards: Sequence[Shard]

    @cached_property
    def counts(self) -> Tensor:
        """[clip], objects."""
        return torch.cat([shard.counts for shard in self.shards])

    @property
    def frames(self) -> int:
        """Latent frames of a clip."""
        return self.shards[0].latents.shape[1]

    def pick(self, clips: Tensor) -> Shard:
        size = len(self.shards[0].counts)
        chosen = [(self.shards[clip // size], clip % size) for clip in clips.tolist()]
        return Shard(
            latents=torch.stack([shard.latents[k] for shard, k in chosen]),
            tokens=torch.stack([shard.tokens[k] for shard, k in chosen]),
            sprites=torch.stack([shard.sprites[k] for shard, k in chosen]),
            counts=self.counts[clips],
        )


def cache_latents(
    folder: Path,
    clips: int,
    vae: AutoencoderKLCogVideoX,
    tokenizer: T5Tokenizer,
    world: WorldSpec,
    device: str,
    seed: Sequence[int],
    report: Callable[[str], None],
    *,
    stills: bool = False,
) -> Latents:
    """Write the shards that are missing, shared out over the processes, and open them all.  Of stills only the first
    frame is drawn: as many things to see for a fifteenth of the time."""
    files = [folder / f"{index:05d}.pt" for index in range(-(-clips // SHARD))]
    processes = dist.get_world_size() if dist.is_initialized() else 1
    vae = vae.to(device).eval()
    reported = time.monotonic()
    for index in range(rank(), len(files), processes):
        if not files[index].exists():
            count = min(SHARD, clips - index * SHARD)
            write_atomically(vars(_encode([*seed, index], count, vae, tokenizer, world, device, stills)), files[index])
        if time.monotonic() - reported > REPORT_SECONDS:
            reported = time.monotonic()
            report(f"{min((index + 1) * SHARD, clips)} of {clips} {'stills' if stills else 'clips'}")
    barrier()
    return Latents([Shard(**torch.load(file, weights_only=True, mmap=True)) for file in files])


@torch.no_grad()
def _encode(
    seed: Sequence[int],
    count: int,
    vae: AutoencoderKLCogVideoX,
    tokenizer: T5Tokenizer,
    world: WorldSpec,
    device: str,
    stills: bool,
) -> Shard:
    clips = [training_clip(world, (*seed, k), frames=range(1) if stills else None) for k in range(count)]
    latents = []
    for part in to_signed(torch.stack([clip.video for clip in clips])).split(ENCODED_AT_ONCE):
        with mixed_precision(device):
            mode = vae.encode(part.to(device)).latent_dist.mode()
        latents.append((mode.float() * vae.config.scaling_factor).transpose(1, 2).to("cpu", torch.bfloat16))
    return Shard(
        latents=torch.cat(latents),
        tokens=tokenize(tokenizer, [clip.scene.caption for clip in clips]).short(),
        sprites=torch.stack([latent_sprite_map(world, clip, vae.config.temporal_compression_ratio) for clip in clips]),
        counts=torch.tensor([len(clip.tracks) for clip in clips]),
    )


def tokenize(tokenizer: T5Tokenizer, captions: list[str]) -> Tensor:
    """[caption, text length], padded as the pipeline pads."""
    encoded = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    return ids
