"""What does a step cache save, and what does it cost?  The same clips with each threshold, against the exact ones."""

import time
from functools import partial

import numpy as np

from emoji_world.processes import over_processes
from evaluation.ablation import backbone_of, detector, plan_with_parser
from evaluation.measures import measure
from evaluation.prompts import Half, held_out_captions
from evaluation.statistics import estimate
from generator_service.backbones.base import Frames
from generator_service.backbones.emoji_scene import emoji_scene
from generator_service.contract.request import JobRequest
from generator_service.rendering import sample

THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.4)
SHOWN = ("right", "detection_rate", "mean_iou")


def look(backbone: str, half: Half, prompts: int, processes: int) -> str:
    """A table: of the sampling's CPU time, of what is seen, and of how far the pixels are from the exact ones."""
    captions = held_out_captions(half, prompts)
    clips = np.array([rows for _, rows in over_processes(partial(_clips, backbone), captions, processes)])
    lines = ["| step cache | time | right | detected | IoU | PSNR, dB |", "| --- |" + " --- |" * 5]
    for index, threshold in enumerate(THRESHOLDS):
        cells = []
        for column in range(1, 1 + len(SHOWN)):
            its = estimate(clips[:, index, column, None])
            cells.append("–" if its is None else f"{its.mean:.3f} ± {(its.high - its.low) / 2:.3f}")
        ratio = float(np.median(clips[:, index, 0] / clips[:, 0, 0]))
        error = float(clips[:, index, -1].mean())
        distance = "exact" if error == 0 else f"{-10 * np.log10(error):.1f}"
        lines.append(f"| {threshold or '–'} | × {ratio:.2f} | " + " | ".join(cells) + f" | {distance} |")
    return "\n".join(lines)


def _clips(backbone_name: str, caption: str) -> list[list[float]]:
    """Of each threshold: seconds, the measures that are shown, and the mean square error to the exact video."""
    backbone = backbone_of(backbone_name)
    plan = plan_with_parser(caption)
    scene = emoji_scene(plan)
    rows: list[list[float]] = []
    exact: Frames | None = None
    for threshold in THRESHOLDS:
        settings = JobRequest(plan=plan, seed=0, backbone=backbone_name, step_cache=threshold).settings()
        begin = time.process_time()
        frames = sample(backbone, caption, plan, settings, on_step=lambda _: None, on_stage=lambda _: None).frames
        seconds = time.process_time() - begin
        exact = frames if exact is None else exact
        measures = measure(frames, scene, detector())
        error = float(np.square((frames.astype(float) - exact) / 255).mean())
        rows.append([seconds, *(measures[name] for name in SHOWN), error])
    return rows
