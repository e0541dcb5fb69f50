"""Another attention inside a Wan transformer, borrowed for one prediction and handed back.

A block has two: `attn1`, in which the video attends to itself, and `attn2`, in which it reads the text.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from torch import Tensor
from torch.nn import functional

from generator_service.backbones.context_parallel import ALONE, Ranks
from generator_service.backbones.processors import borrow_processors
from generator_service.guidance.protocols import Attend, LayerAttention


class BorrowedProcessor:
    """`WanAttnProcessor`, with another attention to the video or the text; an image is read as it always is."""

    def __init__(self, attend: Attend, ranks: Ranks = ALONE, *, texts: int = 0) -> None:
        """texts: how many text tokens there are to read, if it does; an image's come before them."""
        self.attend = attend
        self.ranks = ranks
        self.texts = texts

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states[:, -self.texts :]
        query, key, value = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(seen)), attn.to_v(seen)
        query, key, value = (part.unflatten(2, (attn.heads, -1)) for part in (query, key, value))
        if rotary_emb is not None:
            query, key = _rotate(query, *rotary_emb), _rotate(key, *rotary_emb)
        text, image = 0, None
        if encoder_hidden_states is not None:
            text = key.shape[1]
            if attn.add_k_proj is not None:
                image = _read_image(attn, query, encoder_hidden_states[:, : -self.texts])
        query = self.ranks.to_heads(query.transpose(1, 2))
        key, value = (self.ranks.to_heads(part.transpose(1, 2), text) for part in (key, value))
        output = self.ranks.to_tokens(self.attend(query, key, value))
        output = output.transpose(1, 2).flatten(2, 3).type_as(query)
        if image is not None:
            output = output + image
        for last in attn.to_out:
            output = last(output)
        return output


def _read_image(attn: Any, query: Tensor, image: Tensor) -> Tensor:
    """[batch, token, head, channel], [batch, image token, width] -> [batch, token, width]."""
    key, value = attn.norm_added_k(attn.add_k_proj(image)), attn.add_v_proj(image)
    key, value = (part.unflatten(2, (attn.heads, -1)).transpose(1, 2) for part in (key, value))
    read = functional.scaled_dot_product_attention(query.transpose(1, 2), key, value)
    return read.transpose(1, 2).flatten(2, 3).type_as(query)


def _rotate(tokens: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """By their positions: [batch, token, head, channel], [1, token, 1, channel] each, every value twice."""
    even, odd = tokens.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[..., 0::2], sin[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2).type_as(tokens)


class SplitProcessor(BorrowedProcessor):
    """The stock attention of the video to itself, in a transformer whose tokens are split over ranks."""

    def __init__(self, ranks: Ranks) -> None:
        super().__init__(functional.scaled_dot_product_attention, ranks)


def borrow_attention(
    transformer: Any, layers: Mapping[int, LayerAttention], ranks: Ranks = ALONE, *, texts: int
) -> AbstractContextManager[None]:
    """Inside, these layers attend as given; texts: how many text tokens are read there.

    Raises TypeError and ValueError as `borrow_processors` does.
    """
    places = {
        f"blocks.{layer}.{name}.processor": attend
        for layer, attention in layers.items()
        for name, attend in (("attn1", attention.video), ("attn2", attention.text))
    }
    borrowed = {
        place: BorrowedProcessor(attend, ranks, texts=texts) for place, attend in places.items() if attend is not None
    }
    return borrow_processors(transformer, (WanAttnProcessor, SplitProcessor), borrowed)


def split_tokens(transformer: Any, ranks: Ranks) -> None:
    """Every rank computes a part of the video's tokens, and has all of the text's."""

    def split_times(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        times = kwargs["timestep"]  # one, or one for each token
        return args, kwargs | {"timestep": ranks.split(times, 1) if times.ndim == 2 else times}

    def split_positions(_module: Any, _args: Any, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        cos, sin = rotary
        return ranks.split(cos, 1), ranks.split(sin, 1)

    def split_video(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        video, *others = args
        return ranks.split(video, 1), *others

    def split_control(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        video, text, control, *others = args
        return ranks.split(video, 1), text, ranks.split(control, 1), *others

    transformer.register_forward_pre_hook(split_times, with_kwargs=True)
    transformer.rope.register_forward_hook(split_positions)
    transformer.blocks[0].register_forward_pre_hook(split_video)
    vace_blocks = getattr(transformer, "vace_blocks", ())
    for block in vace_blocks[:1]:  # the others are given the video, too, and do not look at it
        block.register_forward_pre_hook(split_control)
    transformer.proj_out.register_forward_hook(lambda _module, _args, part: ranks.gather(part, 1))
    for block in (*transformer.blocks, *vace_blocks):
        block.attn1.set_processor(SplitProcessor(ranks))


@contextmanager
def append_text(transformer: Any, text: Tensor) -> Iterator[None]:
    """Inside, these embeddings, [1, token, channel], follow the prompt's."""

    def lengthen(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        prompt = kwargs["encoder_hidden_states"]
        return args, kwargs | {"encoder_hidden_states": torch.cat([prompt, text.to(prompt)], dim=1)}

    hook = transformer.register_forward_pre_hook(lengthen, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def capture_features(transformer: Any, layer: int, captured: list[Tensor], ranks: Ranks = ALONE) -> Iterator[None]:
    """Of each prediction inside, the video tokens behind this layer, [N, D], float32, are added to the list."""

    def keep(_module: Any, _args: Any, output: Tensor) -> None:
        captured.append(ranks.gather(output[0].detach(), 0).float().clone())

    hook = transformer.blocks[layer].register_forward_hook(keep)
    try:
        yield
    finally:
        hook.remove()
