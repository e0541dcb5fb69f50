"""Where guidance enters the denoising loop: the two places that published methods use.

A method of guidance is made for one video, with whatever it needs of plan and backbone, and used for that video only.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from torch import Tensor


class Guidance(Protocol):
    def before_prediction(self, step: int, timestep: Tensor, latents: Tensor) -> Tensor:
        """The latents to predict from.  Gradient methods move them here: z_t ← z_t - ∇L (the loop is `no_grad`)."""
        ...

    def around_prediction(self, step: int) -> AbstractContextManager[None]:
        """Entered for one prediction.  Attention methods borrow the network's processors here and hand them back."""
        ...


class _Unguided:
    def before_prediction(self, step: int, timestep: Tensor, latents: Tensor) -> Tensor:
        return latents

    def around_prediction(self, step: int) -> AbstractContextManager[None]:
        return nullcontext()


UNGUIDED: Guidance = _Unguided()
"""The plain sampler."""
