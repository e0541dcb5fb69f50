"""What does the model draw right?  Counted on captions whose combinations were never trained on.

Each rate stands between two others, taken in the same way: the ceiling (the true clip through the VAE, the best that
any transformer could do, and so the evaluator's own error rate) and chance (the same of another caption's true clip).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from itertools import permutations
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
from emoji_world.scene import Placed, Scene, draw_scene
from emoji_world.shape import GROWN
from emoji_world.spec import NON_RIGID, SCALING, STEP, Motion, Timing, WorldSpec
from emoji_world.tracking import THRESHOLD, Track, box_overlaps, centres, most_alike, track_found
from emoji_world.world import render

SEED = 4242
AT_ONCE = 12
"""Captions that one process judges in one go: a constant, because mixed precision rounds otherwise in other batches."""
COUNTS: dict[int, tuple[int, ...]] = {2: (1, 1, 2), 3: (1, 2, 1, 3, 1, 2)}
"""Objects of one caption after the other, over and over; by the most that a world has."""
MOVING_PX = 4.0
"""A centre that moves less between first and last frame stands still."""
STAYS_IOU = 0.7


@dataclass
class Judgement:
    """One rate per question."""

    background: Rate = field(default_factory=Rate)
    sprite: Rate = field(default_factory=Rate)
    direction: Rate = field(default_factory=Rate)
    scaling: Rate = field(default_factory=Rate)
    rests: Rate = field(default_factory=Rate)
    stays: Rate = field(default_factory=Rate)
    deforms: Rate = field(default_factory=Rate)
    keeps_shape: Rate = field(default_factory=Rate)
    pair_shapes: Rate = field(default_factory=Rate)
    both: Rate = field(default_factory=Rate)
    pair_directions: Rate = field(default_factory=Rate)
    alike: Rate = field(default_factory=Rate)
    three: Rate = field(default_factory=Rate)
    three_directions: Rate = field(default_factory=Rate)
    absent: Rate = field(default_factory=Rate)

    def __add__(self, other: "Judgement") -> "Judgement":
        names = [each.name for each in fields(self)]
        return Judgement(**{name: getattr(self, name) + getattr(other, name) for name in names})


QUESTIONS: dict[str, str] = {
    "background": "background right",
    "sprite": "1 object: right sprite detected",
    "direction": "1 moving object: direction right",
    "scaling": "1 object that comes closer or goes away: does so",
    "rests": "1 object that rests in one half: moves in the other",
    "stays": f"1 motionless, detected object: IoU ≥ {STAYS_IOU}",
    "deforms": "1 object: deforms as asked",
    "keeps_shape": "1 object: keeps its shape else",
    "pair_shapes": "2 objects: each one's shape right",
    "both": "2 objects: both detected",
    "pair_directions": "2 objects: moving one's direction right",
    "alike": "2 objects of a kind: both detected",
    "three": "3 objects: all detected",
    "three_directions": "3 objects: moving one's direction right",
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
    other = len(COUNTS[world.most_objects])  # the clip of a caption so far off, of as many objects, stands for chance
    around = [held_out_scene(world, index % captions) for index in range(part.start - other, part.stop)]
    scenes = around[other:]
    texts = [scene.caption for scene in scenes]
    drawn = draw_videos(pipeline, texts, part, steps=steps, guidance_scale=guidance_scale)
    truth = through_vae(pipeline, torch.stack([render(world, scene).video for scene in around]).float() / 255)
    places = most_alike([[placed.sprite for placed in scene.objects] for scene in around])
    found = detector.detect(truth, places)
    own, others = slice(other, None), slice(None, -other)
    return Evaluation(
        model=judge(drawn, detector.detect(drawn, places), scenes, world),
        ceiling=judge(truth[own], found.of(own), scenes, world),
        chance=judge(truth[others], found.of(others), scenes, world),
        captions=texts,
        videos=(drawn * 255).round().to(torch.uint8).numpy(),
    )


def held_out_scene(world: WorldSpec, index: int) -> Scene:
    """As many objects as COUNTS says; a single one has every motion in its turn, several have any."""
    counts = COUNTS[world.most_objects]
    turn, place = divmod(index, len(counts))
    rng = np.random.default_rng([SEED, index])
    if counts[place] > 1:
        return draw_scene(world, rng, counts[place], held_out=True)
    singles = turn * counts.count(1) + counts[:place].count(1)
    motion = world.motions[singles % len(world.motions)]
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
        kinds = {world.sprites.index(each.sprite) for each in tracks}
        ranked = scores.argsort(descending=True)[: len(kinds)].tolist()
        seen = [world.sprites.index(each.sprite) in ranked and each.present for each in tracks]
        judgement.background.count(nearest_background(video, world) == scene.background)
        for index in range(len(world.sprites)):
            if index not in kinds:
                judgement.absent.count(bool(scores[index] > THRESHOLD))
        if len(tracks) == 1:
            _judge_one(judgement, scene.objects[0], tracks[0], seen[0], world)
            continue
        if len(kinds) < len(tracks):
            judgement.alike.count(all(seen))
            tracks = _match_twins(scene.objects, tracks, world)
        if len(tracks) == 2:
            judgement.both.count(all(seen))
        else:
            judgement.three.count(all(seen))
        directions = judgement.pair_directions if len(tracks) == 2 else judgement.three_directions
        for placed, each in zip(scene.objects, tracks, strict=True):
            if placed.motion in STEP:
                directions.count(direction(each.boxes, world) == placed.motion)
            if len(tracks) == 2:
                judgement.pair_shapes.count(_shape_right(placed.motion, each))
    return judgement


def _judge_one(judgement: Judgement, placed: Placed, track: Track, seen: bool, world: WorldSpec) -> None:
    motion = placed.motion
    judgement.sprite.count(seen)
    if motion in STEP:
        judgement.direction.count(direction(track.boxes, world) == motion)
    if motion in SCALING:
        judgement.scaling.count(find_scaling(track.boxes) == motion)
    if motion in STEP and placed.timing != "throughout":
        judgement.rests.count(_timing(track.boxes) == placed.timing)
    if motion == "still" and seen:
        judgement.stays.count(bool(box_overlaps(track.boxes[:1], track.boxes[-1:]) >= STAYS_IOU))
    shapes = judgement.deforms if motion in NON_RIGID else judgement.keeps_shape
    shapes.count(_shape_right(motion, track))


def _match_twins(objects: Sequence[Placed], tracks: Sequence[Track], world: WorldSpec) -> list[Track]:
    """Which of two of a kind is which no caption says: the tracks in the order that fits the motions best."""
    orders = [
        order
        for order in permutations(tracks)
        if all(placed.sprite == each.sprite for placed, each in zip(objects, order, strict=True))
    ]
    return list(
        max(
            orders,
            key=lambda order: sum(
                (placed.motion not in STEP or direction(each.boxes, world) == placed.motion)
                + _shape_right(placed.motion, each)
                for placed, each in zip(objects, order, strict=True)
            ),
        )
    )


def _shape_right(motion: Motion, track: Track) -> bool:
    return track.shape.deformation == (motion if motion in NON_RIGID else None)


def direction(boxes: Tensor, world: WorldSpec) -> Motion:
    """boxes: [frames, 4] -> which of the world's directions the way from first to last centre is nearest to, or
    "still"."""
    x, y = _way(boxes, world).tolist()
    if max(abs(x), abs(y)) < MOVING_PX:
        return "still"

    def along(motion: Motion) -> float:
        step = STEP[motion]
        return float(x * step[0] + y * step[1]) / math.hypot(*step)

    return max((motion for motion in STEP if motion in world.motions), key=along)


def find_scaling(boxes: Tensor) -> Motion:
    """boxes: [frames, 4] -> whether it grows, shrinks or does neither."""
    edges = (boxes[:, 2:] - boxes[:, :2]).mean(1)
    growth = float(edges[-2:].mean() / edges[:2].mean().clamp(min=1e-6))
    return "approach" if growth >= GROWN else "recede" if growth <= 1 / GROWN else "still"


def _timing(boxes: Tensor) -> Timing:
    """boxes: [frames, 4] -> in which half of the clip the way lies; throughout where neither has twice the other's."""
    middle = len(boxes) // 2
    first, second = (float(centres(boxes[[a, b]]).diff(dim=0).norm()) for a, b in ((0, middle), (middle, -1)))
    return "stops" if first > 2 * second else "starts" if second > 2 * first else "throughout"


def _way(boxes: Tensor, world: WorldSpec) -> Tensor:
    """boxes: [frames, 4] -> from the first to the last centre, px."""
    return centres(boxes[[0, -1]]).diff(dim=0)[0] * torch.tensor([world.width, world.height])


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
