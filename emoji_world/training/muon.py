"""Muon (Jordan et al., 2024): momentum, whose matrix is replaced by the nearest orthogonal one before each step.

    M ← μ M + (1-μ) g        W ← W - η (0.2 √max(rows, columns) · orthogonal((1-μ) g + μ M) + λ W)

A convolution's weight is the matrix [output channel, input channel · kernel].  torch.optim.Muon iterates in bfloat16,
which a CPU without such instructions emulates, many times slower; this one iterates in float32, all matrices of one
shape at once.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(Optimizer):
    """For weights of two dimensions and more."""

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closures: nothing here needs one
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape[weight.flatten(1).shape].append(weight)
            for (rows, columns), weights in by_shape.items():
                updates = torch.stack([self._nesterov(weight).flatten(1) for weight in weights])
                rate = group["lr"] * 0.2 * max(rows, columns) ** 0.5
                for weight, update in zip(weights, orthogonalize(updates), strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update.view_as(weight), alpha=rate)

    def _nesterov(self, weight: nn.Parameter) -> Tensor:
        gradient = weight.grad
        assert gradient is not None  # noqa: S101  (seen to by `step`)
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        momentum: Tensor = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(momentum, MOMENTUM)


def orthogonalize(matrices: Tensor) -> Tensor:
    """[matrix, row, column] -> the same with all singular values between 0.7 and 1.2, by Newton and Schulz's iteration
    (quintic):  X ← (a I + b G + c G²) X,  G = X Xᵀ.

    Every step multiplies X from the left by a polynomial of G, and the next G is p G p: so all steps are made on the
    small G, and X, which is long, is multiplied once."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = QUINTIC
    gram = x @ x.mT
    identity = torch.eye(gram.shape[1], device=gram.device)
    product = identity
    for _ in range(ITERATIONS):
        factor = a * identity + (b * identity + c * gram) @ gram
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    result: Tensor = x.mT if tall else x
    return result
