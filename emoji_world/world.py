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

VISIBLE = 0.3
"""An object's box is tight around its pixels of at least this opacity."""


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
    half_x, half_y = placed.half
    centre_x, centre_y = torch.from_numpy(placed.centres(spec.frames)).float()[frames, :, None, None].unbind(1)
    phase = 2 * torch.pi * torch.tensor(frames) / (spec.frames - 1)
    u = (torch.arange(spec.width) + 0.5 - centre_x) / half_x
    v = (torch.arange(spec.height)[:, None] + 0.5 - centre_y) / half_y
    u, v = torch.broadcast_tensors(u, v)  # sprite coordinates, -1..1 inside its box
    if placed.motion == "sway":  # leans right, then left, rooted at the bottom
        u = u + spec.sway * torch.sin(phase)[:, None, None] * (v - 1) / 2
    if placed.motion == "squash":  # down and up again, rooted at the bottom
        pressed = spec.squash * (1 - torch.cos(phase)[:, None, None]) / 2
        u, v = u / (1 + pressed / 3), (v - 1) / (1 - pressed) + 1
    if placed.mirrored:
        u = -u
    image = _resized(placed.sprite, round(2 * half_y), round(2 * half_x))
    grid = torch.stack([u, v], dim=-1)
    return grid_sample(image.expand(len(frames), -1, -1, -1), grid, padding_mode="zeros", align_corners=False)


@lru_cache(maxsize=4096)
def _resized(sprite: str, height: int, width: int) -> Tensor:
    return interpolate(texture(sprite)[None], size=(height, width), mode="bilinear", antialias=True)
