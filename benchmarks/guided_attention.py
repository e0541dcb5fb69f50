"""What guided attention costs over torch's own, and how exact it is.

    python benchmarks/guided_attention.py [--device cuda] [--dtype bfloat16] [--quick]

- time: one thread's CPU time, because others may use the machine too; on CUDA by events.  Each round runs every method
  once, in turn; the median over rounds of the ratio to plain attention in the same round.
- memory: the highest resident set (VmHWM, so on Linux) of a fresh process that calls the method, over that of one that
  calls plain attention, medians of three (one above 5,000 tokens); torch's profiler would not see what kernels allocate
  past torch.  On CUDA the peak of torch's allocator, likewise.
- error: the largest difference from a dense float64 reference, over the reference's largest value.

Regional methods read four descriptions; plain attention, which they are compared to, reads none.
"""

import argparse
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import torch
from guided_scene import LARGE, SIZES, TINY, Case, Size
from torch import Tensor

DTYPES = {"cpu": "float32", "cuda": "bfloat16"}
LAYERS, STEPS, GUIDED_STEPS = 30, 50, 10
"""CogVideoX-2B's, and how the paper samples it."""


@dataclass(frozen=True)
class Measured:
    name: str
    seconds: float
    """Of one call."""
    ratio: float
    """To plain attention."""
    mib: float
    """Peak memory."""
    error: float


def measure(case: Case, names: list[str], dtype: torch.dtype, rounds: int) -> list[Measured]:
    heads = case.heads()
    calls = {name: partial(case.method(name), *case.qkv(name, heads, dtype)) for name in names}
    for call in calls.values():
        call()
    seconds = [{name: measure_seconds(call, case.device) for name, call in calls.items()} for _ in range(rounds)]
    del calls
    return [
        Measured(
            name,
            median(turn[name] for turn in seconds),
            median(turn[name] / turn["plain"] for turn in seconds),
            peak_mib(case, name, dtype),
            case.error(name, heads, dtype),
        )
        for name in names
    ]


def measure_seconds(call: Callable[[], Tensor], device: str) -> float:
    if device == "cpu":
        start = time.thread_time()
        call()
        return time.thread_time() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1000


def peak_mib(case: Case, name: str, dtype: torch.dtype) -> float:
    """With whatever else there is, which is the same for all methods of a case."""
    if case.device == "cuda":
        call = partial(case.method(name), *case.qkv(name, case.heads(), dtype))
        call()  # compiles
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() / 2**20
    if case.size is TINY and name not in ("plain", "guided, multiplicative"):  # quickly: a process takes seconds
        return math.nan
    command = [sys.executable, __file__, "--dtype", str(dtype)[6:], "--peak", name]
    command += ["--quick"] if case.size is TINY else ["--tokens", str(case.size.tokens)]
    processes = 1 if case.size is TINY or case.size.tokens > LARGE else 3
    return median(float(subprocess.check_output(command, text=True)) for _ in range(processes))  # noqa: S603


def peak_mib_of_this_process(size: Size, name: str, dtype: torch.dtype) -> float:
    for case in (Case(TINY, "cpu"), Case(size, "cpu")):  # a tiny one of all methods first: code takes memory too
        for each in case.names(flex=False) if case.size is TINY else (name,):
            case.method(each)(*case.qkv(each, case.heads(), dtype))
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**10


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |")  # noqa: T201


def header(*cells: str) -> None:
    print()  # noqa: T201
    row(*cells)
    row(*("---" for _ in cells))


def report(sizes: Iterable[Size], device: str, dtype: torch.dtype, rounds: int, *, whole_video: bool) -> None:
    where = torch.cuda.get_device_name() if device == "cuda" else f"{cpu()}, one thread"
    print(f"{where}; torch {torch.__version__}; {str(dtype)[6:]}; {datetime.now(UTC):%Y-%m-%d}.")  # noqa: T201
    header("tokens", "heads", "area", "method", "seconds", "ratio to plain", "peak over plain, MiB", "error")
    results: list[Measured] = []
    for size in sizes:
        case = Case(size, device)
        few = max(3, rounds // 3) if size.tokens > LARGE else rounds
        results = measure(case, case.names(flex=whole_video), dtype, few)
        for its in results:
            over = "" if math.isnan(its.mib) else f"{its.mib - results[0].mib:+.0f}"
            numbers = (f"{its.seconds:.4f}", f"{its.ratio:.2f}", over, f"{its.error:.0e}")
            heads = f"{case.heads()} × {size.channels}"
            row(f"{size.tokens:,}", heads, f"{case.area:.0%}", its.name, *numbers)
    if whole_video:
        per_video(results)


def per_video(results: list[Measured]) -> None:
    """Both halves of classifier-free guidance; the unconditional one is plain."""
    plain = results[0]
    title = f"attention of {LAYERS} layers, {STEPS} steps"
    header(title, "s per guided step", "s per video", "ratio to plain", "peak over plain, GB")
    for its in results:
        step = LAYERS * (plain.seconds + its.seconds)
        stock = LAYERS * 2 * plain.seconds
        video = GUIDED_STEPS * step + (STEPS - GUIDED_STEPS) * stock
        over = "" if math.isnan(its.mib) else f"{(its.mib - plain.mib) * 2**20 / 1e9:+.2f}"
        row(its.name, f"{step:.2f}", f"{video:.1f}", f"{video / (STEPS * stock):.3f}", over)


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=DTYPES, default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=15, help="a third of them at the full size")
    parser.add_argument("--tokens", type=int, choices=SIZES, nargs="+", default=list(SIZES))
    parser.add_argument("--quick", action="store_true", help="a tiny grid, and FlexAttention on the CPU too")
    parser.add_argument("--peak", metavar="METHOD", help="only the peak memory of a process that calls it, in MiB")
    given = parser.parse_args()
    torch.set_num_threads(1)
    dtype = getattr(torch, given.dtype or DTYPES[given.device])
    sizes = [TINY] if given.quick else [SIZES[tokens] for tokens in given.tokens]
    if given.peak:
        print(peak_mib_of_this_process(sizes[0], given.peak, dtype))  # noqa: T201
    else:
        rounds = 1 if given.quick else given.rounds
        report(sizes, given.device, dtype, rounds, whole_video=given.device == "cuda" or given.quick)


if __name__ == "__main__":
    main()
