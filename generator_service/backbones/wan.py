"""Wan (Wan Team, 2025, arXiv:2503.20314): a DiT whose video tokens attend to themselves, and then to the text.

Wan 2.2 comes in two more forms: two experts, of which the second takes over below a noise level (A14B); and one network
that is told a timestep for each token (TI2V-5B).  What begins with an image is in `wan_image.py`.  With classifier-free
guidance the halves are two predictions.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import UniPCMultistepScheduler, WanPipeline
from torch import Generator, Tensor

from generator_service.backbones.base import Scene, Setup, Solver, Stepped
from generator_service.backbones.pipeline import TransformerBackbone
from generator_service.backbones.wan_attention import append_text, borrow_attention, capture_features, split_tokens
from generator_service.contract.backbones import BackboneSpec
from generator_service.contract.request import RenderSettings
from generator_service.guidance.grid import Grid
from generator_service.guidance.protocols import LayerAttention

TEXT_TOKENS = 512
"""A text is padded to so many with zeros, and these are attended to: the network was trained so."""


@dataclass(frozen=True)
class WanConditioning:
    text: Tensor
    """[1, token, channel]."""
    negative_text: Tensor | None
    """Likewise; None without classifier-free guidance."""
    guidance_scale: float
    control: Mapping[str, Tensor] = field(default_factory=dict)
    """What else the transformer is given, in both halves."""
    beside: Tensor | None = None
    """[1, channel, …]: what it sees beside the latents."""
    first: Tensor | None = None
    """[1, channel, 1, …]: the first latent frame, where it is given."""


class Wan(TransformerBackbone[WanConditioning]):
    pipeline_class = WanPipeline
    denoisers = ("transformer", "transformer_2")
    gpu_dtype = torch.bfloat16

    def __init__(self, spec: BackboneSpec, pipeline: Any, device: torch.device, setup: Setup) -> None:
        super().__init__(spec, pipeline, device, setup)
        if pipeline.transformer_2 is not None:
            self.experts = (self.transformer, pipeline.transformer_2)

    @classmethod
    def dtypes(cls, dtype: torch.dtype) -> dict[str, torch.dtype]:
        """The VAE was trained in float32, and shows it in less."""
        return {"default": dtype, "vae": torch.float32}

    @torch.no_grad()
    def prepare(self, scene: Scene, settings: RenderSettings) -> WanConditioning:
        self.pipeline.maybe_free_model_hooks()  # a cancelled video left its transformer on the GPU
        text, negative_text = self.encode_prompt(scene.caption, scene.negative if settings.guidance_scale > 1 else None)
        dtype = self.transformer.dtype
        return WanConditioning(
            text=text.to(dtype),
            negative_text=None if negative_text is None else negative_text.to(dtype),
            guidance_scale=settings.guidance_scale,
        )

    def solver(self, steps: int) -> "WanSolver":
        return WanSolver(self.pipeline.scheduler, steps, self.device)

    def initial_latents(self, settings: RenderSettings, generator: Generator) -> Tensor:
        """[1, channel, latent frame, latent row, latent column], float32."""
        latents: Tensor = WanPipeline.prepare_latents(
            self.pipeline,
            batch_size=1,
            num_channels_latents=self.transformer.config.out_channels,
            height=settings.height,
            width=settings.width,
            num_frames=settings.frames,
            dtype=torch.float32,
            device=self.device,
            generator=generator,
        )
        return latents

    def predict(
        self,
        latents: Tensor,
        timestep: Tensor,
        conditioning: WanConditioning,
        around: AbstractContextManager[None] = nullcontext(),
    ) -> Tensor:
        expert, seen = self._expert(timestep), self.impose(latents, conditioning)
        times = self._times(timestep, latents, conditioning.first is not None)
        if conditioning.beside is not None:
            seen = torch.cat([seen, conditioning.beside], dim=1)

        def velocity(half: str, text: Tensor) -> Tensor:
            with expert.cache_context(half):
                predicted: Tensor = expert(
                    hidden_states=seen.to(self.transformer.dtype),
                    timestep=times,
                    encoder_hidden_states=text,
                    **conditioning.control,
                    return_dict=False,
                )[0]
            return predicted

        with around:
            conditional = velocity("cond", conditioning.text)
        if conditioning.negative_text is None:
            return conditional
        unconditional = velocity("uncond", conditioning.negative_text)
        return unconditional + conditioning.guidance_scale * (conditional - unconditional)

    def impose(self, latents: Tensor, conditioning: WanConditioning) -> Tensor:
        if conditioning.first is None:
            return latents
        return torch.cat([conditioning.first, latents[:, :, 1:]], dim=2)

    def decode_latents(self, latents: Tensor, settings: RenderSettings) -> Tensor:
        vae = self.pipeline.vae
        latents = latents.to(self.device, vae.dtype)
        shape = (1, vae.config.z_dim, 1, 1, 1)
        mean = torch.tensor(vae.config.latents_mean).view(shape).to(latents)
        inverse = 1.0 / torch.tensor(vae.config.latents_std).view(shape).to(latents)
        video: Tensor = vae.decode(latents / inverse + mean, return_dict=False)[0]
        return video

    def grid(self, settings: RenderSettings) -> Grid:
        patch_in_time, rows, columns = self.transformer.config.patch_size
        spatial: int = self.pipeline.vae_scale_factor_spatial
        compression: int = self.pipeline.vae_scale_factor_temporal
        return Grid(
            frames=((settings.frames - 1) // compression + 1) // patch_in_time,
            rows=settings.height // spatial // rows,
            columns=settings.width // spatial // columns,
            compression=compression * patch_in_time,
        )

    @property
    def layers(self) -> int:
        return len(self.transformer.blocks)

    @property
    def joint(self) -> bool:
        return False

    @property
    def text_tokens(self) -> int:
        return TEXT_TOKENS

    @contextmanager
    def borrow_attention(self, layers: Mapping[int, LayerAttention], texts: Tensor | None = None) -> Iterator[None]:
        read = self.text_tokens + (0 if texts is None else texts.shape[1])
        with ExitStack() as stack:
            for expert in self.experts:
                stack.enter_context(borrow_attention(expert, layers, self.ranks, texts=read))
                if texts is not None:
                    stack.enter_context(append_text(expert, texts))
            yield

    @contextmanager
    def capture_features(self, layer: int) -> Iterator[Sequence[Tensor]]:
        captured: list[Tensor] = []
        with ExitStack() as stack:
            for expert in self.experts:
                stack.enter_context(capture_features(expert, layer, captured, self.ranks))
            yield captured

    def split_tokens(self) -> None:
        for expert in self.experts:
            split_tokens(expert, self.ranks)

    def _expert(self, timestep: Tensor) -> Any:
        """The second one below the checkpoint's boundary."""
        ratio = self.pipeline.config.boundary_ratio
        if ratio is None or timestep >= ratio * self.pipeline.scheduler.config.num_train_timesteps:
            return self.experts[0]
        return self.experts[1]

    @property
    def times_tokens(self) -> bool:
        """Whether the network is told a timestep for each token."""
        return bool(self.pipeline.config.get("expand_timesteps", False))

    def _times(self, timestep: Tensor, latents: Tensor, is_first_given: bool) -> Tensor:
        """[1]; or [1, N], for each token, where the network asks for it."""
        if not self.times_tokens:
            return timestep.expand(1)
        _, rows, columns = self.transformer.config.patch_size
        times = timestep.float().repeat(latents[0, 0, :, ::rows, ::columns].shape)
        if is_first_given:
            times[0] = 0
        return times.flatten().unsqueeze(0)


class WanSolver(Solver):
    """The checkpoint's own, UniPC (Zhao et al., 2023, arXiv:2302.04867) on a flow: a predictor that is corrected once
    the next prediction is there.

    Its memory is [1 + order, …]: the latents that the last step went out from, and the last clean estimates, the oldest
    first; fewer of these in the first steps.
    """

    def __init__(self, checkpoint_scheduler: Any, steps: int, device: torch.device) -> None:
        if not isinstance(checkpoint_scheduler, UniPCMultistepScheduler):
            raise TypeError(f"Got a {type(checkpoint_scheduler).__name__} but expected a UniPCMultistepScheduler")
        self.scheduler = UniPCMultistepScheduler.from_config(checkpoint_scheduler.config)
        self.scheduler.set_timesteps(steps, device=device)
        self.timesteps: Tensor = self.scheduler.timesteps
        self.noise_levels = tuple(self.scheduler.sigmas[:steps].tolist())

    def step(
        self, index: int, prediction: Tensor, latents: Tensor, memory: Tensor | None, generator: Generator
    ) -> Stepped:
        scheduler, order = copy(self.scheduler), self.scheduler.config.solver_order
        scheduler.set_begin_index(index)
        scheduler.timestep_list = [None] * order
        scheduler.model_outputs = [None] * order
        if memory is not None:
            scheduler.last_sample, *estimates = memory
            scheduler.model_outputs[order - len(estimates) :] = estimates
            scheduler.lower_order_nums = len(estimates)
            scheduler.this_order = self._order(index - 1)
        stepped: Tensor = scheduler.step(prediction, self.timesteps[index], latents, return_dict=False)[0]
        known = [estimate for estimate in scheduler.model_outputs if estimate is not None]
        return Stepped(stepped, torch.stack([scheduler.last_sample, *known]), known[-1])

    def _order(self, index: int) -> int:
        """Of step `index`: it rises with the estimates at hand, and falls at the end, where the checkpoint says so."""
        highest: int = self.scheduler.config.solver_order
        if self.scheduler.config.lower_order_final:
            highest = min(highest, len(self.timesteps) - index)
        return min(highest, index + 1)
