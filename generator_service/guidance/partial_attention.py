"""Attention over a part of the keys, and the exact merge of two parts by their log-sum-exp (LSE).

    o = softmax(s) V,  l = log Σ exp(s)            of each part
    l = log(exp l₁ + exp l₂),  o = o₁ exp(l₁ - l) + o₂ exp(l₂ - l)

This is how FlashAttention (Dao et al., 2022, arXiv:2205.14135) adds up its blocks; here the parts' logits are changed.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_efficient_attention, can_use_flash_attention

HEADS_ELEMENTS = {"cpu": 2**18, "cuda": 2**26}
"""About how many elements of a query are attended to at a time: on a CPU, what its cache holds with keys and values."""


class Partial(NamedTuple):
    output: Tensor
    """o: [batch, head, query, channel]."""
    lse: Tensor
    """l: [batch, head, query], float32; -inf where there was no key."""

    def at(self, rows: Tensor) -> "Partial":
        return Partial(self.output.index_select(2, rows), self.lse.index_select(2, rows))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Partial:
    """Plain attention by the device's fused kernel, which holds no logits; each [batch, head, token, channel].

    The output is of the query's type.  Queries and keys may be none at all.
    """
    if query.shape[2] == 0 or key.shape[2] == 0:
        lse = torch.full(query.shape[:3], -torch.inf, device=query.device)
        return Partial(torch.zeros_like(query), lse)
    ops, rows = torch.ops.aten, query.shape[2]
    if query.device.type == "cpu":
        output, lse = ops._scaled_dot_product_flash_attention_for_cpu(query, key, value)
    elif query.device.type != "cuda" or query.shape[3] % 8 != 0:
        return attend_explicitly(query, key, value)
    elif can_use_flash_attention(case := SDPAParams(query, key, value, None, 0.0, False, False)):
        output, lse = ops._scaled_dot_product_flash_attention(query, key, value)[:2]
    elif can_use_efficient_attention(case):
        output, lse = ops._scaled_dot_product_efficient_attention(query, key, value, None, True)[:2]
    else:  # such as bfloat16 on a GPU before Ampere
        return attend_explicitly(query, key, value)
    return Partial(output, lse[:, :, :rows].float())  # some kernels pad the rows of the LSE


def attend_explicitly(query: Tensor, key: Tensor, value: Tensor, elements: int = 2**22) -> Partial:
    """The same with any device's matrix products in float32, at most `elements` logits at a time."""
    batch, heads, _, channels = query.shape
    keys, values = key.float().transpose(2, 3), value.float()
    parts = []
    for rows in query.split(max(1, elements // (batch * heads * key.shape[2])), dim=2):
        logits = rows.float() @ keys / math.sqrt(channels)
        lse = logits.logsumexp(dim=-1)
        parts.append(((logits - lse[..., None]).exp() @ values, lse))
    outputs, lses = zip(*parts, strict=True)
    return Partial(torch.cat(outputs, dim=2).to(query.dtype), torch.cat(lses, dim=2))


def merge(one: Partial, other: Partial) -> Partial:
    """Attention over the keys of both, in float32: summed in bfloat16 it loses a digit.  Either may have no keys."""
    lse = torch.logaddexp(one.lse, other.lse)
    output = one.output.float() * (one.lse - lse).exp()[..., None]
    return Partial(output.addcmul_(other.output.float(), (other.lse - lse).exp()[..., None]), lse)


def lift(named: Partial, others: Partial, share: float) -> Partial:
    """Attention over the keys of both, of which the named ones hold `share` of the mass, where they held less; the LSE
    is as it was.  There is a named key."""
    lse = torch.logaddexp(named.lse, others.lse)
    held = (named.lse - lse).exp().clamp(min=share)[..., None]
    return Partial(held * named.output.float() + (1 - held) * others.output.float(), lse)


def split_heads(query: Tensor) -> list[slice]:
    """Slices of the heads: what is copied and held in between is then of few of them."""
    parts = round(query.numel() / HEADS_ELEMENTS.get(query.device.type, HEADS_ELEMENTS["cpu"]))
    heads = torch.arange(query.shape[1]).chunk(max(1, parts))
    return [slice(int(some[0]), int(some[-1]) + 1) for some in heads]
