"""Where the known sprites are in a video: masked, colour-aware normalised cross-correlation, no learning.

For a template T with opacity w, laid over the pixels P of a window before the background B:

    score = cov_w(P, T) / √(var_w(P) var_w(T)) - 3 mean_w (P - T)² - 8 max(0, 0.08 - mean_w |P - B|) - 2 mean_r |P - B|

The first term, over all colour channels at once, knows the drawing, the second its colours; the third refuses windows
that show nothing but background, and the fourth, over a ring r around the drawing, those that show only a part of
something larger.  Every sprite is tried at several sizes and mirrored.  Large sizes are looked for in frames of half
the size first, and measured in the full one around what was found there.  The best windows of a frame that do not share
a place are its boxes, and of two sprites found in the same place the better one keeps it.
`python -m emoji_world detector-errors` prints its error rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, max_pool2d, pad

from emoji_world.backgrounds import background_image
from emoji_world.spec import Background, WorldSpec
from emoji_world.sprites import texture

HALVED_PX = 20
"""Templates from this size on are looked for in frames of half the size first."""
REFINED_PX = 3
"""How far around a window found there it is measured anew, px."""
FEW_FRAMES = 5
"""In which all sprites are looked for."""
LIKELY = 0.15
"""Mean score there of a sprite that may be in the clip: it is looked for in every frame, and its boxes are exact."""
CANDIDATES = 4
"""Windows of one sprite and size that are looked at, at most, in each frame."""
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
    """Of every sprite the `place` best windows that do not share a place, the best first.

    scores: [clip, frame, sprite, place], 1 is a perfect copy, minus infinity where there is none;
    boxes: [clip, frame, sprite, place, 4], fractions of the frame."""

    scores: Tensor
    boxes: Tensor

    def of(self, clips: slice) -> "Detections":
        return Detections(self.scores[clips], self.boxes[clips])

    def distinct(self) -> Tensor:
        """[clip, sprite]: mean score over the frames, minus infinity where a better sprite is in the same place."""
        means, boxes = self.scores[..., 0].mean(1), self.boxes[..., 0, :]
        shared = _share_covered_by_both(boxes[:, :, :, None], boxes[:, :, None]).mean(1) > SAME_PLACE
        beaten = shared & (means[:, :, None] < means[:, None, :])  # [clip, sprite, by sprite]
        return means.masked_fill(beaten.any(2), -torch.inf)


class Detector:
    def __init__(self, world: WorldSpec) -> None:
        self.world = world
        self._scales = [_Scale.of(world.sprites, size) for size in world.template_px]

    @torch.no_grad()
    def detect(self, videos: Tensor, places: int = 1) -> Detections:
        """videos: [clip, frame, 3, height, width] in 0..1; places: how many of a kind there may be."""
        found = [self._detect(video, places) for video in videos]
        scores, boxes = (torch.stack(each) for each in zip(*found, strict=True))
        return Detections(scores, boxes / torch.tensor([self.world.width, self.world.height] * 2))

    def _detect(self, video: Tensor, places: int) -> tuple[Tensor, Tensor]:
        """[frame, sprite, place] and [frame, sprite, place, 4] in px: all sprites in a few frames, roughly, then those
        that may be there in every frame."""
        difference = (video - background_image(self.world, nearest_background(video, self.world))).abs()
        images = torch.cat([video, difference.mean(1, keepdim=True)], dim=1)
        frame = torch.arange(len(video))
        few = torch.linspace(0, len(video) - 1, min(FEW_FRAMES, len(video))).round().long()
        scores, boxes = _search(images[few], self._scales, places, exact=False)
        nearest = (frame[:, None] - few).abs().argmin(1)
        likely = (scores[..., 0].mean(0) > LIKELY).nonzero().flatten()
        scores, boxes = scores[nearest], boxes[nearest]
        if len(likely):
            scales = [scale.only(likely) for scale in self._scales]
            scores[:, likely], boxes[:, likely] = _search(images, scales, places, exact=True)
        return scores, boxes


def _search(images: Tensor, scales: "Sequence[_Scale]", places: int, *, exact: bool) -> tuple[Tensor, Tensor]:
    """images: [image, 3 colours and difference, height, width] -> scores [image, sprite, place] and boxes, px."""
    halves = avg_pool2d(images, 2)
    found = [scale.search(images, halves, exact=exact) for scale in scales]
    scores, boxes = (torch.cat(each, dim=2) for each in zip(*found, strict=True))
    return _best_apart(scores, boxes, places)


@dataclass(frozen=True)
class _Scale:
    """The templates of one size; of the large ones, those of half the size too."""

    full: "_Bank"
    half: "_Bank | None"

    @classmethod
    def of(cls, sprites: Sequence[str], size: int) -> "_Scale":
        return cls(_Bank.of(sprites, size), _Bank.of(sprites, round(size / 2)) if size >= HALVED_PX else None)

    def only(self, sprites: Tensor) -> "_Scale":
        return _Scale(self.full.only(sprites), self.half and self.half.only(sprites))

    def search(self, images: Tensor, halves: Tensor, *, exact: bool) -> tuple[Tensor, Tensor]:
        """Scores [image, sprite, candidate] and boxes [image, sprite, candidate, 4], px."""
        if self.half is None:
            scores, corners = self.full.search(images)
        else:
            scores, corners = self.half.search(halves)
            corners = 2 * corners
            if exact:
                scores, corners = self.full.measure(images, corners)
        return scores, torch.cat([corners, corners + self.full.extents[:, None]], dim=-1).float()


def _best_apart(scores: Tensor, boxes: Tensor, places: int) -> tuple[Tensor, Tensor]:
    """scores: [image, sprite, candidate], boxes: [image, sprite, candidate, 4] -> the best, then the best that does not
    share its place, and so on: [image, sprite, place] and [image, sprite, place, 4]."""
    chosen_scores, chosen_boxes = [], []
    for _ in range(places):
        best, index = scores.max(2, keepdim=True)
        box = boxes.gather(2, index[..., None].expand(-1, -1, -1, 4))
        chosen_scores.append(best)
        chosen_boxes.append(box)
        scores = scores.masked_fill(_share_covered_by_both(boxes, box) > SAME_PLACE, -torch.inf)
    return torch.cat(chosen_scores, dim=2), torch.cat(chosen_boxes, dim=2)


def nearest_background(video: Tensor, world: WorldSpec) -> Background:
    """The background with the least median distance to the video's pixels: an object cannot outvote it."""

    def distance(background: Background) -> float:
        return float((video - background_image(world, background)).abs().mean(1).median())

    return min(world.backgrounds, key=distance)


@dataclass(frozen=True)
class _Bank:
    """Sprites at one size, each as drawn and mirrored: 2 · sprites templates in the corner of a size² window.

    opacity, ring: [template, 1, size, size] (the ring's with RING_PX more around); weighted: [template, 3, size, size],
    premultiplied; extents: [sprite, 2], width and height in px."""

    opacity: Tensor
    weighted: Tensor
    ring: Tensor
    extents: Tensor

    @classmethod
    def of(cls, sprites: Sequence[str], size: int) -> "_Bank":
        layers, extents = [], []
        for name in sprites:
            drawn = texture(name)
            scale = size / max(drawn.shape[1:])
            height, width = (max(1, round(edge * scale)) for edge in drawn.shape[1:])
            drawn = interpolate(drawn[None], size=(height, width), mode="bilinear", antialias=True)[0]
            layers += [pad(each, (0, size - width, 0, size - height)) for each in (drawn, drawn.flip(-1))]
            extents.append((width, height))
        stacked = torch.stack(layers)
        opacity = stacked[:, 3:]
        inner, outer = (_within(opacity, distance) for distance in RING_PX)
        ring = (outer - inner) / (outer - inner).sum((2, 3), keepdim=True)
        return cls(opacity, stacked[:, :3], ring, torch.tensor(extents))

    def only(self, sprites: Tensor) -> "_Bank":
        both = torch.stack([2 * sprites, 2 * sprites + 1], dim=1).flatten()
        return _Bank(self.opacity[both], self.weighted[both], self.ring[both], self.extents[sprites])

    @property
    def size(self) -> int:
        return self.opacity.shape[-1]

    def search(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images: [image, 3 colours and difference from the background, height, width]
        -> the best windows' scores [image, sprite, candidate], left top corners [image, sprite, candidate, 2] in px."""
        height, width = images.shape[2:]
        spare = (self.size - self.extents.amin(0)).tolist()  # px a window may leave the frame by: empty in a template
        margin = RING_PX[1]
        scores = self._scores(pad(images, (margin, margin + spare[0], margin, margin + spare[1])))
        inside = self._inside(torch.arange(scores.shape[3]), torch.arange(scores.shape[2]), width, height)
        scores = scores.masked_fill(~inside, -torch.inf)
        reach = self.size // 4
        highest = max_pool2d(scores, 2 * reach + 1, stride=1, padding=reach)
        best, where = scores.masked_fill(scores < highest, -torch.inf).flatten(2).topk(CANDIDATES, dim=2)
        return best, torch.stack([where % scores.shape[3], where // scores.shape[3]], dim=-1)

    def measure(self, images: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
        """The best window within REFINED_PX of each of these corners, in the form in which `search` gives them."""
        height, width = images.shape[2:]
        starts = corners - REFINED_PX
        margin = self.size + REFINED_PX + RING_PX[1]
        padded = pad(images, (margin,) * 4).movedim(1, -1)
        span = torch.arange(self.size + 2 * (REFINED_PX + RING_PX[1])) - RING_PX[1] + margin
        columns, rows = (starts[..., None] + span).unbind(-2)
        image = torch.arange(len(images)).view(-1, 1, 1, 1, 1)
        windows = padded[image, rows[..., :, None], columns[..., None, :]]  # [image, sprite, candidate, y, x, channel]
        windows = windows.permute(0, 2, 1, 5, 3, 4)
        scores = self._scores(windows.flatten(2, 3).flatten(0, 1), groups=windows.shape[2])
        scores = scores.unflatten(0, windows.shape[:2])  # [image, candidate, sprite, y, x]
        x, y = (starts.transpose(1, 2)[..., None] + torch.arange(scores.shape[-1])).unbind(-2)
        scores = scores.masked_fill(~self._inside(x, y, width, height), -torch.inf).transpose(1, 2)
        best, where = scores.flatten(3).max(3)
        return best, starts + torch.stack([where % scores.shape[-1], where // scores.shape[-1]], dim=-1)

    def _scores(self, images: Tensor, groups: int = 1) -> Tensor:
        """[image, sprite, top, left], the better of both mirrorings, of windows RING_PX from the edges given.

        images: [image, (3 colours and difference) · groups, y, x]; groups: 1, or an image for each sprite."""
        by_group = images.unflatten(1, (groups, 4))
        difference, margin = by_group[:, :, 3], RING_PX[1]
        colours = by_group[:, :, :3, margin:-margin, margin:-margin]
        mass = 3 * self.opacity.sum((1, 2, 3)).view(-1, 1, 1)
        mean = self.weighted.sum((1, 2, 3)).view(-1, 1, 1) / mass
        square = (self.weighted**2 / self.opacity.clamp(min=1e-3)).sum((1, 2, 3)).view(-1, 1, 1)
        variance = square - mass * mean**2
        total = conv2d(colours.sum(2), self.opacity, groups=groups)
        squares = conv2d(colours.square().sum(2), self.opacity, groups=groups)
        products = conv2d(colours.flatten(1, 2), self.weighted, groups=groups)
        presence = conv2d(difference[..., margin:-margin, margin:-margin], self.opacity, groups=groups) * 3 / mass
        spread = (squares - total**2 / mass).clamp(min=LEAST_VARIANCE * mass)
        scores = (products - mean * total) / (spread * variance).sqrt()
        scores = scores - COLOUR_WEIGHT * (squares - 2 * products + square) / mass
        scores = scores - PRESENCE_WEIGHT * (LEAST_DIFFERENCE - presence).clamp(min=0)
        scores = scores - RING_WEIGHT * conv2d(difference, self.ring, groups=groups)
        better: Tensor = scores.unflatten(1, (-1, 2)).amax(2)
        return better

    def _inside(self, x: Tensor, y: Tensor, width: int, height: int) -> Tensor:
        """x: [..., left], y: [..., top] -> [..., sprite, top, left], whether the window there lies in the frame."""
        inside_x = (x >= 0) & (x <= width - self.extents[:, :1])
        inside_y = (y >= 0) & (y <= height - self.extents[:, 1:])
        return inside_y.unsqueeze(-1) & inside_x.unsqueeze(-2)


def _within(opacity: Tensor, distance: int) -> Tensor:
    """opacity: [template, 1, size, size] -> [template, 1, size + 2 RING_PX, …], 1 near what shows."""
    shown = pad((opacity > VISIBLE).float(), (RING_PX[1],) * 4)
    return max_pool2d(shown, 2 * distance + 1, stride=1, padding=distance)


def _share_covered_by_both(one: Tensor, other: Tensor) -> Tensor:
    """Boxes [..., 4] -> the share of the smaller one that both cover."""
    edges = torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])
    smaller = torch.minimum((one[..., 2:] - one[..., :2]).prod(-1), (other[..., 2:] - other[..., :2]).prod(-1))
    return edges.clamp(min=0).prod(-1) / smaller
