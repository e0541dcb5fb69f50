"""Stage 2: clips are drawn and encoded once, in numbered shards, so that the transformer never waits for the VAE."""

import time
from collections.abc import Callable
from dataclasses import dataclass
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

SHARD = 64
"""Clips per file."""
ENCODED_AT_ONCE = 16
REPORT_SECONDS = 10


@dataclass(frozen=True)
class Latents:
    """latents: [clip, latent frames, channels, rows, columns] bfloat16, as the pipeline denoises them;
    tokens: [clip, text length]; sprites: [clip, latent frames, rows, columns], whose box touches a cell (`sprite_map`);
    alone: [clip] bool, one object."""

    latents: Tensor
    tokens: Tensor
    sprites: Tensor
    alone: Tensor


def cache_latents(
    folder: Path,
    clips: int,
    vae: AutoencoderKLCogVideoX,
    tokenizer: T5Tokenizer,
    world: WorldSpec,
    device: str,
    seed: int,
    pair_share: float,
    report: Callable[[str], None],
) -> Latents:
    """Write the shards that are missing, shared out over the processes, and read them all."""
    files = [folder / f"{index:05d}.pt" for index in range(-(-clips // SHARD))]
    processes = dist.get_world_size() if dist.is_initialized() else 1
    vae = vae.to(device).eval()
    reported = time.monotonic()
    for index in range(rank(), len(files), processes):
        if not files[index].exists():
            write_atomically(
                _shard(index, min(SHARD, clips - index * SHARD), vae, tokenizer, world, device, seed, pair_share),
                files[index],
            )
        if time.monotonic() - reported > REPORT_SECONDS:
            reported = time.monotonic()
            report(f"{min((index + 1) * SHARD, clips)} of {clips} clips")
    barrier()
    shards = [torch.load(file, weights_only=True) for file in files]
    return Latents(**{key: torch.cat([shard[key] for shard in shards])[:clips] for key in shards[0]})


@torch.no_grad()
def _shard(
    index: int,
    clips_wanted: int,
    vae: AutoencoderKLCogVideoX,
    tokenizer: T5Tokenizer,
    world: WorldSpec,
    device: str,
    seed: int,
    pair_share: float,
) -> dict[str, Tensor]:
    clips = [training_clip(world, (seed, 3, index, k), pair_share=pair_share) for k in range(clips_wanted)]
    latents = []
    for part in to_signed(torch.stack([clip.video for clip in clips])).split(ENCODED_AT_ONCE):
        with mixed_precision(device):
            mode = vae.encode(part.to(device)).latent_dist.mode()
        latents.append((mode.float() * vae.config.scaling_factor).transpose(1, 2).to("cpu", torch.bfloat16))
    return {
        "latents": torch.cat(latents),
        "tokens": tokenize(tokenizer, [clip.scene.caption for clip in clips]).short(),
        "sprites": torch.stack([latent_sprite_map(world, clip) for clip in clips]),
        "alone": torch.tensor([len(clip.tracks) == 1 for clip in clips]),
    }


def tokenize(tokenizer: T5Tokenizer, captions: list[str]) -> Tensor:
    """[caption, text length], padded as the pipeline pads."""
    encoded = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    return ids
