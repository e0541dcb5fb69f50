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


OnStep = Callable[[StepState], None]
"""Called between steps, with everything settled: the one place for progress, saving and cancellation.

It cancels by raising `Cancelled`; whatever it raises leaves the loop, and the backbone is as it was.
"""


class Cancelled(Exception):
    """Raised by a callback: nobody wants this video any more."""


def first_state(backbone: AnyBackbone, settings: RenderSettings) -> StepState:
    """Pure noise.  It is drawn on the CPU, so that a seed means the same noise on every device."""
    generator = Generator("cpu").manual_seed(settings.seed)
    latents = backbone.initial_latents(settings, generator)
    return StepState(0, settings.steps, latents, memory=None, generator=generator.get_state())


def restore_generator(state: StepState) -> Generator:
    generator = Generator("cpu")
    generator.set_state(state.generator)
    return generator


def ignore(_state: StepState) -> None:
    """The callback of those who only want the video."""
