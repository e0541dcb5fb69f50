"""The whole path of a video on a device that is not the CPU, without a GPU: tensors say that they are on cuda:0, are
computed on the CPU, and refuse to meet a tensor that is not there.

What a real GPU would refuse, and a machine without one never shows: a mask, an index or a table left on the CPU, a
kernel called with a type or a shape that it does not have.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from generator_service.backbones.load import load_backbone
from generator_service.contract.backbones import COGVIDEOX_2B, WAN_2_1_T2V_1_3B, BackboneSpec
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.request import RenderSettings
from generator_service.guidance import partial_attention
from generator_service.guidance.branches import guidance_field
from generator_service.guidance.grid import Grid
from generator_service.guidance.layout import layout_on
from generator_service.guidance.partial_attention import attend, attend_explicitly
from generator_service.rendering import sample
from generator_service.sampling.state import ignore
from generator_service.settings import WorkerSettings
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
ops = torch.ops.aten
MAY_CROSS = {ops.copy_.default, ops._to_copy.default, ops.index.Tensor, ops.set_.source_Tensor}
"""Operations that take tensors of two devices: copies, and an index on the CPU."""


class OnCuda(Tensor):
    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnCuda":
        outer = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=CUDA,
        )
        outer.inner = inner
        return outer

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(op, args, kwargs or {})

    def numpy(self) -> Any:
        raise TypeError("a tensor on cuda:0 has no array")

    # What torch does in C++ before it dispatches, with a guard for a device that is not there.

    def __getitem__(self, index: Any) -> "OnCuda":
        return OnCuda(self.inner[tree_map(inside, index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, Tensor) and not isinstance(value, OnCuda) and value.dim() > 0:
            raise RuntimeError(f"a tensor on the CPU is put into one on cuda:0: {value.shape}")
        self.inner[tree_map(inside, index)] = inside(value)

    def __iter__(self) -> Iterator["OnCuda"]:
        return iter([OnCuda(each) for each in self.inner])


for name in ("tolist", "item", "__bool__", "__int__", "__float__", "__index__"):
    setattr(OnCuda, name, lambda self, *args, name=name: getattr(self.inner, name)(*args))
for name in ("nonzero", "contiguous", "__invert__"):
    setattr(OnCuda, name, lambda self, *args, name=name, **kwargs: OnCuda(getattr(self.inner, name)(*args, **kwargs)))


class PretendCuda(TorchDispatchMode):
    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(op, args, kwargs or {})


def inside(value: Any) -> Any:
    return value.inner if isinstance(value, OnCuda) else value


def outside(value: Any) -> Any:
    return OnCuda(value) if isinstance(value, Tensor) and not isinstance(value, OnCuda) else value


def dispatch(op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    on_cuda = any(isinstance(tensor, OnCuda) for tensor in tensors)
    stray = [tensor.shape for tensor in tensors if not isinstance(tensor, OnCuda) and tensor.dim() > 0]
    if on_cuda and stray and (op not in MAY_CROSS or (op is ops.index.Tensor and not isinstance(args[0], OnCuda))):
        raise RuntimeError(f"{op} was given tensors on the CPU beside those on cuda:0: {stray}")
    target = kwargs.get("device")
    target = None if target is None else torch.device(target)
    kernel = KERNELS.get(op) if on_cuda else None
    if kernel is not None:
        return tree_map(outside, kernel(*tree_map(inside, args), **tree_map(inside, kwargs)))
    kwargs = (
        kwargs
        | ({"device": CPU} if target is not None else {})
        | ({"pin_memory": False} if kwargs.get("pin_memory") else {})
    )
    plain = tree_map(inside, args)
    answer = op(*plain, **tree_map(inside, kwargs))
    if isinstance(answer, Tensor) and plain and answer is plain[0]:
        return args[0]  # it was changed in its place
    stays = on_cuda if target is None else target.type == "cuda"
    return tree_map(outside, answer) if stays else answer


def flash(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
    """FlashAttention's: half types, a multiple of 8 channels that lie side by side; it takes no empty sequence."""
    assert {query.dtype, key.dtype, value.dtype} in ({torch.float16}, {torch.bfloat16})
    output, sums = _attention(query, key, value)
    none = torch.zeros(0)
    return output, sums, none, none, query.shape[2], key.shape[2], none, none, none


def efficient(query: Tensor, key: Tensor, value: Tensor, bias: None, lse: bool, *args: Any, **kwargs: Any) -> Any:
    """The same for float32, and for float16 where there is no other; it pads the LSE to a multiple of 32 rows."""
    assert {query.dtype, key.dtype, value.dtype} in ({torch.float32}, {torch.float16})
    assert bias is None
    output, sums = _attention(query, key, value)
    none = torch.zeros(0, dtype=torch.long)
    return output, torch.nn.functional.pad(sums, (0, -sums.shape[2] % 32), value=math.inf), none, none


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Any:
    assert query.shape[3] % 8 == 0
    assert query.stride(3) == key.stride(3) == value.stride(3) == 1
    assert min(*query.shape, *key.shape) > 0
    return ops._scaled_dot_product_flash_attention_for_cpu(query, key, value)


KERNELS = {
    ops._scaled_dot_product_flash_attention.default: flash,
    ops._scaled_dot_product_efficient_attention.default: efficient,
}


AMPERE, TURING = {torch.float16, torch.bfloat16}, set[torch.dtype]()
"""The types for which FlashAttention runs there."""


@contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch, flash_types: set[torch.dtype] = AMPERE) -> Iterator[None]:
    def nothing(*_: object) -> int:
        return 0

    attention, tensor = torch.nn.functional.scaled_dot_product_attention, torch.tensor

    def attend(*args: Any, **kwargs: Any) -> Any:
        """It chooses its kernel by the device before it dispatches."""
        plain = attention(*tree_map(inside, args), **tree_map(inside, kwargs))
        return OnCuda(plain) if any(isinstance(its, OnCuda) for its in tree_leaves((args, kwargs))) else plain

    def made(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        plain = tensor(data, *args, **kwargs)
        return plain if device is None or torch.device(device).type == "cpu" else OnCuda(plain)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "tensor", made)
        patched.setattr(partial_attention, "SDPAParams", lambda query, *_: query.dtype)
        patched.setattr(partial_attention, "can_use_flash_attention", lambda dtype: dtype in flash_types)
        efficient_types = {torch.float32, torch.float16} | flash_types
        patched.setattr(partial_attention, "can_use_efficient_attention", lambda dtype: dtype in efficient_types)
        patched.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
        patched.setattr(torch.cuda, "is_available", lambda: True)
        patched.setattr(torch.cuda, "get_device_name", lambda device=None: "pretended")
        for name in ("_lazy_init", "reset_peak_memory_stats", "synchronize", "max_memory_allocated", "empty_cache"):
            patched.setattr(torch.cuda, name, nothing)
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with PretendCuda():
                yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(before)


@pytest.mark.parametrize("flash_types", [AMPERE, TURING], ids=["Ampere", "before"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_attention_is_computed_by_a_kernel_that_the_gpu_has(
    dtype: torch.dtype, flash_types: set[torch.dtype], monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    for op in KERNELS:
        kernel = KERNELS[op]
        monkeypatch.setitem(KERNELS, op, lambda *args, kernel=kernel: called.append(kernel) or kernel(*args))
    query, key, value = torch.randn(3, 1, 2, 9, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = attend_explicitly(query, key, value)
    with pretended(monkeypatch, flash_types):
        found = attend(*map(OnCuda, (query, key, value)))
    chosen = {torch.float32: [efficient], torch.float16: [efficient], torch.bfloat16: []}[dtype]
    assert called == ([flash] if dtype in flash_types else chosen)
    assert torch.allclose(inside(found.output).float(), expected.output.float(), atol=2e-2)
    assert torch.allclose(inside(found.lse), expected.lse, atol=2e-2)


def test_deformation_costs_few_operations_and_the_host_waits_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """One non-rigid instance in CogVideoX-2B's 13 token frames: what is launched, and what the host waits for."""
    grid = Grid(frames=13, rows=10, columns=15, compression=4)
    cat = Instance(id="cat", name="cat", description="a cat", label=MotionLabel.NON_RIGID)
    boxes = tuple(Box.around(0.3 + 0.008 * frame, 0.5, 0.4, 0.3 + 0.004 * frame) for frame in range(49))
    track = Track(instance="cat", phases=(Phase(label=cat.label, start=0, end=48),), boxes=boxes)
    whole = Plan(
        prompt="a cat", graph=MotionGraph(instances=(cat,)), background="a room", tracks=(track,), depth_order=("cat",)
    )
    layout = layout_on(grid, whole)
    features = torch.randn(grid.tokens, 4, generator=torch.Generator().manual_seed(0))
    expected, _ = guidance_field(layout, features, GuidanceParameters())
    launched, waited = [], []

    def counted(name: str, method: Callable[..., Any], waits: Callable[..., bool]) -> Callable[..., Any]:
        def call(self: OnCuda, *args: Any, **kwargs: Any) -> Any:
            launched.append(name)
            if waits(*args):
                waited.append(name)
            return method(self, *args, **kwargs)

        return call

    def is_mask(index: Any, *_: Any) -> bool:
        return any(isinstance(its, Tensor) and its.dtype == torch.bool for its in tree_leaves(index))

    with pretended(monkeypatch), monkeypatch.context() as patched:
        plain = dispatch

        def counting(op: Any, args: Any, kwargs: Any) -> Any:
            answer = plain(op, args, kwargs)
            if any(isinstance(leaf, OnCuda) for leaf in tree_leaves(answer)) and not op.is_view:
                launched.append(str(op))
            return answer

        patched.setitem(globals(), "dispatch", counting)
        for name in ("tolist", "item", "__bool__", "__int__", "__float__", "__index__", "nonzero"):
            patched.setattr(OnCuda, name, counted(name, getattr(OnCuda, name), lambda *_: True))
        for name in ("__getitem__", "__setitem__"):
            patched.setattr(OnCuda, name, counted(name, getattr(OnCuda, name), is_mask))
        field, _ = guidance_field(layout, OnCuda(features), GuidanceParameters())
    assert torch.allclose(inside(field.weight), expected.weight, atol=1e-4)
    assert len(launched) <= 200, len(launched)
    assert waited == []


def test_wan_is_in_bfloat16_unless_another_type_is_asked_for(
    checkpoint: Path, tiny_wan: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CogVideoX in its checkpoint's type, which here is float32, as that of Wan's is."""
    tiny_wan().save_pretrained(tmp_path)

    def dtype_of(spec: BackboneSpec, weights: Path, **wish: Any) -> str:
        return load_backbone(spec, WorkerSettings(weights=weights, **wish)).setup.dtype

    assert dtype_of(WAN_2_1_T2V_1_3B, tmp_path, device="cpu") == "float32"
    with pretended(monkeypatch):
        assert dtype_of(WAN_2_1_T2V_1_3B, tmp_path, device="cuda:0") == "bfloat16"
        assert dtype_of(WAN_2_1_T2V_1_3B, tmp_path, device="cuda:0", dtype="float16") == "float16"
        assert dtype_of(COGVIDEOX_2B, checkpoint, device="cuda:0") == "float32"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("network", ["cogvideox", "wan"])
def test_the_whole_path_stays_on_its_device(
    network: str,
    dtype: Any,
    tiny_pipeline: Callable[..., Any],
    tiny_wan: Callable[..., Any],
    plan: Plan,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline, spec = (tiny_wan(), WAN_2_1_T2V_1_3B) if network == "wan" else (tiny_pipeline(rotary=True), COGVIDEOX_2B)
    pipeline.save_pretrained(tmp_path)
    wish = GuidanceParameters(strength=0.5, until=0.8, regional_until=0.93)
    settings = RenderSettings(
        backbone=spec.name, seed=3, steps=3, frames=9, width=48, height=32, fps=8, guidance_scale=4.0, guidance=wish
    )

    def run(device: str) -> np.ndarray:
        backbone = load_backbone(spec, WorkerSettings(weights=tmp_path, device=device, dtype=dtype))
        return sample(backbone, plan.prompt, plan, settings, on_step=ignore, on_stage=lambda stage: None).frames

    on_cpu = run("cpu")
    with pretended(monkeypatch):
        on_cuda = run("cuda:0")
    assert on_cuda.shape == on_cpu.shape
    assert np.abs(on_cuda.astype(int) - on_cpu).max() <= 1
