"""CogVideoX that begins with an image: its latents are seen beside those of the first frame, zeros beside all others.

The image is stretched to the video's size (Lanczos), as the stock pipeline does.
"""

from dataclasses import replace

import torch
from diffusers import CogVideoXImageToVideoPipeline
from torch import Generator, Tensor

from generator_service.backbones.base import Scene
from generator_service.backbones.cogvideox import CogVideoX, CogVideoXConditioning
from generator_service.contract.request import RenderSettings


class CogVideoXImageToVideo(CogVideoX):
    pipeline_class = CogVideoXImageToVideoPipeline

    @torch.no_grad()
    def prepare(self, scene: Scene, settings: RenderSettings) -> CogVideoXConditioning:
        if scene.image is None:
            raise ValueError(f"Got no image but expected one: {self.spec.name} begins with it")
        conditioning = super().prepare(scene, settings)
        size, dtype = {"height": settings.height, "width": settings.width}, conditioning.text.dtype
        _, image = self.pipeline.prepare_latents(
            self.pipeline.video_processor.preprocess(scene.image, **size).to(self.device, dtype),
            batch_size=1,
            num_channels_latents=self.pipeline.vae.config.latent_channels,
            num_frames=self._padded(settings.frames),
            dtype=dtype,
            device=self.device,
            generator=Generator("cpu").manual_seed(settings.seed),
            **size,
        )
        return replace(conditioning, image=image)

    def initial_latents(self, settings: RenderSettings, generator: Generator) -> Tensor:
        """The noise of the stock pipeline, which draws that of the image's latents first."""
        vae, scale = self.pipeline.vae, self.pipeline.vae_scale_factor_spatial
        shape = (1, vae.config.latent_channels, 1, settings.height // scale, settings.width // scale)
        torch.randn(shape, generator=generator, dtype=vae.dtype)
        return super().initial_latents(settings, generator)
