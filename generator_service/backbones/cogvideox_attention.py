"""Another attention inside a CogVideoX transformer, borrowed for one prediction and handed back.

With classifier-free guidance the batch is [unconditional ; conditional]: only the conditional half changes.  Its text
may be longer, by descriptions of regions that the unconditional half never sees.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from diffusers.models.attention_processor import CogVideoXAttnProcessor2_0
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor
from torch.nn import functional

from generator_service.backbones.context_parallel import ALONE, Ranks
from generator_service.backbones.processors import borrow_processors
from generator_service.guidance.protocols import Attend


class ConditionalProcessor:
    """`CogVideoXAttnProcessor2_0`, with another attention in the conditional half."""

    def __init__(self, attend: Attend, *, text: int, ranks: Ranks = ALONE) -> None:
        """text: how many text tokens both halves see."""
        self.attend = attend
        self.text = text
        self.ranks = ranks

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: None = None,
        image_rotary_emb: Any = None,
    ) -> tuple[Tensor, Tensor]:
        texts = encoder_hidden_states.shape[1]
        joint = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        query, key, value = (
            project(joint).unflatten(2, (attn.heads, -1)).transpose(1, 2)
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        if attn.norm_q is not None:
            query, key = attn.norm_q(query), attn.norm_k(key)
        if image_rotary_emb is not None:  # positions of the video; text has none
            query[:, :, texts:] = apply_rotary_emb(query[:, :, texts:], image_rotary_emb)
            key[:, :, texts:] = apply_rotary_emb(key[:, :, texts:], image_rotary_emb)
        query, key, value = (self.ranks.to_heads(part, texts) for part in (query, key, value))
        halves = list(zip(*(tensor.split(1) for tensor in (query, key, value)), strict=True))
        outputs = [*(self._stock(half, texts) for half in halves[:-1]), self.attend(*halves[-1])]
        output = self.ranks.to_tokens(torch.cat(outputs), texts)
        output = attn.to_out[0](output.transpose(1, 2).flatten(2))
        output = attn.to_out[1](output)
        return output[:, texts:], output[:, :texts]

    def _stock(self, qkv: tuple[Tensor, Tensor, Tensor], texts: int) -> Tensor:
        if texts == self.text:
            return functional.scaled_dot_product_attention(*qkv)
        query, key, value = (torch.cat([part[:, :, : self.text], part[:, :, texts:]], dim=2) for part in qkv)
        seen = functional.scaled_dot_product_attention(query, key, value)
        unseen = seen.new_zeros(*seen.shape[:2], texts - self.text, seen.shape[3])
        return torch.cat([seen[:, :, : self.text], unseen, seen[:, :, self.text :]], dim=2)


class SplitProcessor(ConditionalProcessor):
    """The stock attention, of a transformer whose tokens are split over ranks."""

    def __init__(self, *, text: int, ranks: Ranks) -> None:
        super().__init__(functional.scaled_dot_product_attention, text=text, ranks=ranks)


def borrow_attention(
    transformer: Any, attends: Mapping[int, Attend], *, text: int, ranks: Ranks = ALONE
) -> AbstractContextManager[None]:
    """Inside, these layers attend as given; text: how many text tokens both halves see.

    Raises TypeError and ValueError as `borrow_processors` does.
    """
    borrowed = {
        f"transformer_blocks.{layer}.attn1.processor": ConditionalProcessor(attend, text=text, ranks=ranks)
        for layer, attend in attends.items()
    }
    return borrow_processors(transformer, (CogVideoXAttnProcessor2_0, SplitProcessor), borrowed)


def split_tokens(transformer: Any, *, text: int, ranks: Ranks) -> None:
    """Every rank computes a part of the video's tokens, and all of the text's."""

    def split_positions(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        rotary = kwargs.get("image_rotary_emb")
        split = None if rotary is None else tuple(ranks.split(its, 0) for its in rotary)
        return args, kwargs | {"image_rotary_emb": split}

    def split_video(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, kwargs | {"hidden_states": ranks.split(kwargs["hidden_states"], 1)}

    transformer.register_forward_pre_hook(split_positions, with_kwargs=True)
    transformer.transformer_blocks[0].register_forward_pre_hook(split_video, with_kwargs=True)
    transformer.proj_out.register_forward_hook(lambda _module, _args, part: ranks.gather(part, 1))
    transformer.set_attn_processor(SplitProcessor(text=text, ranks=ranks))


@contextmanager
def append_text(transformer: Any, text: Tensor) -> Iterator[None]:
    """Inside, these embeddings, [1, token, channel], follow the prompt's: [prompt ; text ; video].

    Some checkpoints' position embeddings are one table for prompt and video.  It stays as it is: the text is put behind
    the prompt once the positions have been added, those of text (0 unless they are learned) to each of its own, too.
    """

    def lengthen(_module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        prompt = kwargs["encoder_hidden_states"]
        appended = text.to(prompt).expand(len(prompt), -1, -1)
        return args, kwargs | {"encoder_hidden_states": torch.cat([prompt, appended], dim=1)}

    def take(_module: Any, args: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        embeds, video = args
        return embeds[:, : -text.shape[1]], video

    def put(module: Any, args: tuple[Tensor, Tensor], joint: Tensor) -> Tensor:
        prompt = args[0].shape[1]
        appended = module.text_proj(text.to(args[0])).to(joint.dtype).expand(len(joint), -1, -1)
        if module.use_learned_positional_embeddings:
            positions = module.pos_embedding[:, :prompt].to(joint.dtype)
            appended = appended + positions.repeat(1, text.shape[1] // prompt, 1)
        return torch.cat([joint[:, :prompt], appended, joint[:, prompt:]], dim=1)

    hooks = [
        transformer.register_forward_pre_hook(lengthen, with_kwargs=True),
        transformer.patch_embed.register_forward_pre_hook(take),
        transformer.patch_embed.register_forward_hook(put),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def capture_features(transformer: Any, layer: int, ranks: Ranks = ALONE) -> Iterator[Sequence[Tensor]]:
    """One for each prediction inside: the video tokens behind this layer, of the conditional half, [N, D], float32."""
    captured: list[Tensor] = []

    def keep(_module: Any, _args: Any, outputs: tuple[Tensor, Tensor]) -> None:
        captured.append(ranks.gather(outputs[0][-1].detach(), 0).float().clone())

    hook = transformer.transformer_blocks[layer].register_forward_hook(keep)
    try:
        yield captured
    finally:
        hook.remove()
