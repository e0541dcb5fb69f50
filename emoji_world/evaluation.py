"""What does the model draw right?  Counted on captions whose combinations were never trained on.

Each rate stands between two others, taken in the same way: the ceiling (the true clip through the VAE, the best that
any transformer could do, and so the evaluator's own error rate) and chance (the true clip of another caption).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from diffusers import CogVideoXPipeline
from rich.table import Table
from torch import Tensor

from emoji_world.backgrounds import background_image
from emoji_world.detector import Detector, nearest_background
from emoji_world.precision import mixed_precision
from emoji_world.sampling import DRAWN_AT_ONCE, draw_videos
from emoji_world.scene import Placed, Scene, draw_scene
from emoji_world.spec import NON_RIGID, STEP, Motion, WorldSpec
from emoji_world.world import render, tight_boxes

SEED = 4242
THRESHOLD = 0.5
"""Least mean score of a sprite that is there; the share of absent sprites above it is one of the results."""
MOVING_PX = 4.0
"""A centre that moves less between first and last frame stands still."""
STAYS_IOU = 0.7
FOREGROUND = 0.12
"""A pixel whose colour is this far from the background's, mean over channels, is the object's."""
SQUASHED = 0.85
"""Lowest height of a squashing silhouette, as a share of its height in the first frame."""
SWAYED = 0.1
"""Least change of a swaying silhouette's lean, in widths."""


@dataclass
class Rate:
    hits: int = 0
    of: int = 0

    def count(self, hit: bool) -> None:
        self.hits += hit
        self.of += 1

    @property
    def share(self) -> float:
        return self.hits / self.of if self.of else float("nan")

    def __str__(self) -> str:
        return f"{self.share:.0%}" if self.of else "-"


@dataclass
class Judgement:
    """One rate per question."""

    background: Rate = field(default_factory=Rate)
    sprite: Rate = field(default_factory=Rate)
    direction: Rate = field(default_factory=Rate)
    stays: Rate = field(default_factory=Rate)
    deforms: Rate = field(default_factory=Rate)
    keeps_shape: Rate = field(default_factory=Rate)
    both: Rate = field(default_factory=Rate)
    pair_directions: Rate = field(default_factory=Rate)
    absent: Rate = field(default_factory=Rate)


QUESTIONS: dict[str, str] = {
    "background": "background right",
    "sprite": "1 object: right sprite detected",
    "direction": "1 moving object: direction right",
    "stays": f"1 motionless, detected object: IoU ≥ {STAYS_IOU}",
    "deforms": "1 object: deforms as asked",
    "keeps_shape": "1 object: keeps its shape else",
    "both": "2 objects: both detected",
    "pair_directions": "2 objects: moving one's direction right",
    "absent": "absent sprite above threshold",
}


@dataclass(frozen=True)
class Evaluation:
    model: Judgement
    ceiling: Judgement
    chance: Judgement
    captions: list[str]
    videos: Tensor


def evaluate(
    pipeline: CogVideoXPipeline, world: WorldSpec, captions: int, *, steps: int, guidance_scale: float
) -> Evaluation:
    """One object in two captions of three, two objects in the third."""
    rngs = [np.random.default_rng([SEED, index]) for index in range(captions)]
    scenes = [draw_scene(world, rng, 2 if index % 3 == 2 else 1, held_out=True) for index, rng in enumerate(rngs)]
    texts = [scene.caption for scene in scenes]
    drawn = draw_videos(pipeline, texts, range(captions), steps=steps, guidance_scale=guidance_scale)
    truth = torch.stack([render(world, scene).video for scene in scenes]).float() / 255
    others = truth.roll(3, dims=0)  # three on: with the same number of objects
    return Evaluation(
        model=judge(drawn, scenes, world),
        ceiling=judge(through_vae(pipeline, truth), scenes, world),
        chance=judge(others, scenes, world),
        captions=texts,
        videos=drawn,
    )


@torch.no_grad()
def through_vae(pipeline: CogVideoXPipeline, videos: Tensor) -> Tensor:
    """[clip, frames, 3, height, width] in 0..1, encoded and decoded."""
    decoded = []
    for part in videos.split(DRAWN_AT_ONCE):
        with mixed_precision(pipeline.device.type):
            latents = pipeline.vae.encode(part.transpose(1, 2) * 2 - 1).latent_dist.mode()
            decoded.append(pipeline.vae.decode(latents).sample.float())
    return (torch.cat(decoded).transpose(1, 2) / 2 + 0.5).clamp(0, 1)


def judge(videos: Tensor, scenes: Sequence[Scene], world: WorldSpec) -> Judgement:
    """videos: [clip, frames, 3, height, width] in 0..1, one for each scene."""
    shown = [0, world.frames // 2, world.frames - 1]
    detector = Detector(world)
    judgement = Judgement()
    for video, scene in zip(videos, scenes, strict=True):
        found = detector.detect(video[None, shown])
        scores, boxes = found.distinct()[0], found.boxes[0]
        asked = [world.sprites.index(placed.sprite) for placed in scene.objects]
        ranked = scores.argsort(descending=True)[: len(asked)].tolist()
        seen = [index in ranked and bool(scores[index] > THRESHOLD) for index in asked]
        judgement.background.count(nearest_background(video, world) == scene.background)
        for index in range(len(world.sprites)):
            if index not in asked:
                judgement.absent.count(bool(scores[index] > THRESHOLD))
        motions = [direction(boxes[:, index], world) for index in asked]
        if len(asked) == 1:
            _judge_one(judgement, video, scene, boxes[:, asked[0]], seen[0], motions[0], world)
        else:
            judgement.both.count(all(seen))
            for placed, motion in zip(scene.objects, motions, strict=True):
                if placed.motion in STEP:
                    judgement.pair_directions.count(motion == placed.motion)
    return judgement


def _judge_one(
    judgement: Judgement,
    video: Tensor,
    scene: Scene,
    boxes: Tensor,
    seen: bool,
    motion: Motion,
    world: WorldSpec,
) -> None:
    placed: Placed = scene.objects[0]
    judgement.sprite.count(seen)
    if placed.motion in STEP:
        judgement.direction.count(motion == placed.motion)
    if placed.motion == "still" and seen:
        judgement.stays.count(overlap(boxes[0], boxes[-1]) >= STAYS_IOU)
    if placed.motion in NON_RIGID:
        judgement.deforms.count(deformation(video, world) == placed.motion)
    else:
        judgement.keeps_shape.count(deformation(video, world) is None)


def direction(boxes: Tensor, world: WorldSpec) -> Motion:
    """boxes: [frames, 4] -> the direction of the way from first to last centre, or "still"."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 * torch.tensor([world.width, world.height])
    x, y = (centres[-1] - centres[0]).tolist()
    if max(abs(x), abs(y)) < MOVING_PX:
        return "still"
    if abs(x) >= abs(y):
        return "right" if x > 0 else "left"
    return "down" if y > 0 else "up"


def overlap(one: Tensor, other: Tensor) -> float:
    """Intersection over union of two boxes."""
    edges = torch.minimum(one[2:], other[2:]) - torch.maximum(one[:2], other[:2])
    common = edges.clamp(min=0).prod()
    areas = (one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod()
    return float(common / (areas - common))


def deformation(video: Tensor, world: WorldSpec) -> Motion | None:
    """How the silhouette before the background changes its shape, whatever it shows: "squash", "sway" or not at all."""
    background = background_image(world, nearest_background(video, world))
    silhouette = (video - background).abs().mean(1) > FOREGROUND  # [frames, height, width]
    boxes = tight_boxes(silhouette)
    heights = boxes[:, 3] - boxes[:, 1]
    if heights[0] > 0 and heights.min() < SQUASHED * heights[0]:
        return "squash"
    leans = torch.stack([lean(mask) for mask in silhouette])
    return "sway" if leans.max() - leans.min() > SWAYED else None


def lean(mask: Tensor) -> Tensor:
    """[height, width] bool -> how far the upper half's centre lies right of the lower half's, in silhouette widths."""
    rows, columns = mask.nonzero(as_tuple=True)
    if not len(rows):
        return torch.zeros(())
    upper = rows < (rows.min() + rows.max() + 1) / 2
    if upper.all() or not upper.any():
        return torch.zeros(())
    across = columns.float()
    return (across[upper].mean() - across[~upper].mean()) / (columns.max() - columns.min() + 1)


def results_table(result: Evaluation) -> Table:
    table = Table(title=f"{len(result.captions)} held-out captions")
    for heading in ("", "model", "ceiling", "chance", "of"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, question in QUESTIONS.items():
        rates: list[Rate] = [getattr(each, name) for each in (result.model, result.ceiling, result.chance)]
        table.add_row(question, *(str(rate) for rate in rates), str(rates[0].of))
    return table
