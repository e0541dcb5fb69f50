"""A canvas in points: drawn at four times its size and halved, so that lines are smooth; it knows where text stands."""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFont

from shared.geometry import Box
from shared.motion_graph import MotionLabel

PAPER, PANEL, INK, FAINT, RULE = "#fbfaf7", "#ffffff", "#22262b", "#7d828a", "#dedbd3"
COLORS = {MotionLabel.MOTIONLESS: "#4f6d8c", MotionLabel.RIGID: "#c8553d", MotionLabel.NON_RIGID: "#2f8f6b"}
LABEL_NAMES = {MotionLabel.MOTIONLESS: "motionless", MotionLabel.RIGID: "rigid", MotionLabel.NON_RIGID: "non-rigid"}
DRAWN, SHOWN = 4, 2
"""Pixels a point: while drawing, and in the picture."""

Point = tuple[float, float]


class Canvas:
    def __init__(self, width: float, height: float) -> None:
        self.texts: list[tuple[str, Box]] = []
        """What is written, and where, in points."""
        self._image = Image.new("RGB", (round(width * DRAWN), round(height * DRAWN)), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def to_image(self) -> Image.Image:
        return self._image.reduce(DRAWN // SHOWN)

    def text(self, at: Point, text: str, size: float, color: str = INK, anchor: str = "lm") -> None:
        """`anchor`: Pillow's, "lm" is left and middle."""
        place = at[0] * DRAWN, at[1] * DRAWN
        self._draw.text(place, text, color, _font(size), anchor=anchor)
        x0, y0, x1, y1 = self._draw.textbbox(place, text, _font(size), anchor=anchor)
        self.texts.append((text, Box(x0 / DRAWN, y0 / DRAWN, x1 / DRAWN, y1 / DRAWN)))

    def rounded_rectangle(self, box: Box, radius: float, fill: str | None = None, outline: str | None = None) -> None:
        self._draw.rounded_rectangle(_scale_up(box), radius * DRAWN, fill, outline, round(1.5 * DRAWN))

    def translucent_rectangle(self, box: Box, radius: float, color: str, opacity: float) -> None:
        """A rectangle that what is under it shows through."""
        x0, y0, x1, y1 = map(round, _scale_up(box))
        mask = Image.new("L", (max(1, x1 - x0), max(1, y1 - y0)), 0)
        shape = (0, 0, mask.width - 1, mask.height - 1)
        ImageDraw.Draw(mask).rounded_rectangle(shape, radius * DRAWN, round(255 * opacity))
        self._image.paste(Image.new("RGB", mask.size, color), (x0, y0), mask)

    def disc(self, at: Point, radius: float, color: str) -> None:
        self._draw.ellipse(_scale_up(Box.around(*at, 2 * radius, 2 * radius)), color)

    def line(self, points: Sequence[Point], color: str, width: float = 1.5) -> None:
        self._draw.line([(x * DRAWN, y * DRAWN) for x, y in points], color, round(width * DRAWN), joint="curve")

    def dashed_line(self, points: Sequence[Point], color: str, width: float = 1.0, dash: float = 3.0) -> None:
        """Dashes as long as the gaps between them."""
        for index, (a, b) in enumerate(_pieces(points, dash)):
            if index % 2 == 0:
                self.line([a, b], color, width)

    def head(self, tip: Point, before: Point, color: str) -> None:
        """An arrow's head, coming from `before`."""
        length = math.dist(tip, before) or 1.0
        ux, uy = (tip[0] - before[0]) / length, (tip[1] - before[1]) / length
        barbs = [(tip[0] - 9 * ux + side * 4.5 * uy, tip[1] - 9 * uy - side * 4.5 * ux) for side in (-1, 1)]
        self._draw.polygon([(x * DRAWN, y * DRAWN) for x, y in (tip, *barbs)], color)


def text_width(text: str, size: float) -> float:
    return _font(size).getlength(text) / DRAWN


def shorten(text: str, size: float, width: float) -> str:
    """The text, or its beginning and "…", no wider than that."""
    if text_width(text, size) <= width:
        return text
    length = len(text)
    while length > 1 and text_width(text[:length].rstrip() + "…", size) > width:
        length -= 1
    return text[:length].rstrip() + "…"


def wrap(text: str, size: float, width: float, lines: int) -> list[str]:
    """The text in at most so many lines; the last is shortened."""
    made = [""]
    for word in text.split():
        joined = f"{made[-1]} {word}".strip()
        if text_width(joined, size) <= width or not made[-1] or len(made) == lines:
            made[-1] = joined
        else:
            made.append(word)
    return [shorten(line, size, width) for line in made]


def is_free(box: Box, taken: Iterable[Box], gap: float = 2.0) -> bool:
    """Whether none of the taken boxes comes nearer than `gap`."""
    grown = Box(box.x0 - gap, box.y0 - gap, box.x1 + gap, box.y1 + gap)
    return all(grown.overlap(other) == 0.0 for other in taken)


def _pieces(points: Sequence[Point], length: float) -> list[tuple[Point, Point]]:
    """The line cut into pieces of that length, a bend within one rounded off."""
    cuts, since = [points[0]], 0.0
    for a, b in pairwise(points):
        distance = math.dist(a, b)
        along = length - since
        while along <= distance:
            cuts.append((a[0] + (b[0] - a[0]) * along / distance, a[1] + (b[1] - a[1]) * along / distance))
            along += length
        since = distance - (along - length)
    return list(pairwise(cuts))


def _scale_up(box: Box) -> tuple[float, float, float, float]:
    return box.x0 * DRAWN, box.y0 * DRAWN, max(box.x1, box.x0 + 1) * DRAWN, max(box.y1, box.y0 + 1) * DRAWN


@cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size * DRAWN)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType, which its wheels have")
    return font
