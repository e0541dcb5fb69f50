"""A picture of a plan: its motion graph beside a film strip of its boxes."""

import math
from collections.abc import Sequence
from textwrap import shorten, wrap

from PIL import Image, ImageDraw, ImageFont

from shared.geometry import Box
from shared.motion_graph import MotionLabel
from shared.plan import Plan

PAPER, INK, FAINT, PANEL = "#fbfaf7", "#22262b", "#8b9097", "#ffffff"
COLORS = {MotionLabel.MOTIONLESS: "#5b7083", MotionLabel.RIGID: "#c8553d", MotionLabel.NON_RIGID: "#2f8f6b"}
LABEL_NAMES = {
    MotionLabel.MOTIONLESS: "motionless",
    MotionLabel.RIGID: "rigid",
    MotionLabel.NON_RIGID: "non-rigid",
}
MARGIN = 32
GRAPH_SIDE = 420
STRIP_COLUMNS, STRIP_ROWS = 3, 2
CELL_WIDTH = 260
GAP = 16

Point = tuple[float, float]


def draw_plan(plan: Plan, aspect: float) -> Image.Image:
    """Title, graph and film strip.  `aspect`: the frame's width over its height, in pixels."""
    cell = CELL_WIDTH, round(CELL_WIDTH / aspect)
    strip_width = STRIP_COLUMNS * cell[0] + (STRIP_COLUMNS - 1) * GAP
    strip_height = STRIP_ROWS * (cell[1] + 22) + GAP
    title = wrap(plan.prompt, 100)[:2]
    top = MARGIN + 28 * len(title) + 34
    height = top + max(GRAPH_SIDE, strip_height) + MARGIN + 24
    image = Image.new("RGB", (MARGIN * 3 + GRAPH_SIDE + strip_width, height), PAPER)
    canvas = ImageDraw.Draw(image)
    for row, line in enumerate(title):
        canvas.text((MARGIN, MARGIN + 28 * row), line, INK, _font(22))
    details = f"{plan.frames} frames · {plan.background}"
    if plan.provenance is not None:
        details += f" · {plan.provenance.planner}"
    canvas.text((MARGIN, top - 30), shorten(details, 140), FAINT, _font(14))
    _draw_graph(canvas, plan, (MARGIN, top))
    _draw_strip(image, plan, (MARGIN * 2 + GRAPH_SIDE, top), cell)
    _draw_legend(canvas, (MARGIN, height - MARGIN - 4))
    return image


def _draw_graph(canvas: ImageDraw.ImageDraw, plan: Plan, corner: Point) -> None:
    left, top = corner
    canvas.rounded_rectangle((left, top, left + GRAPH_SIDE, top + GRAPH_SIDE), 12, PANEL, "#dedbd3")
    nodes = plan.graph.instances
    center = left + GRAPH_SIDE / 2, top + GRAPH_SIDE / 2
    radius = 0.0 if len(nodes) == 1 else GRAPH_SIDE * 0.33
    size = 46 if len(nodes) <= 6 else 30
    at: dict[str, Point] = {}
    for index, node in enumerate(nodes):
        angle = 2 * math.pi * index / len(nodes) - math.pi / 2
        at[node.id] = center[0] + radius * math.cos(angle), center[1] + radius * math.sin(angle)
    for relation in plan.graph.relations:
        _draw_arrow(canvas, at[relation.source], at[relation.target], size, shorten(relation.phrase, 24))
    for node in nodes:
        if node.parent is not None:
            canvas.line((*at[node.id], *at[node.parent]), FAINT, 2)
    for node in nodes:
        x, y = at[node.id]
        canvas.ellipse((x - size, y - size, x + size, y + size), COLORS[node.label])
        lines = wrap(node.name, 11 if size > 40 else 9)[:3]
        for row, line in enumerate(lines):
            canvas.text(
                (x, y + (row - (len(lines) - 1) / 2) * 15), line, "white", _font(13 if size > 40 else 10), anchor="mm"
            )


def _draw_arrow(canvas: ImageDraw.ImageDraw, start: Point, end: Point, size: float, phrase: str) -> None:
    length = math.dist(start, end) or 1.0
    ux, uy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    tail = start[0] + ux * size, start[1] + uy * size
    tip = end[0] - ux * (size + 2), end[1] - uy * (size + 2)
    canvas.line((*tail, *tip), INK, 2)
    barbs = [(tip[0] - 11 * ux + side * 5 * uy, tip[1] - 11 * uy - side * 5 * ux) for side in (-1, 1)]
    canvas.polygon([tip, *barbs], INK)
    middle = (tail[0] + tip[0]) / 2, (tail[1] + tip[1]) / 2
    x0, y0, x1, y1 = canvas.textbbox(middle, phrase, _font(12), anchor="mm")
    canvas.rounded_rectangle((x0 - 5, y0 - 3, x1 + 5, y1 + 3), 4, PANEL)
    canvas.text(middle, phrase, INK, _font(12), anchor="mm")


def _draw_strip(image: Image.Image, plan: Plan, corner: Point, cell: tuple[int, int]) -> None:
    shown = STRIP_COLUMNS * STRIP_ROWS
    canvas = ImageDraw.Draw(image)
    for index in range(shown):
        frame = round(index * (plan.frames - 1) / (shown - 1))
        row, column = divmod(index, STRIP_COLUMNS)
        x = round(corner[0] + column * (cell[0] + GAP))
        y = round(corner[1] + row * (cell[1] + 22 + GAP))
        image.paste(_frame(plan, frame, cell), (x, y))
        canvas.text((x, y + cell[1] + 4), f"frame {frame}", FAINT, _font(12))


def _frame(plan: Plan, frame: int, cell: tuple[int, int]) -> Image.Image:
    """One frame: the farthest boxes first, and the way that each has come."""
    picture = Image.new("RGB", cell, PANEL)
    tracks = {track.instance: track for track in plan.tracks}
    for name in reversed(plan.depth_order):
        boxes = tracks[name].boxes
        label = next(phase.label for phase in tracks[name].phases if phase.start <= frame <= phase.end)
        color = COLORS[label]
        wash = Image.new("RGB", cell, color)
        mask = Image.new("L", cell, 0)
        outline = _pixels(boxes[frame], cell)
        ImageDraw.Draw(mask).rounded_rectangle(outline, 4, 70)
        picture.paste(wash, mask=mask)
        canvas = ImageDraw.Draw(picture)
        canvas.rounded_rectangle(outline, 4, outline=color, width=2)
        _draw_way(canvas, boxes[: frame + 1], cell, color)
        canvas.text((outline[0] + 5, outline[1] + 3), shorten(name, 18), INK, _font(11))
    ImageDraw.Draw(picture).rectangle((0, 0, cell[0] - 1, cell[1] - 1), outline="#cfccc4")
    return picture


def _draw_way(canvas: ImageDraw.ImageDraw, boxes: Sequence[Box], cell: tuple[int, int], color: str) -> None:
    points = [(box.center[0] * cell[0], box.center[1] * cell[1]) for box in boxes]
    if len(points) > 1 and math.dist(points[0], points[-1]) > 4:
        canvas.line(points, color, 2)
        x, y = points[-1]
        canvas.ellipse((x - 3, y - 3, x + 3, y + 3), color)


def _draw_legend(canvas: ImageDraw.ImageDraw, corner: Point) -> None:
    x, y = corner
    for label, color in COLORS.items():
        canvas.ellipse((x, y - 6, x + 12, y + 6), color)
        canvas.text((x + 18, y), LABEL_NAMES[label], INK, _font(13), anchor="lm")
        x += 130


def _pixels(box: Box, cell: tuple[int, int]) -> tuple[int, int, int, int]:
    return (
        round(box.x0 * (cell[0] - 1)),
        round(box.y0 * (cell[1] - 1)),
        max(round(box.x1 * (cell[0] - 1)), round(box.x0 * (cell[0] - 1)) + 2),
        max(round(box.y1 * (cell[1] - 1)), round(box.y0 * (cell[1] - 1)) + 2),
    )


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
