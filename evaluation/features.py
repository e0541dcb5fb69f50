"""Are a network's features good enough for Eqs. 9 and 12?

The plans of held-out captions are drawn, noised to the level of a guided step, and predicted from once.  By layer and
step, with the features as they are and centred (minus the mean token):

    masks            IoU with the true silhouette, over the cells of a box: of the whole box, of the foreground, and of
                     the template (Eq. 9) of what keeps its shape
    correspondence   |D_perc - D_box| of Eq. 15, cells, from silhouettes of what goes somewhere to the next frame and
                     back: what is drawn moves with its box, so that D_box is the truth
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from statistics import fmean

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from emoji_world.spec import NON_RIGID, STEP, WORLD
from emoji_world.world import opacity
from evaluation.ablation import backbone_of, plan_with_parser
from evaluation.measures import placed_as_planned, truth
from evaluation.prompts import Half, held_out_captions
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.emoji_scene import EmojiScene, emoji_scene
from generator_service.contract.request import JobRequest, RenderSettings
from generator_service.guidance.deformation import box_displacement, dilate, perceived_displacement
from generator_service.guidance.foreground import segment_foreground
from generator_service.guidance.layout import TokenLayout, layout_on
from generator_service.guidance.rigidity import shape_template, warp_template

COVERED = 0.4
"""A cell belongs to a silhouette whose mean opacity there is higher."""
EVERY_STEP = -1

Table = dict[tuple[str, str, int], list[float]]
"""By what is measured, features, and step."""


def look(backbone_name: str, half: Half, prompts: int, steps: Sequence[int]) -> Table:
    """steps: from 0, of as many as the backbone has by default."""
    backbone = backbone_of(backbone_name)
    table: Table = defaultdict(list)
    for number, caption in enumerate(held_out_captions(half, prompts)):
        plan = plan_with_parser(caption)
        scene = emoji_scene(plan)
        settings = JobRequest(plan=plan, seed=number, backbone=backbone_name, guidance_scale=1.0).settings()
        layout = layout_on(backbone.grid(settings), scene.plan or plan)
        silhouettes = _silhouettes(scene, layout)
        clean = _encode(backbone, scene)
        for step in steps:
            for layer, features in enumerate(_features(backbone, scene, settings, clean, step)):
                for row, its in (
                    (f"layer {layer}", features),
                    (f"layer {layer}, centred", features - features.mean(0)),
                ):
                    _measure(table, row, step, its, scene, layout, silhouettes)
    return table


def _silhouettes(scene: EmojiScene, layout: TokenLayout) -> Tensor:
    """[instance, F, rows, columns], bool: what is seen of each in its box."""
    grid = layout.grid
    alone = torch.stack([opacity(WORLD, placed) for placed in placed_as_planned(scene)])  # [instance, frame, …]
    later = alone[:, 1:].unflatten(1, (grid.frames - 1, grid.compression)).mean(2)
    cell = (WORLD.height // grid.rows, WORLD.width // grid.columns)
    owned = torch.stack([layout.owner == 1 + index for index in range(len(alone))])
    return (avg_pool2d(torch.cat([alone[:, :1], later], dim=1), cell) > COVERED) & owned


@torch.no_grad()
def _encode(backbone: CogVideoX, scene: EmojiScene) -> Tensor:
    """The latents of the scene as it is planned."""
    vae = backbone.pipeline.vae
    video = truth(scene)[None].float().transpose(1, 2) / 127.5 - 1
    latents: Tensor = vae.encode(video).latent_dist.mode().transpose(1, 2) * vae.config.scaling_factor
    return latents


@torch.no_grad()
def _features(
    backbone: CogVideoX, scene: EmojiScene, settings: RenderSettings, clean: Tensor, step: int
) -> list[Tensor]:
    """Of each layer, [N, D]: what the network sees of these latents at this step."""
    timestep = backbone.solver(settings.steps).timesteps[step]
    noise = backbone.initial_latents(settings, torch.Generator().manual_seed(settings.seed))
    noised = backbone.pipeline.scheduler.add_noise(clean, noise, timestep[None])
    with ExitStack() as stack:
        captured = [stack.enter_context(backbone.capture_features(layer)) for layer in range(backbone.layers)]
        backbone.predict(noised, timestep, backbone.prepare(scene, settings))
    return [each[-1] for each in captured]


def _measure(
    table: Table, row: str, step: int, features: Tensor, scene: EmojiScene, layout: TokenLayout, silhouettes: Tensor
) -> None:
    grid = layout.grid
    phi = features.view(grid.frames, grid.rows, grid.columns, -1)
    unit = normalize(phi, dim=3)
    for drawn, boxes, inside, own in zip(scene.objects, layout.boxes, layout.inside, silhouettes, strict=True):
        around = dilate(inside) & (layout.owner == 0)
        masks = segment_foreground(phi, inside, around)
        table["whole box", "", EVERY_STEP].append(_overlap(inside, own))
        table["foreground", row, step].append(_overlap(masks, own))
        if drawn.motion not in NON_RIGID:
            template = shape_template(masks, boxes, threshold=0.5).mask
            table["template", row, step].append(_overlap(warp_template(template, boxes, inside), own))
        if drawn.motion not in STEP:
            continue
        for source, target in (pair for one in pairwise(range(grid.frames)) for pair in (one, one[::-1])):
            on = own[source][inside[source]]
            truly = box_displacement(boxes, inside, source, target)[on]
            perceived = perceived_displacement(unit, inside, source, target)[on]
            start, ends = inside[source].nonzero()[on], dilate(inside[[target]])[0].nonzero()
            anywhere = (ends[None] - start[:, None]).flip(2)  # [token, end, 2]
            table["correspondence", row, step] += (perceived - truly).norm(dim=1).tolist()
            table["correspondence", "chance", EVERY_STEP] += (anywhere - truly[:, None]).norm(dim=2).mean(1).tolist()
            table["correspondence", "no motion", EVERY_STEP] += truly.norm(dim=1).tolist()


def _overlap(mask: Tensor, truth: Tensor) -> float:
    """Mean IoU over the frames that have a silhouette."""
    both, either = ((its).flatten(1).sum(1) for its in (mask & truth, mask | truth))
    seen = truth.flatten(1).any(1)
    return float((both / either)[seen].mean()) if seen.any() else float("nan")


def markdown(table: Table) -> str:
    """A line for what is measured of each layer's features, and for what does not depend on them."""
    steps = sorted({step for _, _, step in table if step != EVERY_STEP})
    lines = [
        "| | features | " + " | ".join(f"step {step}" for step in steps) + " |",
        "| --- |" + " --- |" * (1 + len(steps)),
    ]
    for name, row in sorted({(name, row) for name, row, _ in table}):
        each = [table.get((name, row, step), table.get((name, row, EVERY_STEP), [])) for step in steps]
        known = [[value for value in values if not math.isnan(value)] for values in each]
        cells = (f"{fmean(values):.2f}" if values else "–" for values in known)
        lines.append(f"| {name} | {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
