"""VideoCrafter2 (Chen et al., 2024, arXiv:2401.09047): a 3D U-Net whose frames meet in temporal attention.

Its parts are diffusers' own, but for two: the U-Net is told how many frames a second go by, and the noise schedule
shrinks the signal.  With classifier-free guidance the halves are two predictions.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    ModelMixin,  # noqa: F401  (diffusers, loading a folder, looks here for the base of what is ours)
    SchedulerMixin,  # noqa: F401  (likewise)
    UNet3DConditionModel,
)
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.video_processor import VideoProcessor
from torch import Generator, Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from generator_service.backbones.base import Scene, Setup, Solver, Stepped
from generator_service.backbones.pipeline import PipelineBackbone
from generator_service.backbones.videocrafter2_attention import layers_of, watch
from generator_service.contract.backbones import BackboneSpec
from generator_service.contract.request import RenderSettings
from generator_service.guidance.grid import Grid
from generator_service.guidance.protocols import UNGUIDED, Guidance, Place
from generator_service.guidance.refocus import Words
from generator_service.guidance.unet_video import UNetGuidance

PADDING = 0
"""The token after the end of a text: not the end token, as in most uses of CLIP."""


class TimeAndRateEmbedding(TimestepEmbedding):  # type: ignore[misc]
    """The sum of two embeddings, of the timestep and of the frames a second."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__(channels, embedding)
        self.rate = TimestepEmbedding(channels, embedding)

    def forward(self, sample: Tensor, condition: Tensor) -> Tensor:
        time: Tensor = super().forward(sample)
        return time + cast(Tensor, self.rate(condition))


class VideoCrafterUNet(UNet3DConditionModel):  # type: ignore[misc]
    """The stock network; `timestep_cond` is `project_rate(fps)`."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: tuple[int, int] = (40, 64),
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        norm_num_groups: int = 32,
        cross_attention_dim: int = 1024,
        attention_head_dim: int = 64,
    ) -> None:
        # The undecorated one: the decorated would write all of its defaults into our configuration, which are no
        # arguments of ours.
        UNet3DConditionModel.__init__.__wrapped__(
            self,
            sample_size=sample_size,
            block_out_channels=block_out_channels,
            norm_num_groups=norm_num_groups,
            cross_attention_dim=cross_attention_dim,
            attention_head_dim=attention_head_dim,
        )
        self.time_embedding = TimeAndRateEmbedding(block_out_channels[0], 4 * block_out_channels[0])

    def project_rate(self, fps: int) -> Tensor:
        """[1, channel]"""
        projected: Tensor = self.time_proj(torch.tensor([fps], device=self.device))
        return projected.to(self.dtype)


class VideoCrafterScheduler(DDIMScheduler):  # type: ignore[misc]
    """DDIM on a forward process that shrinks the signal, too:

        x_t = √ᾱ_t s_t x_0 + √(1 - ᾱ_t) ε        s_t: from 1 to `signal_scale` over the first `scaled_steps`, then that
        x_s = √ᾱ_s s_s x_0 + direction + noise   the step from t to s

    The stock step knows x̂_0 = s_t x_0, and gives √ᾱ_s x̂_0 + direction + noise.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        signal_scale: float = 0.7,
        scaled_steps: int = 400,
        eta: float = 1.0,
    ) -> None:
        """eta: how much of the noise each step replaces, from 0 to 1."""
        super().__init__(
            num_train_timesteps=num_train_timesteps,
            beta_start=beta_start,
            beta_end=beta_end,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
        falling = torch.linspace(1, signal_scale, scaled_steps)
        self.signal_scales = torch.cat([falling, falling.new_full((num_train_timesteps - scaled_steps,), signal_scale)])

    def step(
        self, prediction: Tensor, timestep: Tensor, latents: Tensor, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The latents of the step after it, and x_0."""
        stepped, scaled = super().step(
            prediction, timestep, latents, eta=self.config.eta, generator=generator, return_dict=False
        )
        before = max(0, int(timestep) - self.config.num_train_timesteps // self.num_inference_steps)
        scale, scale_before = self.signal_scales[int(timestep)], self.signal_scales[before]
        stepped += (scale_before / scale - 1) * self.alphas_cumprod[before].sqrt() * scaled
        return stepped, scaled / scale


class VideoCrafterPipeline(DiffusionPipeline):  # type: ignore[misc]
    """The parts, as diffusers loads, saves and offloads them; the loop is in `sampling`."""

    model_cpu_offload_seq = "text_encoder->unet->vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: VideoCrafterUNet,
        scheduler: VideoCrafterScheduler,
    ) -> None:
        super().__init__()
        self.register_modules(vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler)
        self.spatial_compression = 2 ** (len(vae.config.block_out_channels) - 1)
        self.video_processor = VideoProcessor(vae_scale_factor=self.spatial_compression)


@dataclass(frozen=True)
class VideoCrafterConditioning:
    text: Tensor
    """[1, token, channel]."""
    negative_text: Tensor | None
    """Likewise; None without classifier-free guidance."""
    rate: Tensor
    """[1, channel]: the frames a second."""
    guidance_scale: float


class VideoCrafter2(PipelineBackbone[VideoCrafterConditioning]):
    pipeline_class = VideoCrafterPipeline
    denoisers = ("unet",)

    def __init__(self, spec: BackboneSpec, pipeline: Any, device: torch.device, setup: Setup) -> None:
        super().__init__(spec, pipeline, device, setup)
        self.unet = pipeline.unet.requires_grad_(False)  # gradients are of latents alone

    @torch.no_grad()
    def prepare(self, scene: Scene, settings: RenderSettings) -> VideoCrafterConditioning:
        self.pipeline.maybe_free_model_hooks()  # a cancelled video left its U-Net on the GPU
        with_negative = settings.guidance_scale > 1
        return VideoCrafterConditioning(
            text=self._encode(scene.caption),
            negative_text=self._encode(scene.negative) if with_negative else None,
            rate=self.unet.project_rate(settings.fps).to(self.device),
            guidance_scale=settings.guidance_scale,
        )

    def solver(self, steps: int) -> "VideoCrafterSolver":
        return VideoCrafterSolver(self.pipeline.scheduler, steps, self.device)

    def initial_latents(self, settings: RenderSettings, generator: Generator) -> Tensor:
        """[1, channel, frame, latent row, latent column], float32."""
        compression = self.pipeline.spatial_compression
        rows, columns = settings.height // compression, settings.width // compression
        shape = (1, self.pipeline.vae.config.latent_channels, settings.frames, rows, columns)
        return torch.randn(shape, generator=generator).to(self.device)

    def predict(
        self,
        latents: Tensor,
        timestep: Tensor,
        conditioning: VideoCrafterConditioning,
        around: AbstractContextManager[None] = nullcontext(),
    ) -> Tensor:
        def noise(text: Tensor) -> Tensor:
            predicted: Tensor = self.unet(
                latents.to(self.unet.dtype),
                timestep,
                encoder_hidden_states=text,
                timestep_cond=conditioning.rate,
                return_dict=False,
            )[0]
            return predicted.float()

        with around:
            conditional = noise(conditioning.text)
        if conditioning.negative_text is None:
            return conditional
        unconditional = noise(conditioning.negative_text)
        return unconditional + conditioning.guidance_scale * (conditional - unconditional)

    def guidance(self, scene: Scene, settings: RenderSettings) -> Guidance:
        wish, plan = settings.guidance, scene.plan
        if plan is None or wish.is_off:
            return UNGUIDED
        words = self._words(scene.caption, [instance.name for instance in plan.graph.instances])
        levels = self.solver(settings.steps).noise_levels
        return UNetGuidance.of(self, self.grids(settings), plan, words, wish, levels)

    def watch(self, places: Collection[Place], seen: dict[Place, Tensor]) -> AbstractContextManager[None]:
        return watch(self.unet, places, seen)

    def grids(self, settings: RenderSettings) -> tuple[Grid, ...]:
        """Of each layer."""
        cells = [self.pipeline.spatial_compression * 2**layer.level for layer in layers_of(self.unet)]
        return tuple(Grid(settings.frames, settings.height // cell, settings.width // cell) for cell in cells)

    def decode_latents(self, latents: Tensor, settings: RenderSettings) -> Tensor:
        vae = self.pipeline.vae
        scaled = latents.to(self.device, vae.dtype) / vae.config.scaling_factor
        return torch.stack([vae.decode(frame, return_dict=False)[0] for frame in scaled.unbind(2)], dim=2)

    @property
    def text_tokens(self) -> int:
        length: int = self.pipeline.text_encoder.config.max_position_embeddings
        return length

    def _tokenize(self, text: str) -> Any:
        return self.pipeline.tokenizer(text, truncation=True, max_length=self.text_tokens, return_offsets_mapping=True)

    def _encode(self, text: str) -> Tensor:
        """[1, token, channel]"""
        ids = self._tokenize(text).input_ids
        ids += [PADDING] * (self.text_tokens - len(ids))
        encoded: Tensor = self.pipeline.text_encoder(torch.tensor([ids], device=self.device), return_dict=False)[0]
        return encoded

    def _words(self, caption: str, names: Sequence[str]) -> Words:
        return Words.of(caption, self._tokenize(caption).offset_mapping[1:-1], names)


class VideoCrafterSolver(Solver):
    """The checkpoint's own DDIM."""

    def __init__(self, checkpoint_scheduler: Any, steps: int, device: torch.device) -> None:
        self.scheduler = VideoCrafterScheduler.from_config(checkpoint_scheduler.config)
        self.scheduler.set_timesteps(steps, device=device)
        self.timesteps: Tensor = self.scheduler.timesteps
        of_training = self.timesteps.cpu()
        alpha = self.scheduler.alphas_cumprod[of_training].sqrt() * self.scheduler.signal_scales[of_training]
        sigma = (1 - self.scheduler.alphas_cumprod[of_training]).sqrt()
        self.noise_levels = tuple((sigma / (alpha + sigma)).tolist())

    def step(
        self, index: int, prediction: Tensor, latents: Tensor, memory: Tensor | None, generator: Generator
    ) -> Stepped:
        stepped, clean = self.scheduler.step(prediction, self.timesteps[index], latents, generator)
        return Stepped(stepped, None, clean)
