"""What does the model draw right?  Counted on captions whose combinations were never trained on.

Each rate stands between two others, taken in the same way: the ceiling (the true clip through the VAE, the best that
any transformer could do, and so the evaluator's own error rate) and chance (the same of another caption's true clip).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import CogVideoXPipeline
from torch import Tensor

from emoji_world.detector import Detections, Detector, nearest_background
from emoji_world.estimates import Estimate, Rate, mean_of_shares, share
from emoji_world.precision import mixed_precision
from emoji_world.processes import over_processes
from emoji_world.sampling import DRAWN_AT_ONCE, draw_videos, load_pipeline
from emoji_world.scene import Scene, draw_scene
from emoji_world.spec import NON_RIGID, STEP, Motion, WorldSpec
from emoji_world.tracking import THRESHOLD, Track, box_overlaps, track_found
from emoji_world.world import render

SEED = 4242
AT_ONCE = 12
"""Captions that one process judges in one go: a constant, because mixed precision rounds otherwise in other batches."""
OTHER = 3
"""Captions from one to the other whose clip stands for chance: both are of as many objects."""
MOVING_PX = 4.0
"""A centre that moves less between first and last frame stands still."""
STAYS_IOU = 0.7


@dataclass
class Judgement:
    """One rate per question."""

    background: Rate = field(default_factory=Rate)
    sprite: Rate = field(default_factory=Rate)
    direction: Rate = field(default_factory=Rate)
    stays: Rate = field(default_factory=Rate)
    deforms: Rate = field(default_factory=Rate)
    keeps_shape: Rate = field(default_factory=Rate)
    pair_shapes: Rate = field(default_factory=Rate)
    both: Rate = field(default_factory=Rate)
    pair_directions: Rate = field(default_factory=Rate)
    absent: Rate = field(default_factory=Rate)

    def __add__(self, other: "Judgement") -> "Judgement":
        names = [each.name for each in fields(self)]
        return Judgement(**{name: getattr(self, name) + getattr(other, name) for name in names})


QUESTIONS: dict[str, str] = {
    "background": "background right",
    "sprite": "1 object: right sprite detected",
    "direction": "1 moving object: direction right",
    "stays": f"1 motionless, detected object: IoU ≥ {STAYS_IOU}",
    "deforms": "1 object: deforms as asked",
    "keeps_shape": "1 object: keeps its shape else",
    "pair_shapes": "2 objects: each one's shape right",
    "both": "2 objects: both detected",
    "pair_directions": "2 objects: moving one's direction right",
    "absent": "absent sprite above threshold",
    "non_rigid": "1 object: deformation present where asked, absent where not (mean of both shares)",
}
COLUMNS = ("model", "ceiling", "chance")


@dataclass(frozen=True)
class Evaluation:
    """videos: [caption, frames, 3, height, width], uint8, what the model drew."""

    model: Judgement
    ceiling: Judgement
    chance: Judgement
    captions: list[str]
    videos: np.ndarray


def evaluate(
    weights: Path,
    world: WorldSpec,
    captions: int,
    *,
    steps: int,
    guidance_scale: float,
    processes: int,
    report: Callable[[int], None],
) -> Evaluation:
    """Of this many captions, the scenes of `held_out_scene`; report: told how many are judged, as they are.
    The same whatever the number of processes."""
    judge_part = partial(
        _evaluate_part, weights=weights, world=world, captions=captions, steps=steps, guidance_scale=guidance_scale
    )
    parts = [range(start, min(start + AT_ONCE, captions)) for start in range(0, captions, AT_ONCE)]
    results = []
    for part, result in over_processes(judge_part, parts, processes):
        results.append(result)
        report(part.stop)
    return Evaluation(
        model=sum((each.model for each in results), Judgement()),
        ceiling=sum((each.ceiling for each in results), Judgement()),
        chance=sum((each.chance for each in results), Judgement()),
        captions=[caption for each in results for caption in each.captions],
        videos=np.concatenate([each.videos for each in results]),
    )


def _evaluate_part(
    part: range, *, weights: Path, world: WorldSpec, captions: int, steps: int, guidance_scale: float
) -> Evaluation:
    pipeline, detector = load_pipeline(weights), Detector(world)
    around = [held_out_scene(world, index % captions) for index in range(part.start - OTHER, part.stop)]
    scenes = around[OTHER:]
    texts = [scene.caption for scene in scenes]
    drawn = draw_videos(pipeline, texts, part, steps=steps, guidance_scale=guidance_scale)
    truth = through_vae(pipeline, torch.stack([render(world, scene).video for scene in around]).float() / 255)
    found = detector.detect(truth)
    own, others = slice(OTHER, None), slice(None, -OTHER)
    return Evaluation(
        model=judge(drawn, detector.detect(drawn), scenes, world),
        ceiling=judge(truth[own], found.of(own), scenes, world),
        chance=judge(truth[others], found.of(others), scenes, world),
        captions=texts,
        videos=(drawn * 255).round().to(torch.uint8).numpy(),
    )


def held_out_scene(world: WorldSpec, index: int) -> Scene:
    """One object in two of three, every motion in its turn; two objects, of any motions, in the third."""
    rng = np.random.default_rng([SEED, index])
    if index % 3 == 2:
        return draw_scene(world, rng, 2, held_out=True)
    motion = world.motions[(index - index // 3) % len(world.motions)]
    scene = draw_scene(world, rng, 1, held_out=True)
    while scene.objects[0].motion != motion:
        scene = draw_scene(world, rng, 1, held_out=True)
    return scene


@torch.no_grad()
def through_vae(pipeline: CogVideoXPipeline, videos: Tensor) -> Tensor:
    """[clip, frames, 3, height, width] in 0..1, encoded and decoded."""
    decoded = []
    for part in videos.split(DRAWN_AT_ONCE):
        with mixed_precision(pipeline.device.type):
            latents = pipeline.vae.encode(part.transpose(1, 2) * 2 - 1).latent_dist.mode()
            decoded.append(pipeline.vae.decode(latents).sample.float())
    return (torch.cat(decoded).transpose(1, 2) / 2 + 0.5).clamp(0, 1)


def judge(videos: Tensor, found: Detections, scenes: Sequence[Scene], world: WorldSpec) -> Judgement:
    """videos: [clip, frames, 3, height, width] in 0..1, one for each scene, and what the detector found in them."""
    judgement = Judgement()
    clips = track_found(found, videos, [[placed.sprite for placed in scene.objects] for scene in scenes], world)
    for video, scores, tracks, scene in zip(videos, found.distinct(), clips, scenes, strict=True):
        asked = [world.sprites.index(each.sprite) for each in tracks]
        ranked = scores.argsort(descending=True)[: len(asked)].tolist()
        seen = [index in ranked and each.present for index, each in zip(asked, tracks, strict=True)]
        judgement.background.count(nearest_background(video, world) == scene.background)
        for index in range(len(world.sprites)):
            if index not in asked:
                judgement.absent.count(bool(scores[index] > THRESHOLD))
        if len(tracks) == 1:
            _judge_one(judgement, scene.objects[0].motion, tracks[0], seen[0], world)
        else:
            judgement.both.count(all(seen))
            for placed, each in zip(scene.objects, tracks, strict=True):
                if placed.motion in STEP:
                    judgement.pair_directions.count(direction(each.boxes, world) == placed.motion)
                judgement.pair_shapes.count(_shape_right(placed.motion, each))
    return judgement


def _judge_one(judgement: Judgement, motion: Motion, track: Track, seen: bool, world: WorldSpec) -> None:
    judgement.sprite.count(seen)
    if motion in STEP:
        judgement.direction.count(direction(track.boxes, world) == motion)
    if motion == "still" and seen:
        judgement.stays.count(bool(box_overlaps(track.boxes[:1], track.boxes[-1:]) >= STAYS_IOU))
    shapes = judgement.deforms if motion in NON_RIGID else judgement.keeps_shape
    shapes.count(_shape_right(motion, track))


def _shape_right(motion: Motion, track: Track) -> bool:
    return track.shape.deformation == (motion if motion in NON_RIGID else None)


def direction(boxes: Tensor, world: WorldSpec) -> Motion:
    """boxes: [frames, 4] -> the direction of the way from first to last centre, or "still"."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 * torch.tensor([world.width, world.height])
    x, y = (centres[-1] - centres[0]).tolist()
    if max(abs(x), abs(y)) < MOVING_PX:
        return "still"
    if abs(x) >= abs(y):
        return "right" if x > 0 else "left"
    return "down" if y > 0 else "up"


def results(evaluation: Evaluation) -> dict[str, dict[str, Estimate]]:
    """Per question and column a rate with its interval, which takes the objects and absent sprites of one clip for
    independent; "non_rigid" is the mean of two shares, so that the few deforming captions count as much as the many
    others."""
    sides = {column: getattr(evaluation, column) for column in COLUMNS}
    rows = {
        each.name: {column: share(getattr(side, each.name)) for column, side in sides.items()}
        for each in fields(Judgement)
    }
    rows["non_rigid"] = {column: mean_of_shares([side.deforms, side.keeps_shape]) for column, side in sides.items()}
    return rows


def as_json(rows: dict[str, dict[str, Estimate]]) -> dict[str, dict[str, dict[str, float | int]]]:
    """What nothing was observed of has no value: only "of", 0."""
    return {
        name: {column: asdict(cell) if cell.of else {"of": 0} for column, cell in row.items()}
        for name, row in rows.items()
    }


def markdown(rows: dict[str, dict[str, Estimate]]) -> str:
    lines = [f"| | {' | '.join(COLUMNS)} |", "| --- | --- | --- | --- |"]
    lines += [f"| {QUESTIONS[name]} | {' | '.join(map(_cell, row.values()))} |" for name, row in rows.items()]
    return "\n".join(lines)


def _cell(rate: Estimate) -> str:
    if not rate.of:
        return "-"
    return f"{rate.value:.0%} ({100 * rate.low:.0f}–{100 * rate.high:.0f}) of {rate.of}"
