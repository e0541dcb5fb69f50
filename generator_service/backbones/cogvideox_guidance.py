"""Guidance of one CogVideoX video: motion guidance and regional prompting, each during its own denoising steps.

Outside these steps, and with a strength of 0, the transformer is the stock one, processors and all.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from generator_service.backbones.cogvideox import CogVideoX, CogVideoXConditioning
from generator_service.backbones.cogvideox_attention import (
    ConditionalProcessor,
    appended_text,
    borrowed_attention,
    captured_features,
)
from generator_service.guidance.attention import AttentionPlan, guided_attention, plan_attention
from generator_service.guidance.field import GuidanceField
from generator_service.guidance.parameters import Form
from generator_service.guidance.regional import Regions, regional_attention

FieldOf = Callable[[Tensor | None], GuidanceField]
"""The field of a step, from the features of the step before: [N, D], float32; None at the first guided step."""


@dataclass(frozen=True)
class MotionGuidance:
    """Eq. 4."""

    field: FieldOf
    strength: float
    """β; 0 is off."""
    steps: range
    """Which denoising steps, from 0."""
    layers: tuple[int, ...] | None = None
    """None is all."""
    form: Form = "multiplicative"
    feature_layer: int | None = None
    """Behind which layer features are read; None is the middle one."""


@dataclass(frozen=True)
class RegionalPrompting:
    """R&P, in all layers; see `guidance.regional`."""

    text: Tensor
    """[1, R · tokens of a text, channel]: the descriptions, each encoded on its own."""
    regions: Regions
    base_ratio: float
    steps: range

    @classmethod
    @torch.no_grad()
    def encode(
        cls, backbone: CogVideoX, captions: Sequence[str], membership: Tensor, *, base_ratio: float, steps: range
    ) -> "RegionalPrompting":
        """captions: R, each as from `backbone.caption`.  membership: [R, N], bool.  Raises ValueError."""
        if not captions or len(captions) != len(membership):
            raise ValueError(f"Got {len(captions)} captions for {len(membership)} regions but expected one for each")
        encoded, _ = backbone.pipeline.encode_prompt(
            list(captions),
            do_classifier_free_guidance=False,
            max_sequence_length=backbone.text_tokens,
            device=backbone.device,
        )
        regions = Regions.of(membership, backbone.text_tokens, backbone.device)
        return cls(encoded.flatten(0, 1)[None], regions, base_ratio, steps)


class CogVideoXGuidance:
    """For the conditional half of classifier-free guidance; the other half is bit for bit what it is without."""

    def __init__(
        self,
        backbone: CogVideoX,
        conditioning: CogVideoXConditioning,
        *,
        motion: MotionGuidance | None = None,
        regional: RegionalPrompting | None = None,
    ) -> None:
        self.transformer = backbone.transformer
        self.device = backbone.device
        self.text = backbone.text_tokens
        self.halves = conditioning.text.shape[0]
        self.motion = motion if motion is not None and motion.strength != 0 else None
        self.regional = regional
        self.memory: Tensor | None = None

    def resume(self, memory: Tensor | None) -> None:
        self.memory = memory

    def before_prediction(self, step: int, timestep: Tensor, latents: Tensor) -> Tensor:
        return latents

    @contextmanager
    def around_prediction(self, step: int) -> Iterator[None]:
        regional = self.regional if self.regional is not None and step in self.regional.steps else None
        features: Sequence[Tensor] = ()
        with ExitStack() as stack:
            processors = self._processors(self._plan(step, regional), regional)
            if processors:
                stack.enter_context(borrowed_attention(self.transformer, processors))
            if regional is not None:
                stack.enter_context(appended_text(self.transformer, regional.text))
            if self.motion is not None and step in self.motion.steps and step + 1 in self.motion.steps:
                features = stack.enter_context(captured_features(self.transformer, self._feature_layer(self.motion)))
            yield
        self.memory = features[-1] if features else None

    def _plan(self, step: int, regional: RegionalPrompting | None) -> AttentionPlan | None:
        motion = self.motion
        if motion is None or step not in motion.steps:
            return None
        text = self.text if regional is None else 0
        field = motion.field(self.memory)
        return plan_attention(field, motion.strength, text=text, form=motion.form, device=self.device)

    def _processors(
        self, plan: AttentionPlan | None, regional: RegionalPrompting | None
    ) -> dict[int, ConditionalProcessor]:
        """Of the layers that motion guides; with descriptions in the sequence, of all."""
        layers = range(len(self.transformer.transformer_blocks))
        guided = layers if self.motion is None or self.motion.layers is None else self.motion.layers
        processors = {}
        for layer in layers:
            layer_plan = plan if layer in guided else None
            if regional is not None:
                attend = partial(
                    regional_attention, regions=regional.regions, plan=layer_plan, base_ratio=regional.base_ratio
                )
            elif layer_plan is not None:
                attend = partial(guided_attention, plan=layer_plan)
            else:
                continue
            processors[layer] = ConditionalProcessor(attend, halves=self.halves, text=self.text)
        return processors

    def _feature_layer(self, motion: MotionGuidance) -> int:
        middle = len(self.transformer.transformer_blocks) // 2
        return middle if motion.feature_layer is None else motion.feature_layer
