"""The contracts of guidance on one screen: what the denoising loop calls, and what guidance needs of a network."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from generator_service.contract.report import GuidanceReport

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Query, key and value, [batch, head, token, channel] each -> as the query."""


Predict = Callable[[Tensor, AbstractContextManager[None]], object]
"""A prediction of these latents, with a context entered around its conditional half: for what it attends to."""


class LayerAttention(NamedTuple):
    """How one layer attends; None: as it always does."""

    video: Attend | None
    """Where the video attends to itself; in a joint network all of the sequence [text ; video]."""
    text: Attend | None = None
    """Where the video reads the text, in a network that is not joint: video tokens to text tokens."""


class Guidance(Protocol):
    """A method of guidance for one video.  It enters the loop at the two places that published methods use."""

    @property
    def guided_until(self) -> int:
        """From this step on, none is guided."""
        ...

    @property
    def needs_last_step(self) -> bool:
        """Whether the next step is guided by what the network saw at the last one, which is not kept: no video is
        resumed there."""
        ...

    def resume(self, report: GuidanceReport | None) -> None:
        """Called before the first step of a video that goes on: with the report of the steps done."""
        ...

    def before_prediction(self, step: int, latents: Tensor, predict: Predict) -> Tensor:
        """The latents to predict from.  Gradient methods move them here: z_t ← z_t - ∇L (the loop is `no_grad`)."""
        ...

    def around_prediction(self, step: int) -> AbstractContextManager[None]:
        """Entered around the conditional prediction.  Attention methods borrow the network's processors here and hand
        them back."""
        ...

    def report(self) -> GuidanceReport | None:
        """What was done so far; None where there is nothing to report."""
        ...


class Network(Protocol):
    """A DiT.

    With classifier-free guidance only the conditional half is guided; the other one stays bit for bit what it is.  A
    network that predicts both in one batch keeps what is borrowed away from the unconditional half.
    """

    device: torch.device

    @property
    def layers(self) -> int: ...

    @property
    def joint(self) -> bool:
        """Whether a layer attends over one sequence, [text ; video].  If not, the video attends to itself, and then to
        the text."""
        ...

    @property
    def text_tokens(self) -> int:
        """Length of an encoded text."""
        ...

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Each text on its own: [text, token, channel]."""
        ...

    def borrow_attention(
        self, layers: Mapping[int, LayerAttention], texts: Tensor | None = None
    ) -> AbstractContextManager[None]:
        """Inside, these layers attend as given; `texts`, [1, token, channel], follow the prompt's own tokens, in which
        case every layer must be given."""
        ...

    def capture_features(self, layer: int) -> AbstractContextManager[Sequence[Tensor]]:
        """For each conditional prediction inside: the video tokens behind this layer, [N, D], float32."""
        ...


class Place(NamedTuple):
    """What is to be seen of a layer of a U-Net.

    temporal: each place attends to itself in all frames, [rows · columns, head, F, F]
    spatial: each frame attends to itself, [F, head, rows · columns, rows · columns]
    text: each frame reads the text, [F, head, rows · columns, token]
    features: what leaves the layer, [N, D]
    """

    layer: int
    kind: Literal["spatial", "text", "temporal", "features"]


class Enough(Exception):
    """Raised by a prediction that was only made for what has been seen by now."""


class UNet(Protocol):
    """A U-Net, each of whose layers attends within the frames, to the text, and between the frames, in this order."""

    device: torch.device

    def watch(self, places: Collection[Place], seen: dict[Place, Tensor]) -> AbstractContextManager[None]:
        """For one prediction with gradients inside, which raises Enough behind the last of these places: fills `seen`
        with them, at least float32; attention as probabilities, with their gradients.  The backward pass, for which
        little is kept and the rest is computed again, has its place inside, too."""
        ...


class _Unguided:
    guided_until = 0
    needs_last_step = False

    def resume(self, report: GuidanceReport | None) -> None:
        pass

    def before_prediction(self, step: int, latents: Tensor, predict: Predict) -> Tensor:
        return latents

    def around_prediction(self, step: int) -> AbstractContextManager[None]:
        return nullcontext()

    def report(self) -> None:
        return None


UNGUIDED: Guidance = _Unguided()
"""The plain sampler."""
