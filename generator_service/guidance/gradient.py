"""Guidance by gradient: before a prediction the latents go down a loss of what it would attend to.  Eqs. 2 and 3.

    L = 1 - (1 / P) Σ A ⊙ G             mean over layers and heads; P: the rows that G guides
    z_t ← z_t - s ∇L / rms(∇L)

The paper has it for the temporal attention of a U-Net, with a factor β; here A is a DiT's attention from video to
video, and the step has a length of its own, s, whatever the network's scale (ours).  It costs a prediction and its
backward pass, and holds the attention of the guided rows.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from generator_service.guidance.field import GuidanceField
from generator_service.guidance.protocols import LayerAttention, Network, Predict


def descend(
    network: Network, layers: Iterable[int], field: GuidanceField, latents: Tensor, predict: Predict, step: float
) -> Tensor:
    """The latents, moved; as they are where the field guides nothing.  step: s, the rms of what they are moved by."""
    rows = field.guided.nonzero()[:, 0].to(network.device)
    if len(rows) == 0:
        return latents
    G = field.named_by(rows.to(field.instance.device)).to(network.device)
    losses: list[Tensor] = []

    def record(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        before = query.shape[2] - field.grid.tokens  # of text, in a joint network
        logits = query.index_select(2, before + rows) @ key.transpose(2, 3) / math.sqrt(query.shape[3])
        A = logits.float().softmax(dim=-1)[..., before:]
        losses.append(1 - (A * G).sum(dim=-1).mean())
        return scaled_dot_product_attention(query, key, value)

    with torch.enable_grad():
        moved = latents.detach().requires_grad_()
        predict(moved, network.borrow_attention({layer: LayerAttention(record) for layer in layers}))
        (gradient,) = torch.autograd.grad(torch.stack(losses).mean(), moved)
    size = gradient.float().square().mean().sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    return latents - (step * gradient.float() / size).to(latents.dtype)
