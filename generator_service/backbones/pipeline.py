"""What all networks have in common whose parts a diffusers pipeline holds: text encoder, network, VAE, scheduler.

The loop is ours.  With a stock pipeline every step does what its `__call__` does with its defaults, in the same order,
so that the bits are the same.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from diffusers.hooks import FirstBlockCacheConfig
from diffusers.utils import logging as diffusers_logging
from torch import Tensor
from transformers.utils import logging as transformers_logging

from generator_service.backbones.base import Backbone, Frames, Scene, Setup
from generator_service.backbones.context_parallel import ALONE, Ranks
from generator_service.backbones.device import device_name, resolve_device, resolve_dtype
from generator_service.backbones.weights import checkpoint_dtype, find_lora, find_weights
from generator_service.contract.backbones import BackboneSpec
from generator_service.contract.request import RenderSettings
from generator_service.guidance.grid import Grid
from generator_service.guidance.protocols import UNGUIDED, Guidance, Network
from generator_service.guidance.video import VideoGuidance
from generator_service.settings import WorkerSettings
from shared.errors import InvalidRequest, RenderingFailed, WeightsMissing
from shared.plan import Plan

C = TypeVar("C")


class PipelineBackbone(Backbone[C]):
    """A family sets the class of its pipeline, and says what of `Backbone` is its own."""

    pipeline_class: ClassVar[Any]
    denoisers: ClassVar[tuple[str, ...]] = ("transformer",)
    """The pipeline's parts that predict; one may be None in some checkpoints."""
    keeps_weights = True
    """Where they are, in one format, as a gradient through the network needs them."""
    gpu_dtype: ClassVar[torch.dtype | None] = None
    """On a GPU, where none is asked for; None: the checkpoint's own."""

    def __init__(self, spec: BackboneSpec, pipeline: Any, device: torch.device, setup: Setup) -> None:
        """pipeline: one of `pipeline_class` whose parts are on `device`, or will move there when they are called."""
        self.spec = spec
        self.setup = setup
        self.pipeline = pipeline
        self.device = device

    @classmethod
    def load(cls, spec: BackboneSpec, settings: WorkerSettings) -> Self:
        """Raises WeightsMissing, and RenderingFailed for a device that is not there, or settings that do not suit the
        network."""
        keeps_weights = settings.offload != "group" and not settings.layerwise_casting
        if spec.steered == "gradient" and not keeps_weights:
            raise RenderingFailed(
                f"{spec.name} is guided by gradients, which need the weights of all layers as they are: offload 'none' "
                "or 'model', and no layerwise casting"
            )
        weights = find_weights(spec, settings.weights)
        revision = weights.revision
        device = resolve_device(settings)
        dtype = resolve_dtype(settings, device, cls.gpu_dtype or checkpoint_dtype(weights.path))
        with _no_progress_bars():
            pipeline = cls.pipeline_class.from_pretrained(
                weights.path, dtype=cls.dtypes(dtype), local_files_only=True, use_safetensors=True
            )
        if settings.lora is not None:
            lora = find_lora(settings.lora)
            cls._add_lora(pipeline, lora.path)
            revision += f", LoRA {lora.revision}"
        if settings.layerwise_casting:
            for name in cls.denoisers:
                if (network := getattr(pipeline, name)) is not None:
                    network.enable_layerwise_casting(torch.float8_e4m3fn, dtype)
        match settings.offload:
            case "none":
                pipeline.to(device)
            case "model":
                pipeline.enable_model_cpu_offload(device=device)
            case "group":
                pipeline.enable_group_offload(device, offload_type="leaf_level", use_stream=device.type == "cuda")
        if settings.vae_tiling:
            pipeline.vae.enable_tiling()
        setup = Setup(
            weights_revision=revision,
            device=device_name(device),
            dtype=str(dtype).removeprefix("torch.") + (", weights float8" if settings.layerwise_casting else ""),
            vae_tiling=settings.vae_tiling,
        )
        backbone = cls(spec, pipeline, device, setup)
        backbone.keeps_weights = keeps_weights
        return backbone

    @classmethod
    def _add_lora(cls, pipeline: Any, file: Path) -> None:
        """Into the weights, so that its layers are those of the stock network.

        Raises WeightsMissing for a file that holds no LoRA for it.
        """
        networks = [name for name in cls.denoisers if getattr(pipeline, name) is not None]
        if not hasattr(pipeline, "load_lora_weights") or len(networks) > 1:
            raise WeightsMissing(f"GENERATOR_RENDER_LORA is for backbones of one transformer: leave {file} out")
        try:
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, local_files_only=True)
        except (KeyError, RuntimeError, ValueError) as error:
            raise WeightsMissing(f"{file} is no LoRA for this network: {error}") from error
        pipeline.fuse_lora(components=networks)
        pipeline.unload_lora_weights()

    @classmethod
    def dtypes(cls, dtype: torch.dtype) -> dict[str, torch.dtype]:
        """Of each part; "default" for the rest."""
        return {"default": dtype}

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
    def decode(self, latents: Tensor, settings: RenderSettings) -> Frames:
        video = self.decode_latents(latents, settings)
        self.pipeline.maybe_free_model_hooks()
        pictures = self.pipeline.video_processor.postprocess_video(video, output_type="np")[0]  # [F, H, W, 3], 0 to 1
        frames: Frames = (pictures * 255).round().astype("uint8")
        return frames

    @abstractmethod
    def decode_latents(self, latents: Tensor, settings: RenderSettings) -> Tensor:
        """[1, channel, frame, height, width], -1 to 1."""

    @property
    @abstractmethod
    def text_tokens(self) -> int:
        """Length of an encoded text."""


class TransformerBackbone(PipelineBackbone[C], Network):
    """A DiT.  A family says what of `Network` is its own, too."""

    def __init__(self, spec: BackboneSpec, pipeline: Any, device: torch.device, setup: Setup) -> None:
        super().__init__(spec, pipeline, device, setup)
        self.transformer = pipeline.transformer
        self.experts: tuple[Any, ...] = (self.transformer,)
        """Each takes some of the steps; one, unless a family has more."""
        self.ranks = ALONE

    def share(self, ranks: Ranks) -> None:
        """Raises RenderingFailed where the heads do not come out even."""
        ranks.check_heads(self.transformer.config.num_attention_heads, self.spec.name)
        self.ranks, self.setup = ranks, replace(self.setup, device=f"{ranks.size} × {self.setup.device}")
        self.split_tokens()

    @abstractmethod
    def split_tokens(self) -> None:
        """Every rank has a part of the video's."""

    def guidance(self, scene: Scene, settings: RenderSettings) -> Guidance:
        wish = settings.guidance
        if scene.plan is None or wish.is_off:
            return UNGUIDED
        if wish.gradient_step > 0 and not self.keeps_weights:
            raise RenderingFailed(
                "guidance.gradient_step needs the weights of all layers as they are, and this worker moves or casts "
                "them (GENERATOR_RENDER_OFFLOAD=group or GENERATOR_RENDER_LAYERWISE_CASTING=true)"
            )
        levels = self.solver(settings.steps).noise_levels
        return VideoGuidance.of(
            self, self.grid(settings), scene.plan, scene.descriptions, scene.surroundings, wish, levels
        )

    @contextmanager
    def reuse_steps(self, threshold: float) -> Iterator[None]:
        """After the first block of a transformer, what all others added at an earlier step is added again, where what
        the first one adds has changed less than the threshold, relatively and on average, since that step.

        Raises InvalidRequest where ranks share a video: each sees a part of what is added, and would decide for itself.
        """
        if self.ranks.size > 1:
            raise InvalidRequest(f"step_cache: {self.spec.name} runs on {self.ranks.size} GPUs for each video here")
        for expert in self.experts:
            expert.enable_cache(FirstBlockCacheConfig(threshold))
        try:
            yield
        finally:
            for expert in self.experts:
                expert.disable_cache()

    @abstractmethod
    def grid(self, settings: RenderSettings) -> Grid:
        """The video tokens that the transformer's attention sees."""

    def encode(self, texts: Sequence[str]) -> Tensor:
        return self.encode_prompt(list(texts))[0]

    def encode_prompt(self, texts: str | list[str], negative: str | None = None) -> tuple[Tensor, Tensor | None]:
        """[text, token, channel], and the same of the negative prompt, which may be empty; None: there is none."""
        text, negative_text = self.pipeline.encode_prompt(
            texts,
            negative,
            do_classifier_free_guidance=negative is not None,
            max_sequence_length=self.text_tokens,
            device=self.device,
        )
        return text, negative_text


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
