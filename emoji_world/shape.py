"""How a known sprite leans and is pressed in each frame: the drawing of `world.py`, fitted to the pixels by descent.

    minimise  Σ (P - B (1 - a) - s)²  over the pixels near the object's box

P is the video, B the background, s and a the sprite's colours and opacity as drawn with one size for the clip and a
centre, a lean and a press for each frame; both mirrorings are tried and the better one is kept.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from emoji_world.backgrounds import background_image
from emoji_world.detector import nearest_background
from emoji_world.spec import Motion, WorldSpec
from emoji_world.sprites import texture

STEPS = 60
RATE = 0.05
MARGIN_PX = 4
"""Pixels this far around the boxes still count: a leaning object leaves the box of the upright one."""
SWAYED = 0.6
"""Least range of a swaying object's lean over the clip, half widths; chosen on true clips through the VAE."""
SQUASHED = 0.28
"""Least range of a squashing object's press over the clip, shares of its height; chosen likewise."""


@dataclass(frozen=True)
class Shape:
    """lean: [frames], how far the top lies left of the bottom, half widths; press: [frames], the share of the height
    that is lost; error: mean squared difference of the pixels, 0..1."""

    lean: Tensor
    press: Tensor
    error: float

    @property
    def deformation(self) -> Motion | None:
        """The deformation that exceeds its threshold by more, or none."""
        sway, squash = (float(each.max() - each.min()) for each in (self.lean, self.press))
        if max(sway / SWAYED, squash / SQUASHED) < 1:
            return None
        return "sway" if sway / SWAYED > squash / SQUASHED else "squash"


def fit_shape(video: Tensor, sprite: str, boxes: Tensor, world: WorldSpec) -> Shape:
    """video: [frames, 3, height, width] in 0..1; boxes: [frames, 4], where the sprite was found, fractions."""
    behind = background_image(world, nearest_background(video, world))
    image = texture(sprite)
    edges = boxes * torch.tensor([world.width, world.height, world.width, world.height])
    weights = _near(edges, world)
    half = ((edges[:, 2:] - edges[:, :2]) / 2).median(0).values
    centre = torch.stack([edges[:, [0, 2]].mean(1), edges[:, 3] - half[1]], dim=1)
    layouts = torch.zeros(2, len(video), 5)  # mirrored, frame, (shift x, shift y, lean, press, size), all near 0
    layouts.requires_grad_()
    optimizer = torch.optim.Adam([layouts], lr=RATE)
    with torch.enable_grad():
        for _ in range(STEPS):
            errors = _errors(layouts, video, behind, image, centre, half, weights)
            optimizer.zero_grad()
            errors.sum().backward()
            optimizer.step()
    with torch.no_grad():
        means = _errors(layouts, video, behind, image, centre, half, weights).mean(1)
    best = int(means.argmin())
    return Shape(layouts[best, :, 2].detach(), layouts[best, :, 3].detach(), float(means[best]))


def _errors(
    layouts: Tensor, video: Tensor, behind: Tensor, image: Tensor, centre: Tensor, half: Tensor, weights: Tensor
) -> Tensor:
    """[mirrored, frame]: the mean squared difference between video and drawing."""
    height, width = video.shape[2:]
    shift_x, shift_y, lean, press, size = layouts[..., None, None].unbind(2)
    scale = size.mean(1, keepdim=True).exp()  # one for the clip
    half_x, half_y = half[0] * scale, half[1] * scale
    u = (torch.arange(width) + 0.5 - centre[:, :1, None] - shift_x * half[0]) / half_x
    v = (torch.arange(height)[:, None] + 0.5 - centre[:, 1:, None] - shift_y * half[1]) / half_y
    u, v = torch.broadcast_tensors(u, v)
    u, v = (u + lean * (v - 1) / 2) / (1 + press / 3), (v - 1) / (1 - press) + 1
    u = u * torch.tensor([1.0, -1.0])[:, None, None, None]
    grid = torch.stack([u, v], dim=-1).flatten(0, 1)
    coarse = torch.nn.functional.interpolate(
        image[None],
        size=[max(2, round(2 * float(half[1]))), max(2, round(2 * float(half[0])))],
        mode="bilinear",
        antialias=True,
    )
    layer = grid_sample(coarse.expand(len(grid), -1, -1, -1), grid, padding_mode="zeros", align_corners=False)
    drawn = layer[:, :3] + behind * (1 - layer[:, 3:])
    squares = (drawn.unflatten(0, layouts.shape[:2]) - video).square().mean(2)
    means: Tensor = (squares * weights).sum((2, 3)) / weights.sum((1, 2))
    return means


def _near(edges: Tensor, world: WorldSpec) -> Tensor:
    """edges: [frames, 4], px -> [frames, height, width], 1 within MARGIN_PX of the box."""
    x, y = torch.arange(world.width) + 0.5, torch.arange(world.height) + 0.5
    left, top, right, bottom = edges.unbind(1)
    across = (x > left[:, None] - MARGIN_PX) & (x < right[:, None] + MARGIN_PX)
    down = (y > top[:, None] - MARGIN_PX) & (y < bottom[:, None] + MARGIN_PX)
    return (down[:, :, None] & across[:, None, :]).float()
