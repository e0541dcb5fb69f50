"""Where a video stands between two denoising steps: all it takes to go on from there, outside the guided steps."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, Tensor

from generator_service.backbones.base import AnyBackbone
from generator_service.contract.report import GuidanceReport
from generator_service.contract.request import RenderSettings


@dataclass(frozen=True)
class StepState:
    step: int
    """Denoising steps done."""
    steps: int
    latents: Tensor
    memory: Tensor | None
    """The solver's: what its next step needs of this one."""
    generator: Tensor
    """[bytes], uint8: the random generator's state."""
    report: GuidanceReport | None = None
    """What guidance did so far."""
    is_resumable: bool = True
    """Not where the next step's guidance needs what the network saw at this one: it is not kept."""
    clean: Tensor | None = None
    """What the clean latents are predicted to be after this step; it is not kept either."""


@dataclass(frozen=True)
class Progress:
    """Where the candidates for one video stand between two denoising steps; one, unless more are asked for."""

    candidates: tuple[StepState, ...]
    """Of each that has begun; one that is not gone on with stays where it was judged."""
    scores: tuple[float, ...] = ()
    """Of each that has been judged."""

    @property
    def step(self) -> int:
        """Denoising steps done, of all candidates."""
        return sum(state.step for state in self.candidates)

    @property
    def is_resumable(self) -> bool:
        return all(state.is_resumable for state in self.candidates)


OnStep = Callable[[Progress], None]
"""Called between steps, with everything settled: the one place for progress, saving and cancellation.

It cancels by raising `Cancelled`; whatever it raises leaves the loop, and the backbone is as it was.
"""


class Cancelled(Exception):
    """Raised by a callback: nobody wants this video any more."""


def first_state(backbone: AnyBackbone, settings: RenderSettings, candidate: int = 0) -> StepState:
    """Pure noise.  It is drawn on the CPU, so that a seed means the same noise on every device."""
    generator = Generator("cpu").manual_seed(settings.seed_of(candidate))
    latents = backbone.initial_latents(settings, generator)
    return StepState(0, settings.steps, latents, memory=None, generator=generator.get_state())


def restore_generator(state: StepState) -> Generator:
    generator = Generator("cpu")
    generator.set_state(state.generator)
    return generator


def ignore(_: object) -> None:
    """The callback of those who only want the video."""
