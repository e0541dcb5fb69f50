"""Wan that begins with an image, which is stretched to the video's size (Lanczos), as the stock pipeline does.

Most checkpoints see its latents beside the noisy ones, with those of grey frames after it, and a mask of which are
given; Wan 2.1's read what CLIP says of it, too.  TI2V-5B, which does without one as well, has it in place of the first
latent frame, whose tokens are told the timestep 0.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Generator
from transformers.utils import logging as transformers_logging

from generator_service.backbones.base import Scene
from generator_service.backbones.wan import Wan, WanConditioning
from generator_service.contract.request import RenderSettings


@contextmanager
def _quietly() -> Iterator[None]:
    """Where torchvision is not installed, transformers says so in every process that imports CLIP's image processor."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


with _quietly():
    from diffusers import WanImageToVideoPipeline


class WanImageToVideo(Wan):
    pipeline_class = WanImageToVideoPipeline

    @classmethod
    def dtypes(cls, dtype: torch.dtype) -> dict[str, torch.dtype]:
        return super().dtypes(dtype) | {"image_encoder": torch.float32}

    @torch.no_grad()
    def prepare(self, scene: Scene, settings: RenderSettings) -> WanConditioning:
        conditioning, pipeline = super().prepare(scene, settings), self.pipeline
        if scene.image is None:
            if self.times_tokens:
                return conditioning
            raise ValueError(f"Got no image but expected one: {self.spec.name} begins with it")
        size = {"height": settings.height, "width": settings.width}
        _, image, *_ = pipeline.prepare_latents(
            pipeline.video_processor.preprocess(scene.image, **size).to(self.device, torch.float32),
            batch_size=1,
            num_channels_latents=pipeline.vae.config.z_dim,
            num_frames=settings.frames,
            dtype=torch.float32,
            device=self.device,
            generator=Generator("cpu"),  # for noise, which nobody uses
            **size,
        )
        if self.times_tokens:
            return replace(conditioning, first=image)
        if self.transformer.config.image_dim is None:
            return replace(conditioning, beside=image)
        seen = pipeline.encode_image(scene.image, self.device).to(self.transformer.dtype)
        return replace(conditioning, beside=image, control={"encoder_hidden_states_image": seen})
