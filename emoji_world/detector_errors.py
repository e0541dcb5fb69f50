"""What the evaluator itself gets wrong: on clips whose objects are known, as drawn and through the VAE."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from emoji_world.backgrounds import background_image
from emoji_world.detector import Detections, Detector, nearest_background
from emoji_world.estimates import Estimate, Rate, mean, share
from emoji_world.evaluation import direction, through_vae
from emoji_world.processes import over_processes
from emoji_world.sampling import load_pipeline
from emoji_world.scene import Scene, draw_scene
from emoji_world.spec import NON_RIGID, STEP, WorldSpec
from emoji_world.tracking import (
    THRESHOLD,
    box_overlaps,
    centre_error,
    drift,
    track_found,
    velocity_correlation,
    velocity_error,
)
from emoji_world.world import Clip, render

SEED = 777
AT_ONCE = 12
"""Clips that one process measures in one go: a constant, because mixed precision rounds otherwise in other batches."""

RATES: dict[str, str] = {
    "background": "wrong background",
    "missed one": "1 object: missed",
    "missed two": "2 objects: one of them missed",
    "class one": "1 object: another sprite scores best",
    "class two": "2 objects: one of them not among the two best",
    "absent": "absent sprite reported",
    "empty": "sprite reported in empty frames",
    "direction": "moving object: wrong direction",
    "moves": "motionless object: said to move",
    "deforms one": "1 rigid object: said to deform",
    "deforms two": "2 objects: a rigid one said to deform",
    "sway": "swaying object: not said to sway",
    "squash": "squashing object: not said to squash",
}
MEANS: dict[str, str] = {
    "iou rigid one": "1 rigid object: IoU with the true boxes",
    "iou non-rigid one": "1 non-rigid object: IoU",
    "iou rigid two": "2 objects, rigid: IoU",
    "iou non-rigid two": "2 objects, non-rigid: IoU",
    "centre rigid": "rigid object: centre error, px",
    "centre non-rigid": "non-rigid object: centre error, px",
    "velocity": "moving object: velocity error, px a frame",
    "correlation": "moving object: velocity correlation",
    "drift": "motionless object: drift, px",
    "lean": "rigid object: range of the fitted lean (true: 0), half widths",
    "press": "rigid object: range of the fitted press (true: 0), shares of the height",
}
VERSIONS = ("as drawn", "through the VAE")

Observations = dict[str, list[float]]
"""By key of RATES (1: the error was made) or MEANS."""


def detector_errors(
    weights: Path, world: WorldSpec, clips: int, *, processes: int, report: Callable[[int], None]
) -> dict[str, dict[str, Estimate]]:
    """By key of RATES and MEANS, and by version.  The same whatever the number of processes."""
    measure = partial(_measure_part, weights=weights, world=world)
    parts = [range(start, min(start + AT_ONCE, clips)) for start in range(0, clips, AT_ONCE)]
    observed: dict[str, Observations] = {version: defaultdict(list) for version in VERSIONS}
    for part, result in over_processes(measure, parts, processes):
        for version, observations in result.items():
            for key, values in observations.items():
                observed[version][key] += values
        report(part.stop)
    rows = {}
    for key in (*RATES, *MEANS):
        cells = {version: observed[version][key] for version in VERSIONS}
        rows[key] = {
            version: share(Rate(int(sum(values)), len(values))) if key in RATES else mean(values)
            for version, values in cells.items()
        }
    return rows


def _measure_part(part: range, *, weights: Path, world: WorldSpec) -> dict[str, Observations]:
    pipeline, detector = load_pipeline(weights), Detector(world)
    clips = [render(world, _scene(world, index)) for index in part]
    drawn = torch.stack([clip.video for clip in clips]).float() / 255
    empty = torch.stack([background_image(world, each) for each in world.backgrounds])[:, None]
    empty = empty.repeat(1, world.frames, 1, 1, 1)
    observed = {}
    for version in VERSIONS:
        if version == "through the VAE":
            drawn, empty = through_vae(pipeline, drawn), through_vae(pipeline, empty)
        observed[version] = observe(detector.detect(drawn), drawn, clips, world)
        if part.start == 0:  # there are only that many different empty clips
            observed[version]["empty"] = (detector.detect(empty).distinct() > THRESHOLD).flatten().tolist()
    return observed


def _scene(world: WorldSpec, index: int) -> Scene:
    """One and two objects in turn, of any motions, in combinations that the VAE was not trained on."""
    return draw_scene(world, np.random.default_rng([SEED, index]), 1 + index % 2, held_out=True)


def observe(found: Detections, videos: Tensor, clips: list[Clip], world: WorldSpec) -> Observations:
    """videos: [clip, frames, 3, height, width] in 0..1, what is seen of the clips, and what was found in it.

    Boxes count whether or not the sprite is detected, as in `adherence.py`."""
    observed: Observations = defaultdict(list)
    pixels = torch.tensor([world.width, world.height] * 2)
    sprites = [[placed.sprite for placed in clip.tracks] for clip in clips]
    tracks = track_found(found, videos, sprites, world)
    for k, (clip, scores) in enumerate(zip(clips, found.distinct(), strict=True)):
        count = "one" if len(clip.tracks) == 1 else "two"
        indices = [world.sprites.index(each.sprite) for each in clip.tracks]
        best = scores.argsort(descending=True)[: len(indices)].tolist()
        observed["background"].append(nearest_background(videos[k], world) != clip.scene.background)
        observed[f"missed {count}"].append(not all(each.present for each in tracks[k]))
        observed[f"class {count}"].append(set(best) != set(indices))
        observed["absent"] += [
            float(scores[index] > THRESHOLD) for index in range(len(world.sprites)) if index not in indices
        ]
        for true, seen in zip(clip.tracks, tracks[k], strict=True):
            boxes, planned = seen.boxes * pixels, true.boxes * pixels
            kind = "non-rigid" if true.motion in NON_RIGID else "rigid"
            observed[f"iou {kind} {count}"].append(float(box_overlaps(boxes, planned).mean()))
            observed[f"centre {kind}"].append(float(centre_error(boxes, planned)))
            if true.motion in STEP:
                observed["direction"].append(direction(seen.boxes, world) != true.motion)
                observed["velocity"].append(float(velocity_error(boxes, planned)))
                observed["correlation"].append(float(velocity_correlation(boxes, planned).nan_to_num(0)))
            if true.motion == "still":
                observed["moves"].append(direction(seen.boxes, world) != "still")
                observed["drift"].append(float(drift(boxes)))
            if true.motion in NON_RIGID:
                observed[true.motion].append(seen.shape.deformation != true.motion)
            else:
                observed[f"deforms {count}"].append(seen.shape.deformation is not None)
                observed["lean"].append(seen.shape.lean_range)
                observed["press"].append(seen.shape.press_range)
    return observed


def markdown(rows: dict[str, dict[str, Estimate]]) -> str:
    lines = [f"| | {' | '.join(VERSIONS)} |", "| --- | --- | --- |"]
    for key, row in rows.items():
        lines.append(f"| {(RATES | MEANS)[key]} | {' | '.join(_cell(key, cell) for cell in row.values())} |")
    return "\n".join(lines)


def _cell(key: str, cell: Estimate) -> str:
    if not cell.of:
        return "-"
    if key in RATES:
        return f"{cell.value:.1%} ({100 * cell.low:.1f}–{100 * cell.high:.1f}) of {cell.of}"
    return f"{cell.value:.2f} ± {cell.high - cell.value:.2f} of {cell.of}"
