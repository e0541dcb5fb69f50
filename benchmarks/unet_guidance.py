"""What guidance of a U-Net costs over plain sampling, in memory and in time per step.

    python benchmarks/unet_guidance.py [--device cuda --full]

One step of random weights for each way of guiding it: the prediction with classifier-free guidance, and before it the
gradient.  `--full` is VideoCrafter2's own width, in float16, at 16 × 320 × 512.

- seconds: of a step, the median of some; on a CPU of one thread's time, because others may use it, too.  The whole
  video has as many guided steps as plain ones.
- memory: on CUDA the peak of torch's allocator, weights included; on a CPU the highest resident set (VmHWM, so on
  Linux) of a fresh process, over that of one that holds the network and has made no step.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers import AutoencoderKL

from generator_service.backbones.base import Scene, Setup
from generator_service.backbones.videocrafter2 import (
    VideoCrafter2,
    VideoCrafterConditioning,
    VideoCrafterPipeline,
    VideoCrafterScheduler,
    VideoCrafterUNet,
)
from generator_service.contract.backbones import VIDEOCRAFTER2
from generator_service.contract.request import RenderSettings
from generator_service.guidance.refocus import Words
from generator_service.guidance.unet_video import UNetGuidance
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track

SMALL = {"block_out_channels": (32, 64, 128, 128), "attention_head_dim": 16, "norm_num_groups": 16}
METHODS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "plain": {},
    "A&R": {"strength": 0.0},
    "RCG": {"branches": ("rcg",), "refocus": 0.0},
    "GIG": {"branches": ("gig",), "refocus": 0.0},
    "SDG": {"branches": ("sdg",), "refocus": 0.0},
    "RCG + GIG + SDG": {"refocus": 0.0},
    "all": {},
}
WORDS = Words(range(1, 11), ((2, 3), (6,), (9,)), ("red car", "tree", "flag"))


def plan(frames: int) -> Plan:
    """A car that drives, rigid, a tree, motionless, and a flag, non-rigid."""
    boxes = {
        "car": [Box.around(0.25 + 0.4 * frame / frames, 0.75, 0.3, 0.3) for frame in range(frames)],
        "tree": [Box(0.7, 0.1, 0.95, 0.6)] * frames,
        "flag": [Box(0.1, 0.1, 0.3 + 0.1 * frame / frames, 0.4) for frame in range(frames)],
    }
    labels = {"car": MotionLabel.RIGID, "tree": MotionLabel.MOTIONLESS, "flag": MotionLabel.NON_RIGID}
    instances = tuple(Instance(id=name, name=name, description=name, label=label) for name, label in labels.items())
    tracks = tuple(
        Track(
            instance=name,
            phases=(Phase(label=label, start=0, end=frames - 1),),
            boxes=tuple(boxes[name]),
        )
        for name, label in labels.items()
    )
    return Plan(
        prompt="a red car, a tree and a flag",
        graph=MotionGraph(instances=instances),
        background="a street",
        tracks=tracks,
        depth_order=tuple(labels),
    )


def measure(method: str, device: torch.device, full: bool, steps: int) -> dict[str, float]:
    """In a process of its own."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    with device:
        torch.set_default_dtype(dtype)
        unet = VideoCrafterUNet(**({} if full else SMALL)).eval()
        torch.set_default_dtype(torch.float32)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        norm_num_groups=4,
    )
    pipeline = VideoCrafterPipeline(vae, None, None, unet, VideoCrafterScheduler())
    setup = Setup(weights_revision="none", device=device.type, dtype=str(dtype), vae_tiling=False)
    backbone = VideoCrafter2(VIDEOCRAFTER2, pipeline, device, setup)
    height, width = (320, 512) if full else (256, 320)
    settings = RenderSettings(
        backbone="videocrafter2", seed=0, steps=50, frames=16, width=width, height=height, fps=28, guidance_scale=12.0
    )
    text = torch.randn(1, 77, 1024, device=device, dtype=dtype)
    conditioning = VideoCrafterConditioning(text, torch.randn_like(text), unet.project_rate(28), 12.0)
    scene = Scene(caption="", plan=plan(16))
    assert scene.plan is not None  # noqa: S101
    wish = VIDEOCRAFTER2.guidance.model_copy(update=METHODS[method])
    levels = backbone.solver(50).noise_levels
    guidance = UNetGuidance.of(backbone, backbone.grids(settings), scene.plan, WORDS, wish, levels)
    latents = backbone.initial_latents(settings, torch.Generator().manual_seed(0))
    timestep = backbone.solver(50).timesteps[1]

    def predict(moved: torch.Tensor, around: Any) -> torch.Tensor:
        return backbone.predict(moved, timestep, conditioning, around)

    clock = time.perf_counter if device.type == "cuda" else time.process_time

    @torch.no_grad()
    def step() -> float:
        start = clock()
        moved = latents if method == "plain" else guidance.before_prediction(1, latents, predict)
        predict(moved, guidance.around_prediction(1))
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - start

    seconds = [step() for _ in range(0 if method == "nothing" else 1 + steps)][1:]
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        (line,) = [its for its in Path("/proc/self/status").read_text().splitlines() if its.startswith("VmHWM")]
        peak = int(line.split()[1]) * 1024
    return {"seconds": median(seconds) if seconds else 0.0, "gib": peak / 2**30}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--method", choices=METHODS)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    if arguments.method is not None:
        print(json.dumps(measure(arguments.method, device, arguments.full, arguments.steps)))  # noqa: T201
        return
    found: dict[str, dict[str, float]] = {}
    for method in METHODS:
        command = [sys.executable, __file__, *sys.argv[1:], "--method", method]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
        found[method] = json.loads(answer.splitlines()[-1])
    held = found.pop("nothing")["gib"]
    over = 0.0 if device.type == "cuda" else held
    print("| guidance | seconds per step | a guided step | the whole video | peak memory, GiB |")  # noqa: T201
    print("| --- | --- | --- | --- | --- |")  # noqa: T201
    plain = found["plain"]["seconds"]
    for method, its in found.items():
        ratio = its["seconds"] / plain
        print(  # noqa: T201
            f"| {method} | {its['seconds']:.2f} | × {ratio:.2f} | × {(1 + ratio) / 2:.2f} | {its['gib'] - over:.2f} |"
        )


if __name__ == "__main__":
    main()
