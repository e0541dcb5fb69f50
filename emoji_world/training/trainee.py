"""Weights under training: the module, its moving average and its optimizers, updated and saved together."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

GRADIENT_CLIP = 1.0


M = TypeVar("M", bound=nn.Module)


class Trainee(Generic[M]):
    """One process or several: with torch.distributed initialised, gradients are averaged over the processes."""

    def __init__(self, module: M, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.module = module
        self.average = copy.deepcopy(module).requires_grad_(False)
        self.optimizers = optimizers
        self.steps = 0
        self._peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]

    def update(self, loss: Tensor, *, learning_rate: float, decay: float) -> None:
        """One optimizer step.  learning_rate: share of the peak rate; decay: of the moving average, less early on."""
        loss.backward()
        parameters = list(self.module.parameters())
        average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, GRADIENT_CLIP)
        for optimizer, peaks in zip(self.optimizers, self._peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = learning_rate * peak
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        decay = min(decay, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(tuple(self.average.parameters()), tuple(parameters), 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    if not dist.is_initialized():
        return
    present = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in present])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(present, flat.split([gradient.numel() for gradient in present]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def warm_cosine(steps: int, progress: float, *, warm_up: int, hold: float) -> float:
    """Share of the peak learning rate: linear for `warm_up` steps, flat until `hold`, then half a cosine to 2 %."""
    falling = max(0.0, (progress - hold) / (1 - hold))
    cosine = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * min(falling, 1.0))).item())
    return min(1.0, (steps + 1) / warm_up) * max(0.02, cosine)


StepFunction = Callable[[int, float], float]
"""(step, progress in 0..1) -> loss; does one update."""
