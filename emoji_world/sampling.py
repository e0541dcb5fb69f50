"""Captions → videos through the stock CogVideoXPipeline."""

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import CogVideoXPipeline
from torch import Tensor

from emoji_world.networks import WEIGHTS
from emoji_world.precision import mixed_precision

STEPS = 25
GUIDANCE_SCALE = 3.0
DRAWN_AT_ONCE = 16


def load_pipeline(folder: Path = WEIGHTS) -> CogVideoXPipeline:
    """The model as shipped (fp16 on disk), in fp32."""
    pipeline: CogVideoXPipeline = CogVideoXPipeline.from_pretrained(str(folder), dtype=torch.float32)
    return pipeline


@torch.no_grad()
def draw_videos(
    pipeline: CogVideoXPipeline,
    captions: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    guidance_scale: float = GUIDANCE_SCALE,
) -> Tensor:
    """[caption, frames, 3, height, width] in 0..1, in mixed precision; each video depends on its own seed alone."""
    pipeline.set_progress_bar_config(disable=True)
    config = pipeline.transformer.config
    videos = []
    for start in range(0, len(captions), DRAWN_AT_ONCE):
        part = slice(start, start + DRAWN_AT_ONCE)
        with mixed_precision(pipeline.device.type):
            frames = pipeline(
                prompt=[caption.lower() for caption in captions[part]],
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[part]],
                num_frames=config.sample_frames,
                height=config.sample_height * pipeline.vae_scale_factor_spatial,
                width=config.sample_width * pipeline.vae_scale_factor_spatial,
                num_inference_steps=steps,
                guidance_scale=guidance_scale,
                max_sequence_length=config.max_text_seq_length,
                output_type="pt",
            ).frames
        videos.append(frames.float().cpu())
    return torch.cat(videos)
