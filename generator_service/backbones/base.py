"""The contract between the denoising loop and a network family: one canonical call, `predict`.

Whatever a network needs around its forward pass (text encoding, position embeddings, classifier-free guidance, its
scheduler's own step) stays behind these methods; `sampling` knows nothing of a particular network, and a new family is
one more implementation.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Generator, Tensor

from generator_service.backbones.context_parallel import Ranks
from generator_service.contract.backbones import BackboneSpec
from generator_service.contract.report import Adherence
from generator_service.contract.request import RenderSettings
from generator_service.guidance.protocols import Guidance
from shared.errors import RenderingFailed
from shared.plan import NO_PLACE, Plan, Track

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


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A prompt, and its plan if there is one, as a backbone can draw them: worked out once for each video."""

    caption: str
    """The text that the network is given."""
    notes: tuple[str, ...] = ()
    """What a person should know about the difference: "'puppy' is drawn as 'sheep'"."""
    plan: Plan | None = None
    """What guides the video, and what it is measured against; it may have fewer instances than the given plan."""
    descriptions: tuple[str, ...] = ()
    """What each instance's box is to show, in the plan's order, and in the prompt's style."""
    surroundings: str = ""
    """What is to be seen around the boxes: the prompt without its things; nothing where it speaks of these alone."""
    negative: str = ""
    """What is not to be seen: the prompt that classifier-free guidance leads away from."""
    image: Image | None = None
    """What the first frame shows: RGB, of any size."""

    @property
    def tracks(self) -> tuple[Track, ...]:
        return () if self.plan is None else self.plan.tracks


class Stepped(NamedTuple):
    latents: Tensor
    memory: Tensor | None
    """For the step after it."""
    clean: Tensor
    """What the clean latents are predicted to be."""


class Solver(ABC):
    """The numerical solver for one video, from noise to latents.

    It keeps nothing between steps: what a step hands to the next one is its `memory`, so that a video can be resumed.
    """

    timesteps: Tensor
    """[steps], descending, as the network was trained on them."""
    noise_levels: tuple[float, ...]
    """Of each step, at its start: σ / (α + σ) of latents α x + σ ε, so 1 is pure noise, whatever the schedule."""

    @abstractmethod
    def step(
        self, index: int, prediction: Tensor, latents: Tensor, memory: Tensor | None, generator: Generator
    ) -> Stepped:
        """Step `index`; memory: of the step before, None before the first."""


class Backbone(ABC, Generic[C]):
    """A video diffusion network with its text encoder, decoder and noise schedule, in memory and ready."""

    spec: BackboneSpec
    setup: Setup
    device: torch.device

    def scene(self, prompt: str, plan: Plan | None) -> Scene:
        """Prompt and plan in this backbone's terms; as they are, unless it knows better."""
        if plan is None:
            return Scene(caption=prompt)
        graph, place = plan.graph, () if plan.background == NO_PLACE else (plan.background,)
        return Scene(
            caption=prompt,
            plan=plan,
            descriptions=tuple(", ".join((its.description, *graph.style)) for its in graph.instances),
            surroundings=", ".join((*place, *graph.style, *graph.camera)),
            negative=", ".join(graph.excluded),
        )

    @abstractmethod
    def prepare(self, scene: Scene, settings: RenderSettings) -> C:
        """Encode the scene's texts, and whatever else stays the same for every step of one video."""

    @abstractmethod
    def solver(self, steps: int) -> Solver: ...

    @abstractmethod
    def initial_latents(self, settings: RenderSettings, generator: Generator) -> Tensor:
        """Noise in the network's own shape, at the scale of the first timestep."""

    @abstractmethod
    def predict(
        self,
        latents: Tensor,
        timestep: Tensor,
        conditioning: C,
        around: AbstractContextManager[None] = nullcontext(),
    ) -> Tensor:
        """What the network was trained to predict (noise or velocity), classifier-free guidance applied.

        latents as from `initial_latents`, timestep [] -> the latents' shape.  around: entered around the conditional
        half, and around that alone where it is predicted by itself.
        """

    def impose(self, latents: Tensor, conditioning: C) -> Tensor:
        """After every step: the latents with what is given of them, which no step is to change."""
        return latents

    def reuse_steps(self, threshold: float) -> AbstractContextManager[None]:
        """Inside, a prediction may reuse most of an earlier one: see `JobRequest.step_cache`."""
        raise ValueError(f"Got a step cache of {threshold} but expected none: {self.spec.name} can reuse no step")

    def share(self, ranks: Ranks) -> None:
        """From now on, predict together with these.  Raises RenderingFailed where that cannot be."""
        raise RenderingFailed(f"{self.spec.name} is no DiT, whose tokens several GPUs could share")

    @abstractmethod
    def guidance(self, scene: Scene, settings: RenderSettings) -> Guidance:
        """What `settings.guidance` asks for, for one video; none where the scene has no plan."""

    @abstractmethod
    def decode(self, latents: Tensor, settings: RenderSettings) -> Frames: ...

    def adherence(self, frames: Frames, scene: Scene) -> tuple[Adherence, ...] | None:
        """What of the scene's plan is seen in the video; None without a plan, or where there is no detector."""
        return None


AnyBackbone = Backbone[Any]
