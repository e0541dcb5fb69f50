"""The contract between the denoising loop and a network family: one canonical call, `predict`.

Whatever a network needs around its forward pass (text encoding, position embeddings, classifier-free guidance, its
scheduler's own step) stays behind these methods; `sampling` knows nothing of a particular network, and a new family is
one more implementation.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from generator_service.backbones.guidance import Guidance
from generator_service.contract.backbones import BackboneSpec
from generator_service.contract.report import Adherence
from generator_service.contract.request import RenderSettings
from shared.plan import Plan

Frames = NDArray[np.uint8]
"""[frame, height, width, 3], RGB, 0 to 255."""

C = TypeVar("C")
"""What a prompt becomes for one video; a family's own."""


@dataclass(frozen=True)
class Setup:
    """What beside prompt and settings decides the pixels: whose weights, and how they are run."""

    weights_revision: str
    """The hub's commit, or "sha256:" and the hash of the local files."""
    device: str
    """"cpu", or "cuda" with the GPU's name."""
    dtype: str
    vae_tiling: bool


@dataclass(frozen=True)
class Caption:
    """The text that a backbone is given for a prompt."""

    text: str
    notes: tuple[str, ...] = ()
    """What a person should know about the difference: "'puppy' is drawn as 'sheep'"."""


class Solver(ABC):
    """The numerical solver for one video, from noise to latents.

    It keeps nothing between steps: what a step hands to the next one is its `memory`, so that a video can be resumed.
    """

    timesteps: Tensor
    """[steps], descending, as the network was trained on them."""

    @abstractmethod
    def step(
        self, index: int, prediction: Tensor, latents: Tensor, memory: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor | None]:
        """The latents after step `index`, and the memory for the step after it; None before the first."""


class Backbone(ABC, Generic[C]):
    """A video diffusion network with its text encoder, decoder and noise schedule, in memory and ready."""

    spec: BackboneSpec
    setup: Setup
    device: torch.device

    def caption(self, prompt: str, plan: Plan | None = None) -> Caption:
        """The text that this backbone understands for the prompt, whose plan may be known."""
        return Caption(prompt)

    def staged(self, plan: Plan) -> Plan:
        """The plan as this backbone can draw it: what guides the video, and what the video is held against."""
        return plan

    @abstractmethod
    def prepare(self, caption: str, settings: RenderSettings) -> C:
        """Encode the text, and whatever else stays the same for every step of one video."""

    @abstractmethod
    def solver(self, steps: int) -> Solver: ...

    @abstractmethod
    def initial_latents(self, settings: RenderSettings, generator: Generator) -> Tensor:
        """Noise in the network's own shape, at the scale of the first timestep."""

    @abstractmethod
    def predict(self, latents: Tensor, timestep: Tensor, conditioning: C) -> Tensor:
        """What the network was trained to predict (noise or velocity), classifier-free guidance applied.

        latents as from `initial_latents`, timestep [] -> the latents' shape, float32.
        """

    @abstractmethod
    def guidance(self, plan: Plan, conditioning: C, settings: RenderSettings) -> Guidance:
        """What `settings.guidance` asks for, for one video.  plan: as from `staged`."""

    @abstractmethod
    def decode(self, latents: Tensor, settings: RenderSettings) -> Frames: ...

    def adherence(self, frames: Frames, plan: Plan) -> tuple[Adherence, ...] | None:
        """What of the plan is seen in the video; None where this backbone's things cannot be found.

        plan: as from `staged`.
        """
        return None


AnyBackbone = Backbone[Any]
