"""What does the model draw right?  Counted on captions whose combinations were never trained on.

Each rate stands between two others, taken in the same way: the ceiling (the true clip through the VAE, the best that
any transformer could do, and so the evaluator's own error rate) and chance (the true clip of another caption).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from diffusers import CogVideoXPipeline
from torch import Tensor

from emoji_world.detector import Detector, nearest_background
from emoji_world.precision import mixed_precision
from emoji_world.sampling import DRAWN_AT_ONCE, draw_videos
from emoji_world.scene import Scene, draw_scene
from emoji_world.spec import MOTIONS, NON_RIGID, STEP, Motion, WorldSpec
from emoji_world.tracking import THRESHOLD, Track, box_overlaps, track_found
from emoji_world.world import render

SEED = 4242
MOVING_PX = 4.0
"""A centre that moves less between first and last frame stands still."""
STAYS_IOU = 0.7


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
    pair_shapes: Rate = field(default_factory=Rate)
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
    "pair_shapes": "2 objects: each one's shape right",
    "both": "2 objects: both detected",
    "pair_directions": "2 objects: moving one's direction right",
    "absent": "absent sprite above threshold",
    "non_rigid": "1 object: deformation present where asked, absent where not (mean of both shares)",
}
COLUMNS = ("model", "ceiling", "chance")


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
    """Scenes as in `held_out_scenes`."""
    scenes = held_out_scenes(world, captions)
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


def held_out_scenes(world: WorldSpec, count: int) -> list[Scene]:
    """One object in two of three, every motion in its turn; two objects, of any motions, in the third."""
    scenes = []
    for index in range(count):
        rng = np.random.default_rng([SEED, index])
        if index % 3 == 2:
            scenes.append(draw_scene(world, rng, 2, held_out=True))
            continue
        motion = MOTIONS[(index - index // 3) % len(MOTIONS)]
        scene = draw_scene(world, rng, 1, held_out=True)
        while scene.objects[0].motion != motion:
            scene = draw_scene(world, rng, 1, held_out=True)
        scenes.append(scene)
    return scenes


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
    detector = Detector(world)
    judgement = Judgement()
    for video, scene in zip(videos, scenes, strict=True):
        found = detector.detect(video[None])
        scores = found.distinct()[0]
        tracks = track_found(found, video, [placed.sprite for placed in scene.objects], world)
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


def results(result: Evaluation) -> dict[str, dict[str, float | int]]:
    """Per question the three shares and the count, and "non_rigid": deformation present where asked and absent where
    not, the mean of both shares, so that the few deforming captions count as much as the many others."""
    rows: dict[str, dict[str, float | int]] = {}
    for each in fields(Judgement):
        rates: list[Rate] = [getattr(side, each.name) for side in (result.model, result.ceiling, result.chance)]
        rows[each.name] = {name: rate.share for name, rate in zip(COLUMNS, rates, strict=True)} | {"of": rates[0].of}
    parts = rows["deforms"], rows["keeps_shape"]
    rows["non_rigid"] = {name: sum(part[name] for part in parts) / 2 for name in COLUMNS}
    rows["non_rigid"]["of"] = sum(int(part["of"]) for part in parts)
    return rows


def markdown(result: Evaluation) -> str:
    lines = ["| | model | ceiling | chance | of |", "| --- | --- | --- | --- | --- |"]
    for name, row in results(result).items():
        shares = " | ".join(f"{row[column]:.0%}" if row[column] == row[column] else "-" for column in COLUMNS)
        lines.append(f"| {QUESTIONS[name]} | {shares} | {row['of']} |")
    return "\n".join(lines)
