"""CogVideoX (Yang et al., 2024, arXiv:2408.06072): a DiT with joint attention over text and video tokens.

The stock diffusers pipeline holds the parts (T5, transformer, VAE, scheduler); the loop is ours.  Every step here
does what `CogVideoXPipeline.__call__` does with its defaults, in the same order, so that the bits are the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler, CogVideoXPipeline
from diffusers.utils import logging as diffusers_logging
from torch import Generator, Tensor
from transformers.utils import logging as transformers_logging

from generator_service.backbones.base import Backbone, Frames, Scene, Setup, Solver
from generator_service.backbones.cogvideox_attention import append_text, borrow_attention, capture_features
from generator_service.backbones.device import device_name, resolve_device, resolve_dtype
from generator_service.backbones.weights import find_weights
from generator_service.contract.backbones import BackboneSpec
from generator_service.contract.request import RenderSettings
from generator_service.guidance.grid import Grid
from generator_service.guidance.layout import layout_on
from generator_service.guidance.protocols import UNGUIDED, Attend, Guidance
from generator_service.guidance.video import VideoGuidance
from generator_service.settings import WorkerSettings
from shared.plan import Plan


@dataclass(frozen=True)
class CogVideoXConditioning:
    text: Tensor
    """[1, token, channel]; with classifier-free guidance [2, token, channel], the unconditional half first."""
    rotary: tuple[Tensor, Tensor] | None
    """cos and sin, each [video token, channel of a head]; None where positions are added to the tokens."""
    guidance_scale: float


class CogVideoX(Backbone[CogVideoXConditioning]):
    def __init__(self, spec: BackboneSpec, pipeline: Any, device: torch.device, setup: Setup) -> None:
        """pipeline: a `CogVideoXPipeline` whose parts are on `device`, or will move there when they are called."""
        self.spec = spec
        self.setup = setup
        self.pipeline = pipeline
        self.transformer = pipeline.transformer
        self.device = device

    @classmethod
    def load(cls, spec: BackboneSpec, settings: WorkerSettings) -> Self:
        """Raises WeightsMissing, and RenderingFailed for a device that is not there."""
        weights = find_weights(spec, settings.weights)
        device = resolve_device(settings)
        dtype = resolve_dtype(settings, device, weights.path)
        with _no_progress_bars():
            pipeline = CogVideoXPipeline.from_pretrained(
                weights.path, dtype=dtype, local_files_only=True, use_safetensors=True
            )
        match settings.offload:
            case "none":
                pipeline.to(device)
            case "model":
                pipeline.enable_model_cpu_offload(device=device)
            case "sequential":
                pipeline.enable_sequential_cpu_offload(device=device)
        if settings.vae_tiling:
            pipeline.vae.enable_tiling()
        setup = Setup(
            weights_revision=weights.revision,
            device=device_name(device),
            dtype=str(dtype).removeprefix("torch."),
            vae_tiling=settings.vae_tiling,
        )
        return cls(spec, pipeline, device, setup)

    def scene(self, prompt: str, plan: Plan | None) -> Scene:
        """As they are; a note says what of the prompt is too long to be read."""
        scene = super().scene(prompt, plan)
        tokenizer = self.pipeline.tokenizer
        tokens = tokenizer(prompt).input_ids
        if len(tokens) <= self.text_tokens:
            return scene
        unread = tokenizer.decode(tokens[self.text_tokens - 1 : -1])
        return replace(scene, notes=(f"only {self.text_tokens} tokens are read; unread: '{unread}'",))

    @torch.no_grad()
    def prepare(self, caption: str, settings: RenderSettings) -> CogVideoXConditioning:
        self.pipeline.maybe_free_model_hooks()  # a cancelled video left its transformer on the GPU
        guided = settings.guidance_scale > 1
        text, empty_text = self.pipeline.encode_prompt(
            caption, do_classifier_free_guidance=guided, max_sequence_length=self.text_tokens, device=self.device
        )
        return CogVideoXConditioning(
            text=torch.cat([empty_text, text]) if guided else text,
            rotary=self._rotary(settings),
            guidance_scale=settings.guidance_scale,
        )

    def solver(self, steps: int) -> "CogVideoXSolver":
        return CogVideoXSolver(self.pipeline.scheduler, steps, self.device)

    def initial_latents(self, settings: RenderSettings, generator: Generator) -> Tensor:
        """[1, latent frame, channel, latent row, latent column]."""
        latents: Tensor = self.pipeline.prepare_latents(
            batch_size=1,
            num_channels_latents=self.transformer.config.in_channels,
            num_frames=settings.frames + self._padding(settings.frames) * self.pipeline.vae_scale_factor_temporal,
            height=settings.height,
            width=settings.width,
            dtype=self.pipeline.text_encoder.dtype,
            device=self.device,
            generator=generator,
        )
        return latents

    def predict(self, latents: Tensor, timestep: Tensor, conditioning: CogVideoXConditioning) -> Tensor:
        batch = conditioning.text.shape[0]
        prediction: Tensor = self.transformer(
            hidden_states=torch.cat([latents] * batch),
            encoder_hidden_states=conditioning.text,
            timestep=timestep.expand(batch),
            image_rotary_emb=conditioning.rotary,
            return_dict=False,
        )[0].float()
        if batch == 1:
            return prediction
        unconditional, conditional = prediction.chunk(2)
        return unconditional + conditioning.guidance_scale * (conditional - unconditional)

    def guidance(self, scene: Scene, settings: RenderSettings) -> Guidance:
        if scene.plan is None or settings.guidance.is_off:
            return UNGUIDED
        layout = layout_on(self.grid(settings), scene.plan)
        return VideoGuidance.of(self, layout, scene.descriptions, scene.surroundings, settings.guidance, settings.steps)

    @torch.no_grad()
    def decode(self, latents: Tensor, settings: RenderSettings) -> Frames:
        video = self.pipeline.decode_latents(latents[:, self._padding(settings.frames) :])
        self.pipeline.maybe_free_model_hooks()
        pictures = self.pipeline.video_processor.postprocess_video(video, output_type="np")[0]  # [F, H, W, 3], 0 to 1
        frames: Frames = (pictures * 255).round().astype("uint8")
        return frames

    def grid(self, settings: RenderSettings) -> Grid:
        """The video tokens that the transformer's attention sees.

        Raises ValueError where CogVideoX 1.5's first patch in time spans more than the first latent frame.
        """
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
    def text_tokens(self) -> int:
        length: int = self.transformer.config.max_text_seq_length
        return length

    def encode(self, texts: Sequence[str]) -> Tensor:
        encoded, _ = self.pipeline.encode_prompt(
            list(texts),
            do_classifier_free_guidance=False,
            max_sequence_length=self.text_tokens,
            device=self.device,
        )
        embeddings: Tensor = encoded
        return embeddings

    @contextmanager
    def borrow_attention(self, attends: Mapping[int, Attend], texts: Tensor | None = None) -> Iterator[None]:
        with ExitStack() as stack:
            if attends:
                stack.enter_context(borrow_attention(self.transformer, attends, text=self.text_tokens))
            if texts is not None:
                stack.enter_context(append_text(self.transformer, texts))
            yield

    def capture_features(self, layer: int) -> AbstractContextManager[Sequence[Tensor]]:
        return capture_features(self.transformer, layer)

    def _padding(self, frames: int) -> int:
        """Latent frames put before a video of CogVideoX 1.5, whose patches span several, and cut off at the end."""
        patch: int = self.transformer.config.patch_size_t or 1
        return -self._latent_frames(frames) % patch

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


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Both libraries draw bars while they load: not into a worker's log.  They are left as they were."""
    loud = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    for library in loud:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in loud:
            library.enable_progress_bar()


class CogVideoXSolver(Solver):
    """The checkpoint's own: DDIM (2B), or DPM-Solver++ (2M, SDE; 5B), whose memory is the last clean estimate."""

    def __init__(self, checkpoint_scheduler: Any, steps: int, device: torch.device) -> None:
        self.scheduler = type(checkpoint_scheduler).from_config(checkpoint_scheduler.config)
        self.scheduler.set_timesteps(steps, device=device)
        # For some counts (61, 103, …) rounding gives the stock schedulers one timestep more, -1: past the clean video.
        self.timesteps: Tensor = self.scheduler.timesteps[:steps]

    def step(
        self, index: int, prediction: Tensor, latents: Tensor, memory: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor | None]:
        timestep = self.timesteps[index]
        if isinstance(self.scheduler, CogVideoXDPMScheduler):
            before = self.timesteps[index - 1] if index > 0 else None
            stepped, memory = self.scheduler.step(
                prediction, memory, timestep, before, latents, generator=generator, return_dict=False
            )
        elif isinstance(self.scheduler, CogVideoXDDIMScheduler):
            stepped = self.scheduler.step(prediction, timestep, latents, generator=generator, return_dict=False)[0]
        else:
            raise TypeError(f"Got a {type(self.scheduler).__name__} but expected a CogVideoX scheduler")
        return stepped.to(latents.dtype), memory
