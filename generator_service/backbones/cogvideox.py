"""CogVideoX (Yang et al., 2024, arXiv:2408.06072): a DiT with joint attention over text and video tokens.

With classifier-free guidance both halves are one batch, the unconditional one first.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler, CogVideoXPipeline
from torch import Generator, Tensor

from generator_service.backbones.base import Scene, Solver, Stepped
from generator_service.backbones.cogvideox_attention import (
    append_text,
    borrow_attention,
    capture_features,
    split_tokens,
)
from generator_service.backbones.pipeline import TransformerBackbone
from generator_service.contract.request import RenderSettings
from generator_service.guidance.grid import Grid
from generator_service.guidance.protocols import LayerAttention

OFFSET = 2.0
"""What CogVideoX 1.5's image to video is told beside the timestep; it was trained with nothing else."""


@dataclass(frozen=True)
class CogVideoXConditioning:
    text: Tensor
    """[1, token, channel]; with classifier-free guidance [2, token, channel], the unconditional half first."""
    rotary: tuple[Tensor, Tensor] | None
    """cos and sin, each [video token, channel of a head]; None where positions are added to the tokens."""
    guidance_scale: float
    image: Tensor | None = None
    """What is seen beside the latents, of their shape; None where no image is given."""


class CogVideoX(TransformerBackbone[CogVideoXConditioning]):
    pipeline_class = CogVideoXPipeline

    @torch.no_grad()
    def prepare(self, scene: Scene, settings: RenderSettings) -> CogVideoXConditioning:
        self.pipeline.maybe_free_model_hooks()  # a cancelled video left its transformer on the GPU
        text, negative_text = self.encode_prompt(scene.caption, scene.negative if settings.guidance_scale > 1 else None)
        return CogVideoXConditioning(
            text=text if negative_text is None else torch.cat([negative_text, text]),
            rotary=self._rotary(settings),
            guidance_scale=settings.guidance_scale,
        )

    def solver(self, steps: int) -> "CogVideoXSolver":
        return CogVideoXSolver(self.pipeline.scheduler, steps, self.device)

    def initial_latents(self, settings: RenderSettings, generator: Generator) -> Tensor:
        """[1, latent frame, channel, latent row, latent column]."""
        latents: Tensor = CogVideoXPipeline.prepare_latents(
            self.pipeline,
            batch_size=1,
            num_channels_latents=self.transformer.config.out_channels,
            num_frames=self._padded(settings.frames),
            height=settings.height,
            width=settings.width,
            dtype=self.pipeline.text_encoder.dtype,
            device=self.device,
            generator=generator,
        )
        return latents

    def predict(
        self,
        latents: Tensor,
        timestep: Tensor,
        conditioning: CogVideoXConditioning,
        around: AbstractContextManager[None] = nullcontext(),
    ) -> Tensor:
        batch, given = conditioning.text.shape[0], conditioning.image
        seen = latents if given is None else torch.cat([latents, given], dim=2)
        with around, self.transformer.cache_context("both halves"):
            prediction: Tensor = self.transformer(
                hidden_states=torch.cat([seen] * batch),
                encoder_hidden_states=conditioning.text,
                timestep=timestep.expand(batch),
                ofs=None if self.transformer.config.ofs_embed_dim is None else latents.new_full((1,), OFFSET),
                image_rotary_emb=conditioning.rotary,
                return_dict=False,
            )[0].float()
        if batch == 1:
            return prediction
        unconditional, conditional = prediction.chunk(2)
        return unconditional + conditioning.guidance_scale * (conditional - unconditional)

    def decode_latents(self, latents: Tensor, settings: RenderSettings) -> Tensor:
        video: Tensor = self.pipeline.decode_latents(latents[:, self._padding(settings.frames) :])
        return video

    def grid(self, settings: RenderSettings) -> Grid:
        """Raises ValueError where CogVideoX 1.5's first patch in time spans more than the first latent frame."""
        patch_in_time: int = self.transformer.config.patch_size_t or 1
        latent_frames, padding = self._latent_frames(settings.frames), self._padding(settings.frames)
        if padding != patch_in_time - 1:
            raise ValueError(f"Got {settings.frames} frames but expected their first to have a patch of its own")
        cell = self.pipeline.vae_scale_factor_spatial * self.transformer.config.patch_size
        return Grid(
            frames=(latent_frames + padding) // patch_in_time,
            rows=settings.height // cell,
            columns=settings.width // cell,
            compression=self.pipeline.vae_scale_factor_temporal * patch_in_time,
        )

    # a `Network`: what guidance needs of the transformer

    @property
    def layers(self) -> int:
        return len(self.transformer.transformer_blocks)

    @property
    def joint(self) -> bool:
        return True

    @property
    def text_tokens(self) -> int:
        length: int = self.transformer.config.max_text_seq_length
        return length

    @contextmanager
    def borrow_attention(self, layers: Mapping[int, LayerAttention], texts: Tensor | None = None) -> Iterator[None]:
        attends = {layer: its.video for layer, its in layers.items() if its.video is not None}
        with ExitStack() as stack:
            stack.enter_context(borrow_attention(self.transformer, attends, text=self.text_tokens, ranks=self.ranks))
            if texts is not None:
                stack.enter_context(append_text(self.transformer, texts))
            yield

    def capture_features(self, layer: int) -> AbstractContextManager[Sequence[Tensor]]:
        return capture_features(self.transformer, layer, self.ranks)

    def split_tokens(self) -> None:
        split_tokens(self.transformer, text=self.text_tokens, ranks=self.ranks)

    def _padding(self, frames: int) -> int:
        """Latent frames put before a video of CogVideoX 1.5, whose patches span several, and cut off at the end."""
        patch: int = self.transformer.config.patch_size_t or 1
        return -self._latent_frames(frames) % patch

    def _padded(self, frames: int) -> int:
        """Frames of which the latent ones are a whole number of patches."""
        compression: int = self.pipeline.vae_scale_factor_temporal
        return frames + self._padding(frames) * compression

    def _latent_frames(self, frames: int) -> int:
        compression: int = self.pipeline.vae_scale_factor_temporal
        return (frames - 1) // compression + 1

    def _rotary(self, settings: RenderSettings) -> tuple[Tensor, Tensor] | None:
        if not self.transformer.config.use_rotary_positional_embeddings:
            return None
        latent_frames = self._latent_frames(settings.frames) + self._padding(settings.frames)
        cos, sin = self.pipeline._prepare_rotary_positional_embeddings(
            settings.height, settings.width, latent_frames, self.device
        )
        return cos, sin


class CogVideoXSolver(Solver):
    """The checkpoint's own: DDIM (2B), or DPM-Solver++ (2M, SDE; 5B), whose memory is the last clean estimate."""

    def __init__(self, checkpoint_scheduler: Any, steps: int, device: torch.device) -> None:
        self.scheduler = type(checkpoint_scheduler).from_config(checkpoint_scheduler.config)
        self.scheduler.set_timesteps(steps, device=device)
        # For some counts (61, 103, …) rounding gives the stock schedulers one timestep more, -1: past the clean video.
        self.timesteps: Tensor = self.scheduler.timesteps[:steps]
        alpha = self.scheduler.alphas_cumprod[self.timesteps.cpu()].sqrt()
        sigma = (1 - alpha.square()).sqrt()
        self.noise_levels = tuple((sigma / (alpha + sigma)).tolist())

    def step(
        self, index: int, prediction: Tensor, latents: Tensor, memory: Tensor | None, generator: Generator
    ) -> Stepped:
        timestep = self.timesteps[index]
        if isinstance(self.scheduler, CogVideoXDPMScheduler):
            before = self.timesteps[index - 1] if index > 0 else None
            stepped, clean = self.scheduler.step(
                prediction, memory, timestep, before, latents, generator=generator, return_dict=False
            )
            memory = clean
        elif isinstance(self.scheduler, CogVideoXDDIMScheduler):
            stepped, clean = self.scheduler.step(prediction, timestep, latents, generator=generator, return_dict=False)
        else:
            raise TypeError(f"Got a {type(self.scheduler).__name__} but expected a CogVideoX scheduler")
        return Stepped(stepped.to(latents.dtype), memory, clean)
