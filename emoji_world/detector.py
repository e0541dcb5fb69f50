"""Where the known sprites are in a video: masked, colour-aware normalised cross-correlation, no learning.

For a template T with opacity w, laid over the pixels P of a window before the background B:

    score = cov_w(P, T) / √(var_w(P) var_w(T)) - 3 mean_w (P - T)² - 8 max(0, 0.08 - mean_w |P - B|) - 2 mean_r |P - B|

The first term, over all colour channels at once, knows the drawing, the second its colours; the third refuses windows
that show nothing but background, and the fourth, over a ring r around the drawing, those that show only a part of
something larger.  Every sprite is tried at several sizes and mirrored; the best window of a frame is
its box there, and of two sprites found in the same place the better one keeps it.
`python -m emoji_world detector-errors` prints its error rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, max_pool2d, pad

from emoji_world.backgrounds import background_image
from emoji_world.spec import Background, WorldSpec
from emoji_world.sprites import texture

SIZES = (26, 28, 30, 32, 34, 36)
"""Longest edges tried, px."""
COLOUR_WEIGHT = 3.0
PRESENCE_WEIGHT = 8.0
LEAST_DIFFERENCE = 0.08
"""Between an object and the background behind it, mean over pixels and channels."""
RING_WEIGHT = 2.0
RING_PX = (1, 3)
"""The ring lies between these distances from the drawing; blurred edges do not reach into it."""
LEAST_VARIANCE = 1e-3
"""Of a window's colours: below it, a window counts as plain."""
VISIBLE = 0.3
"""Least opacity of what a template shows."""
SAME_PLACE = 0.5
"""Two boxes that share this much of the smaller one are in the same place."""


@dataclass(frozen=True)
class Detections:
    """scores: [clip, frame, sprite], 1 is a perfect copy; boxes: [clip, frame, sprite, 4], fractions of the frame."""

    scores: Tensor
    boxes: Tensor

    def of(self, clips: slice) -> "Detections":
        return Detections(self.scores[clips], self.boxes[clips])

    def distinct(self) -> Tensor:
        """[clip, sprite]: mean score over the frames, minus infinity where a better sprite is in the same place."""
        means = self.scores.mean(1)
        shared = _shared(self.boxes[:, :, :, None], self.boxes[:, :, None]).mean(1) > SAME_PLACE
        beaten = shared & (means[:, :, None] < means[:, None, :])  # [clip, sprite, by sprite]
        return means.masked_fill(beaten.any(2), -torch.inf)


class Detector:
    def __init__(self, world: WorldSpec, sizes: Sequence[int] = SIZES) -> None:
        self.world = world
        self._banks = [_Bank(world.sprites, size) for size in sizes]

    @torch.no_grad()
    def detect(self, videos: Tensor) -> Detections:
        """videos: [clip, frame, 3, height, width] in 0..1."""
        clips, frames, _, height, width = videos.shape
        behind = torch.stack([background_image(self.world, nearest_background(video, self.world)) for video in videos])
        images = videos.flatten(0, 1)
        difference = (videos - behind[:, None]).abs().mean(2, keepdim=True).flatten(0, 1)
        best = [bank.search(images, difference) for bank in self._banks]
        scores, winner = torch.stack([score for score, _ in best]).max(0)
        boxes = torch.stack([box for _, box in best])
        boxes = boxes.gather(0, winner[None, ..., None].expand(1, *winner.shape, 4))[0]
        boxes = boxes / torch.tensor([width, height, width, height])
        return Detections(scores.unflatten(0, (clips, frames)), boxes.unflatten(0, (clips, frames)))


def nearest_background(video: Tensor, world: WorldSpec) -> Background:
    """The background with the least median distance to the video's pixels: an object cannot outvote it."""

    def distance(background: Background) -> float:
        return float((video - background_image(world, background)).abs().mean(1).median())

    return min(world.backgrounds, key=distance)


class _Bank:
    """All sprites at one size, each as drawn and mirrored: 2 · sprites templates in the corner of a size² window."""

    def __init__(self, sprites: Sequence[str], size: int) -> None:
        self.size = size
        layers, extents = [], []
        for name in sprites:
            drawn = texture(name)
            scale = size / max(drawn.shape[1:])
            height, width = (max(1, round(edge * scale)) for edge in drawn.shape[1:])
            drawn = interpolate(drawn[None], size=(height, width), mode="bilinear", antialias=True)[0]
            layers += [pad(each, (0, size - width, 0, size - height)) for each in (drawn, drawn.flip(-1))]
            extents += [(width, height)] * 2
        self.extents = torch.tensor(extents)
        self.spare = (size - self.extents.amin(0)).tolist()  # px a window may leave the frame by: empty in a template
        self.opacity = torch.stack(layers)[:, 3:]  # [template, 1, size, size]
        self.weighted = torch.stack(layers)[:, :3]  # [template, 3, size, size], premultiplied
        inner, outer = (self._within(distance) for distance in RING_PX)
        self.ring = (outer - inner) / (outer - inner).sum((2, 3), keepdim=True)
        self.mass = 3 * self.opacity.sum((1, 2, 3))
        self.mean = self.weighted.sum((1, 2, 3)) / self.mass
        self.square = (self.weighted**2 / self.opacity.clamp(min=1e-3)).sum((1, 2, 3))
        self.variance = self.square - self.mass * self.mean**2

    def search(self, images: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
        """images: [image, 3, height, width], difference from the background: [image, 1, height, width]
        -> best score [image, sprite] and its box [image, sprite, 4] in px."""
        scores = self._scores(images, difference)
        best, where = scores.flatten(2).max(2)  # [image, template]
        best, mirrored = best.unflatten(1, (-1, 2)).max(2)
        where = where.unflatten(1, (-1, 2)).gather(2, mirrored[..., None])[..., 0]
        x, y = where % scores.shape[3], where // scores.shape[3]
        extents = self.extents[::2]
        return best, torch.stack([x, y, x + extents[:, 0], y + extents[:, 1]], dim=-1).float()

    def _scores(self, images: Tensor, difference: Tensor) -> Tensor:
        """[image, template, top, left], minus infinity where the template would leave the frame."""
        height, width = images.shape[2:]
        mass, mean, square, variance = (
            each.view(-1, 1, 1) for each in (self.mass, self.mean, self.square, self.variance)
        )
        total = self._correlate(images.sum(1, keepdim=True), self.opacity)
        squares = self._correlate(images.square().sum(1, keepdim=True), self.opacity)
        products = self._correlate(images, self.weighted)
        presence = self._correlate(difference, self.opacity) * 3 / mass
        spread = (squares - total**2 / mass).clamp(min=LEAST_VARIANCE * mass)
        scores = (products - mean * total) / (spread * variance).sqrt()
        scores = scores - COLOUR_WEIGHT * (squares - 2 * products + square) / mass
        scores = scores - PRESENCE_WEIGHT * (LEAST_DIFFERENCE - presence).clamp(min=0)
        scores = scores - RING_WEIGHT * self._correlate(difference, self.ring, around=RING_PX[1])
        inside_x = torch.arange(scores.shape[3]) <= width - self.extents[:, :1]
        inside_y = torch.arange(scores.shape[2]) <= height - self.extents[:, 1:]
        return scores.masked_fill(~(inside_y[:, :, None] & inside_x[:, None, :]), -torch.inf)

    def _within(self, distance: int) -> Tensor:
        """[template, 1, size + 2 around, size + 2 around], 1 at most `distance` px from what a template shows."""
        shown = pad((self.opacity > VISIBLE).float(), (RING_PX[1],) * 4)
        return max_pool2d(shown, 2 * distance + 1, stride=1, padding=distance)

    def _correlate(self, images: Tensor, kernels: Tensor, around: int = 0) -> Tensor:
        """images [image, channel, height, width], kernels [template, channel, edge, edge] -> sums over the window at
        each top left corner, [image, template, top, left], zeros beyond the frame; edge = size + 2 around."""
        return conv2d(pad(images, (around, around + self.spare[0], around, around + self.spare[1])), kernels)


def _shared(one: Tensor, other: Tensor) -> Tensor:
    """Boxes [..., 4] -> the share of the smaller one that both cover."""
    edges = torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])
    smaller = torch.minimum((one[..., 2:] - one[..., :2]).prod(-1), (other[..., 2:] - other[..., :2]).prod(-1))
    return edges.clamp(min=0).prod(-1) / smaller
