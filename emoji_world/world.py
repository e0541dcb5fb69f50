"""Rendering: a scene becomes a clip with exact boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from emoji_world.backgrounds import background_image
from emoji_world.scene import Placed, Scene, draw_scene
from emoji_world.spec import Motion, WorldSpec
from emoji_world.sprites import texture
from emoji_world.vocabulary import SPRITES

VISIBLE = 0.3
"""An object's box is tight around its pixels of at least this opacity."""
WAVES = 0.75
"""Of a fluttering object's wave, between root and free end."""


@dataclass(frozen=True)
class Track:
    """One object of a clip; boxes [frames, 4] are x0, y0, x1, y1 as fractions of the frame."""

    sprite: str
    motion: Motion
    boxes: Tensor


@dataclass(frozen=True)
class Clip:
    """Video [frames, 3, height, width], uint8."""

    video: Tensor
    tracks: tuple[Track, ...]
    scene: Scene


def make_clip(
    spec: WorldSpec, seed: Sequence[int], objects: int, *, held_out: bool = False, frames: Sequence[int] | None = None
) -> Clip:
    """The clip of this seed, always the same; `frames` renders only some of its frames."""
    return render(spec, draw_scene(spec, np.random.default_rng(list(seed)), objects, held_out=held_out), frames)


def render(spec: WorldSpec, scene: Scene, frames: Sequence[int] | None = None) -> Clip:
    chosen = list(range(spec.frames)) if frames is None else list(frames)
    video = background_image(spec, scene.background).expand(len(chosen), -1, -1, -1)
    tracks = []
    for placed in scene.objects:
        layer = _layer(spec, placed, chosen)
        video = layer[:, :3] + video * (1 - layer[:, 3:])
        tracks.append(Track(placed.sprite, placed.motion, tight_boxes(layer[:, 3] > VISIBLE)))
    return Clip((video.clamp(0, 1) * 255).round().to(torch.uint8), tuple(tracks), scene)


def opacity(spec: WorldSpec, placed: Placed) -> Tensor:
    """The object's silhouette in every frame, whatever is before it: [frames, height, width], 0..1."""
    return _layer(spec, placed, list(range(spec.frames)))[:, 3]


def tight_boxes(mask: Tensor) -> Tensor:
    """mask: [frames, height, width] bool -> [frames, 4], fractions of the frame; zeros where nothing is set."""
    edges = []
    for along, size in ((mask.any(1), mask.shape[2]), (mask.any(2), mask.shape[1])):
        seen = along.float()
        edges += [seen.argmax(1) / size, (size - seen.flip(1).argmax(1)) / size]
    left, right, top, bottom = edges
    return torch.stack([left, top, right, bottom], dim=1) * mask.flatten(1).any(1)[:, None]


def _layer(spec: WorldSpec, placed: Placed, frames: list[int]) -> Tensor:
    """The object alone: [frames, 4, height, width], premultiplied."""
    halves = torch.from_numpy(placed.halves(spec.frames)).float()[frames]
    centres = torch.from_numpy(placed.centres(spec.frames)).float()[frames]
    progress = torch.from_numpy(placed.progress(spec.frames)).float()[frames]
    half_x, half_y = halves[:, :, None, None].unbind(1)
    centre_x, centre_y = centres[:, :, None, None].unbind(1)
    u = (torch.arange(spec.width) + 0.5 - centre_x) / half_x
    v = (torch.arange(spec.height)[:, None] + 0.5 - centre_y) / half_y
    u, v = torch.broadcast_tensors(u, v)  # sprite coordinates, -1..1 inside its box
    u, v = _deform(spec, placed, u, v, 2 * torch.pi * progress[:, None, None])
    if placed.mirrored:
        u = -u
    grid = torch.stack([u, v], dim=-1)
    sizes = [(round(2 * y), round(2 * x)) for x, y in halves.tolist()]
    if len(set(sizes)) == 1:
        images = _resize(placed.sprite, *sizes[0]).expand(len(frames), -1, -1, -1)
        return grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    layers = [
        grid_sample(_resize(placed.sprite, *size), grid[k : k + 1], padding_mode="zeros", align_corners=False)
        for k, size in enumerate(sizes)
    ]
    return torch.cat(layers)


def _deform(spec: WorldSpec, placed: Placed, u: Tensor, v: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    """Where in the undeformed sprite the point (u, v) of the deformed one lies; phase: 0 to 2π while it moves."""
    match placed.motion:
        case "sway":  # leans right, then left, rooted at the bottom
            return u + spec.sway * torch.sin(phase) * (v - 1) / 2, v
        case "squash":  # down and up again, rooted at the bottom
            pressed = spec.squash * (1 - torch.cos(phase)) / 2
            return u / (1 + pressed / 3), (v - 1) / (1 - pressed) + 1
        case "flutter" if waves_downward(placed.sprite):
            return u + wave(spec, v, phase), v
        case "flutter":
            return u, v + wave(spec, u, phase)
        case _:
            return u, v


def waves_downward(sprite: str) -> bool:
    """A skirt's wave runs down from the top; a flag's, and every other thing's, from the pole on the left."""
    return SPRITES[sprite].kind == "person"


def wave(spec: WorldSpec, along: Tensor, phase: Tensor) -> Tensor:
    """The shift across at `along` (-1 at the root, 1 at the free end): two periods in the time of one sway."""
    return spec.flutter * (along + 1) / 2 * torch.sin(2 * phase - torch.pi * WAVES * (along + 1)) * _ease(phase)


def _ease(phase: Tensor) -> Tensor:
    """0 at rest, before and after the motion; 1 in most of its time."""
    return (4 * torch.sin(phase / 2).abs()).clamp(max=1)


@lru_cache(maxsize=4096)
def _resize(sprite: str, height: int, width: int) -> Tensor:
    """[1, 4, height, width]."""
    return interpolate(texture(sprite)[None], size=(height, width), mode="bilinear", antialias=True)
