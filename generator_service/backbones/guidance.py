"""Where guidance enters the denoising loop: the two places that published methods use.

A method of guidance is made by a backbone for one video (`Backbone.guidance`), and used for that video only.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from torch import Tensor

from generator_service.contract.report import GuidanceReport


class Guidance(Protocol):
    @property
    def needs_last_step(self) -> bool:
        """Whether the next step is guided by what the network saw at the last one, which is not kept: no video is
        resumed there."""
        ...

    def resume(self, report: GuidanceReport | None) -> None:
        """Called before the first step of a video that is resumed: with the report of the steps done."""
        ...

    def before_prediction(self, step: int, timestep: Tensor, latents: Tensor) -> Tensor:
        """The latents to predict from.  Gradient methods move them here: z_t ← z_t - ∇L (the loop is `no_grad`)."""
        ...

    def around_prediction(self, step: int) -> AbstractContextManager[None]:
        """Entered for one prediction.  Attention methods borrow the network's processors here and hand them back."""
        ...

    def report(self) -> GuidanceReport | None:
        """What was done so far; None where there is nothing to tell."""
        ...


class _Unguided:
    needs_last_step = False

    def resume(self, report: GuidanceReport | None) -> None:
        pass

    def before_prediction(self, step: int, timestep: Tensor, latents: Tensor) -> Tensor:
        return latents

    def around_prediction(self, step: int) -> AbstractContextManager[None]:
        return nullcontext()

    def report(self) -> None:
        return None


UNGUIDED: Guidance = _Unguided()
"""The plain sampler."""
