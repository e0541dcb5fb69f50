"""What a `UNet3DConditionModel` attends to, watched during one prediction with gradients.

A layer is a transformer within the frames, whose `attn2` reads the text, and one between the frames.  The modules
between which tensors are kept are computed again in the backward pass; the prediction ends behind the last that is
watched.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from generator_service.backbones.processors import borrow_processors
from generator_service.guidance.protocols import Enough, Place

ATTENTION: Final = {"spatial": ("attentions", "attn1"), "text": ("attentions", "attn2")} | {
    "temporal": ("temp_attentions", "attn1")
}


class Layer(NamedTuple):
    block: str
    """Its name in the U-Net."""
    number: int
    """Within the block."""
    level: int
    """How often its pictures are halved."""


def layers_of(unet: Any) -> tuple[Layer, ...]:
    """In the order of a prediction."""
    lowest = len(unet.down_blocks) - 1
    down = [(f"down_blocks.{level}", its, level) for level, its in enumerate(unet.down_blocks)]
    up = [(f"up_blocks.{index}", its, lowest - index) for index, its in enumerate(unet.up_blocks)]
    return tuple(
        Layer(block, index, level)
        for block, its, level in (*down, ("mid_block", unet.mid_block, lowest), *up)
        for index in range(len(getattr(its, "attentions", ())))
    )


class WatchedProcessor:
    """`AttnProcessor2_0`, of which the probabilities are kept."""

    def __init__(self, keep: Callable[[Tensor], object]) -> None:
        self.keep = keep

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_unused: None
    ) -> Tensor:
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            project(tokens).unflatten(2, (attn.heads, -1)).transpose(1, 2)
            for project, tokens in ((attn.to_q, hidden_states), (attn.to_k, seen), (attn.to_v, seen))
        )
        logits = attn.scale * query @ key.transpose(2, 3)
        attention = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=-1)
        self.keep(attention)
        output: Tensor = (attention.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        for last in attn.to_out:
            output = last(output)
        return output


@contextmanager
def watch(unet: Any, places: Collection[Place], seen: dict[Place, Tensor]) -> Iterator[None]:
    """As `UNet` says, for a video alone in its batch.  Raises TypeError where another processor is in a place."""
    layers = layers_of(unet)
    processors = {}
    with ExitStack() as stack:
        for place in places:
            layer = layers[place.layer]
            if place.kind == "features":
                module = unet.get_submodule(f"{layer.block}.temp_attentions.{layer.number}")
                stack.callback(module.register_forward_hook(partial(_keep_features, seen, place)).remove)
            else:
                transformer, attention = ATTENTION[place.kind]
                name = f"{layer.block}.{transformer}.{layer.number}.transformer_blocks.0.{attention}.processor"
                # A recomputed module asks its processor again.
                processors[name] = WatchedProcessor(partial(seen.setdefault, place))
        stack.enter_context(borrow_processors(unet, (AttnProcessor2_0,), processors))
        for module in _modules(unet):
            stack.enter_context(_recomputed(module))
        last = max(places, key=lambda place: (place.layer, place.kind in ("temporal", "features")))
        transformer = "temp_attentions" if last.kind in ("temporal", "features") else "attentions"
        module = unet.get_submodule(f"{layers[last.layer].block}.{transformer}.{layers[last.layer].number}")
        stack.callback(module.register_forward_hook(_stop).remove)
        yield


def _keep_features(seen: dict[Place, Tensor], place: Place, _module: Any, _args: Any, output: tuple[Tensor]) -> None:
    """[F, channel, rows, columns] -> [N, D]"""
    seen[place] = output[0].detach().float().flatten(2).transpose(1, 2).flatten(0, 1)


def _stop(_module: Any, _args: Any, _output: Any) -> NoReturn:
    raise Enough


def _modules(unet: Any) -> Iterator[Any]:
    """All between which tensors are kept."""
    yield unet.transformer_in
    for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
        for kind in ("resnets", "temp_convs", "attentions", "temp_attentions"):
            yield from getattr(block, kind, ())


@contextmanager
def _recomputed(module: Any) -> Iterator[None]:
    """Inside, only what goes into the module is kept for the backward pass."""
    own = vars(module).get("forward")  # an offload hook's
    module.forward = partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own
