"""What guidance of VideoCrafter2 should need at full size, counted without a GPU.

    python benchmarks/unet_memory.py

The network at full width, 16 × 320 × 512 in float16, on torch's meta device, where tensors have shapes and no contents.

- memory: weights, and the most that tensors hold at any moment of a step; attention that is not watched is taken for
  a flash kernel's.  An allocator's blocks, cuDNN's workspaces and CUDA itself come on top.
- operations: of matrix products and convolutions, over those of a plain step, which predicts twice.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from generator_service.backbones import videocrafter2_attention
from generator_service.backbones.videocrafter2 import VideoCrafterUNet
from generator_service.contract.backbones import VIDEOCRAFTER2
from generator_service.guidance.protocols import Enough, Place

LAYERS = VIDEOCRAFTER2.guidance.layers or ()
MOTION, REFOCUS = ("temporal",), ("spatial", "text")


class Peak(TorchDispatchMode):
    """The most bytes that the tensors made inside hold at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.now = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and not hasattr(storage := tensor.untyped_storage(), "is_counted"):
                storage.is_counted = True  # type: ignore[attr-defined]
                self.now += storage.nbytes()
                self.bytes = max(self.bytes, self.now)
                weakref.finalize(storage, self._release, storage.nbytes())
        return result

    def _release(self, count: int) -> None:
        self.now -= count


class FlashAttention(torch.autograd.Function):
    """What such a kernel keeps for its backward pass."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def backward(ctx: Any, *_gradients: Any) -> Any:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


def plain(unet: Any) -> None:
    with torch.no_grad():
        predict(unet, latents())


def gradient(unet: Any, kinds: Sequence[str], layers: Sequence[int] = LAYERS) -> None:
    moved, seen = latents().requires_grad_(), dict[Place, Tensor]()
    places = {Place(layer, kind) for layer in layers for kind in kinds}  # type: ignore[arg-type]
    with videocrafter2_attention.watch(unet, places, seen):
        try:
            predict(unet, moved)
        except Enough:
            torch.autograd.grad(torch.stack([its.mean() for its in seen.values()]).sum(), moved)


def latents() -> Tensor:
    return torch.empty(1, 4, 16, 40, 64, device="meta")


def predict(unet: Any, z: Tensor) -> None:
    text = torch.empty(1, 77, 1024, device="meta", dtype=torch.float16)
    rate = torch.empty(1, 320, device="meta", dtype=torch.float16)
    unet(z.half(), torch.tensor(500, device="meta"), encoder_hidden_states=text, timestep_cond=rate)


def peak_of(run: Callable[[], None]) -> int:
    def attend(query: Tensor, key: Tensor, value: Tensor, **_unused: Any) -> Any:
        return FlashAttention.apply(query, key, value)

    with patch.object(functional, "scaled_dot_product_attention", attend), Peak() as peak:
        run()
    return peak.bytes


def operations_of(run: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    total: int = counter.get_total_flops()
    return total


def main() -> None:
    torch.set_default_dtype(torch.float16)
    with torch.device("meta"):
        unet = VideoCrafterUNet().eval().requires_grad_(False)
    torch.set_default_dtype(torch.float32)
    weights = sum(2 * parameter.numel() for parameter in unet.parameters())
    once = operations_of(lambda: plain(unet))
    at_rest = peak_of(lambda: plain(unet))
    methods: dict[str, Callable[[], None]] = {
        "A&R": lambda: gradient(unet, REFOCUS),
        "RCG, GIG, SDG, or all three": lambda: gradient(unet, MOTION),
        "all, with A&R": lambda: gradient(unet, MOTION + REFOCUS),
        "all three, in all 16 layers": lambda: gradient(unet, MOTION, range(16)),
    }
    print("| guidance | peak, GiB | without recomputing | operations of a guided step | of the whole video |")  # noqa: T201
    print("| --- | --- | --- | --- | --- |")  # noqa: T201
    print(f"| plain | {(weights + at_rest) / 2**30:.1f} | | × 1.00 | × 1.00 |")  # noqa: T201
    for name, run in methods.items():
        peak = max(at_rest, peak_of(run))
        with patch.object(videocrafter2_attention, "_modules", lambda unet: ()):
            kept = max(at_rest, peak_of(run))
        ratio = (2 * once + operations_of(run)) / (2 * once)
        print(  # noqa: T201
            f"| {name} | {(weights + peak) / 2**30:.1f} | {(weights + kept) / 2**30:.1f} "
            f"| × {ratio:.2f} | × {(1 + ratio) / 2:.2f} |"
        )


if __name__ == "__main__":
    main()
