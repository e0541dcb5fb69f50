"""How a known sprite leans, is pressed and waves in each frame: the drawing of `world.py`, fitted to the pixels.

    minimise  Σ (P - B (1 - a) - s)²  over the pixels near the object's box

P is the video, B the background, s and a the sprite's colours and opacity as drawn with the size that was found and a
centre, a lean, a press and a wave for each frame, by descent; both mirrorings are tried and the better one is kept.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

from emoji_world.backgrounds import background_image
from emoji_world.detector import nearest_background
from emoji_world.spec import Motion, WorldSpec
from emoji_world.sprites import texture
from emoji_world.world import WAVES, waves_downward

STEPS = 60
RATE = 0.05
START = 0.01
"""Of every parameter: at 0 pixels lie on texels, where the gradient jumps and rounding would choose its side."""
MARGIN_PX = 4
"""Pixels this far around the boxes still count: a leaning object leaves the box of the upright one."""
SWAYED = 0.6
"""Least range of a swaying object's lean over the clip, half widths; chosen on true clips through the VAE."""
SQUASHED = 0.28
"""Least range of a squashing object's press over the clip, shares of its height; chosen likewise."""


FLUTTERED = 0.2
"""Least range of a fluttering object's wave, in half its extent across; chosen likewise."""
SMOOTHED_FRAMES = 5
GROWN = 1.3
"""A box that ends so much larger or smaller than it began belongs to an object that approaches or recedes."""


@dataclass(frozen=True)
class Shape:
    """lean: [frames], how far the top lies left of the bottom, half widths; press: [frames], the share of the height
    that is lost; wave: [frames, 2], the sine and the cosine of the wave's phase times its amplitude at the free end, in
    half the extent across; error: mean squared difference of the pixels, 0..1."""

    lean: Tensor
    press: Tensor
    wave: Tensor
    error: float

    @property
    def lean_range(self) -> float:
        """Over the clip, half widths."""
        return float(self.lean.max() - self.lean.min())

    @property
    def press_range(self) -> float:
        """Over the clip, shares of the height."""
        return float(self.press.max() - self.press.min())

    @property
    def wave_range(self) -> float:
        """The largest amplitude over the clip, in half the extent across."""
        return float(self.wave.norm(dim=1).max())

    @property
    def deformation(self) -> Motion | None:
        """The deformation that exceeds its threshold by most, or none."""
        found: dict[Motion, float] = {
            "sway": self.lean_range / SWAYED,
            "squash": self.press_range / SQUASHED,
            "flutter": self.wave_range / FLUTTERED,
        }
        most = max(found, key=found.__getitem__)
        return most if found[most] >= 1 else None


def fit_shapes(videos: Tensor, sprites: Sequence[str], boxes: Tensor, world: WorldSpec) -> list[Shape]:
    """videos: [track, frames, 3, height, width] in 0..1; boxes: [track, frames, 4], where each track's sprite was
    found in its video, fractions -> one shape for each track.  All are fitted at once, none influences another."""
    edges = boxes * torch.tensor([world.width, world.height, world.width, world.height])
    drawing = _Drawing(videos, sprites, edges, world)
    # [track, mirrored, frame, (shift x, shift y, lean, press, size, wave's sine, cosine)], all near 0
    layouts = torch.full((len(videos), 2, videos.shape[1], 7), START, requires_grad=True)
    optimizer = torch.optim.Adam([layouts], lr=RATE)
    with torch.enable_grad():
        for _ in range(STEPS):
            optimizer.zero_grad()
            drawing.errors(layouts).sum().backward()
            optimizer.step()
    with torch.no_grad():
        errors, mirrored = drawing.errors(layouts).mean(2).min(1)
    best = layouts.detach()[torch.arange(len(videos)), mirrored]
    return [
        Shape(layout[:, 2], layout[:, 3], layout[:, 5:], float(error))
        for layout, error in zip(best, errors, strict=True)
    ]


class _Drawing:
    """What is compared: each track's video, and its sprite drawn before the background, in a window of each frame."""

    def __init__(self, videos: Tensor, sprites: Sequence[str], edges: Tensor, world: WorldSpec) -> None:
        """edges: the boxes [track, frame, 4] in px."""
        self.x, self.y, self.weights = _windows(edges, world)
        self.half = _steady((edges[..., 2:] - edges[..., :2]) / 2)  # [track, frame, 2]
        self.centre = torch.stack([edges[..., [0, 2]].mean(2), edges[..., 3] - self.half[..., 1]], dim=2)
        self.sizes, self.textures = _textures(sprites, self.half.amax(1))
        self.hangs = torch.tensor([waves_downward(sprite) for sprite in sprites])[:, None, None, None, None]
        x, y = self.x.long().clamp(0, world.width - 1), self.y.long().clamp(0, world.height - 1)
        x, y = x[:, :, None, :], y[:, :, :, None]
        track, frame = torch.arange(len(videos))[:, None, None, None], torch.arange(videos.shape[1])[:, None, None]
        backgrounds = torch.stack([background_image(world, nearest_background(video, world)) for video in videos])
        self.video = videos[track, frame, :, y, x].movedim(-1, 1)[:, :, None]  # [track, 3, mirrored, frame, y, x]
        self.behind = backgrounds[track, :, y, x].movedim(-1, 1)[:, :, None]

    def errors(self, layouts: Tensor) -> Tensor:
        """[track, mirrored, frame]: the mean squared difference between video and drawing."""
        shift_x, shift_y, lean, press, size, sine, cosine = layouts[..., None, None].unbind(3)
        scale = size.mean(2, keepdim=True).exp()  # one for the clip
        half_x, half_y = self.half[:, None, :, :, None, None].unbind(3)
        centre_x, centre_y = self.centre[:, None, :, :, None, None].unbind(3)
        u = (self.x[:, None, :, None, :] - centre_x - shift_x * half_x) / (half_x * scale)
        v = (self.y[:, None, :, :, None] - centre_y - shift_y * half_y) / (half_y * scale)
        u, v = (u + lean * (v - 1) / 2) / (1 + press / 3), (v - 1) / (1 - press) + 1
        along = torch.where(self.hangs, v, u) + 1
        wave = along / 2 * (sine * torch.sin(torch.pi * WAVES * along) + cosine * torch.cos(torch.pi * WAVES * along))
        u, v = torch.where(self.hangs, u + wave, u), torch.where(self.hangs, v, v + wave)
        u = u * torch.tensor([1.0, -1.0])[:, None, None, None]
        grid = (torch.stack([u, v], dim=-1) + 1) * self.sizes[:, None, None, None, None] - 1
        layer = grid_sample(self.textures, grid.flatten(1, 3), padding_mode="zeros", align_corners=False)
        layer = layer.unflatten(2, grid.shape[1:4])  # [track, 4, mirrored, frame, y, x]
        drawn = layer[:, :3] + self.behind * (1 - layer[:, 3:])
        squares = (drawn - self.video).square().mean(1) * self.weights[:, None]
        means: Tensor = squares.sum((3, 4)) / self.weights.sum((2, 3))[:, None]
        return means


def _steady(half: Tensor) -> Tensor:
    """half: [track, frame, 2], as found -> the same without what deformations make of it: one size for the clip, their
    median, or for an object that approaches or recedes the medians of some frames."""
    ends = [part.mean((1, 2)) for part in (half[:, :2], half[:, -2:])]
    grows = (ends[1] / ends[0]).log().abs() > math.log(GROWN)
    around = SMOOTHED_FRAMES // 2
    padded = pad(half.transpose(1, 2), (around, around), mode="replicate").unfold(2, SMOOTHED_FRAMES, 1)
    smooth = padded.median(-1).values.transpose(1, 2)
    return torch.where(grows[:, None, None], smooth, half.median(1, keepdim=True).values)


def _windows(edges: Tensor, world: WorldSpec) -> tuple[Tensor, Tensor, Tensor]:
    """edges: [track, frame, 4], px -> for a window around each box the pixels' middles x [track, frame, column] and
    y [track, frame, row], px, and their weights [track, frame, row, column]: 1 in the frame and within MARGIN_PX of
    the box."""
    axes, near = [], []
    for axis, size in enumerate((world.width, world.height)):
        low, high = edges[..., axis], edges[..., axis + 2]
        length = int((high - low).max()) + 2 * MARGIN_PX + 1
        middles = (low - MARGIN_PX).floor()[..., None] + torch.arange(length) + 0.5
        inside = (middles > low[..., None] - MARGIN_PX) & (middles < high[..., None] + MARGIN_PX)
        axes.append(middles)
        near.append(inside & (middles > 0) & (middles < size))
    return axes[0], axes[1], (near[1][..., :, None] & near[0][..., None, :]).float()


def _textures(sprites: Sequence[str], half: Tensor) -> tuple[Tensor, Tensor]:
    """Each sprite at its track's size (half: [track, 2], px), in the corner of one common format
    -> the shares (x, y) of the format that they fill [track, 2], and textures [track, 4, height, width]."""
    images = []
    for sprite, (half_x, half_y) in zip(sprites, half.tolist(), strict=True):
        size = [max(2, round(2 * half_y)), max(2, round(2 * half_x))]
        images.append(interpolate(texture(sprite)[None], size=size, mode="bilinear", antialias=True)[0])
    sizes = torch.tensor([[image.shape[2], image.shape[1]] for image in images])
    width, height = sizes.amax(0).tolist()
    padded = [pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in images]
    return sizes / torch.tensor([width, height]), torch.stack(padded)
