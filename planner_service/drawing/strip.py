"""The film strip: some frames with their boxes, and the way of each from beginning to end."""

import math
from collections.abc import Iterator

from planner_service.drawing.canvas import COLORS, FAINT, PANEL, RULE, Canvas, Point, is_free, shorten, text_width
from shared.geometry import Box
from shared.motion_graph import MotionLabel
from shared.plan import Plan, Track

COLUMNS, ROWS = 3, 2
GAP, CAPTION = 14, 20
TAG_SIZE, TAG_HEIGHT = 10, 14
SMALL = 36
"""What has a shorter side, in points, is not to be covered by others' tags."""
SHORTEST_WAY = 0.05
"""A centre that moves less, a fraction of the frame, goes nowhere that is worth a line."""


def strip_size(cell: tuple[float, float]) -> tuple[float, float]:
    return COLUMNS * cell[0] + (COLUMNS - 1) * GAP, ROWS * (cell[1] + CAPTION) + (ROWS - 1) * GAP


def draw_strip(canvas: Canvas, plan: Plan, corner: Point, cell: tuple[float, float]) -> None:
    shown = COLUMNS * ROWS
    for index in range(shown):
        frame = round(index * (plan.frames - 1) / (shown - 1))
        row, column = divmod(index, COLUMNS)
        x, y = corner[0] + column * (cell[0] + GAP), corner[1] + row * (cell[1] + CAPTION + GAP)
        _draw_frame(canvas, plan, frame, Box(x, y, x + cell[0], y + cell[1]))
        canvas.text((x, y + cell[1] + 10), f"frame {frame}", 11, FAINT)


def _draw_frame(canvas: Canvas, plan: Plan, frame: int, area: Box) -> None:
    """The farthest boxes first; all text last, so that nothing crosses it."""
    canvas.rounded_rectangle(area, 2, PANEL, RULE)
    tracks = {track.instance: track for track in plan.tracks}
    there = [name for name in reversed(plan.depth_order) if tracks[name].present[frame]]
    boxes = {name: _in(area, tracks[name].boxes[frame]) for name in there}
    for name in there:
        color = COLORS[_label(tracks[name], frame)]
        canvas.translucent_rectangle(boxes[name], 3, color, 0.22)
        canvas.rounded_rectangle(boxes[name], 3, outline=color)
    for name in (name for name in there if plan.graph[name].parent is None):
        _draw_way(canvas, tracks[name], frame, area)
    numbers = {name: number for number, name in enumerate(plan.graph.ids, start=1)}
    tags: list[Box] = []
    for name in reversed(there):
        said = f"{numbers[name]} {plan.graph[name].name}", str(numbers[name])
        small = [box for other, box in boxes.items() if other != name and min(box.width, box.height) < SMALL]
        tag = _tag(said, boxes[name], tags, small, area) or _tag(said, boxes[name], tags, [], area)
        if tag is not None:
            tags.append(tag[0])
            canvas.rounded_rectangle(tag[0], 3, COLORS[_label(tracks[name], frame)])
            canvas.text((tag[0].x0 + 3.5, tag[0].center[1]), tag[1], TAG_SIZE, "white")


def _draw_way(canvas: Canvas, track: Track, frame: int, area: Box) -> None:
    """Solid as far as it has come, dashed where it will go; only while it is there."""
    centers = [_in(area, box).center for box in track.boxes]
    farthest = max(math.dist(box.center, track.boxes[0].center) for box in track.boxes)
    if farthest < SHORTEST_WAY:
        return
    color = COLORS[_label(track, frame)]
    first = next(index for index, there in enumerate(track.present) if there)
    last = max(index for index, there in enumerate(track.present) if there)
    if last > frame:
        canvas.dashed_line(centers[frame : last + 1], color)
    if frame > first:
        canvas.line(centers[first : frame + 1], color, 2)
    canvas.disc(centers[frame], 3, color)


def _tag(said: tuple[str, str], box: Box, tags: list[Box], small: list[Box], area: Box) -> tuple[Box, str] | None:
    """A tag's box and text: number and name where they cover no other tag and nothing small, else the number alone."""
    for text in (shorten(said[0], TAG_SIZE, max(70.0, box.width - 8)), said[1]):
        width = text_width(text, TAG_SIZE) + 7
        for x, y in _corners(box, width):
            tag = Box(x, y, x + width, y + TAG_HEIGHT)
            inside = tag.x0 >= area.x0 and tag.y0 >= area.y0 and tag.x1 <= area.x1 and tag.y1 <= area.y1
            if inside and is_free(tag, tags, 1) and is_free(tag, small, 0):
                return tag, text
    return None


def _corners(box: Box, width: float) -> Iterator[Point]:
    """Above the box, in its corners, below it, and down its sides."""
    sides = box.x0, box.x1 - width
    for y in (box.y0 - TAG_HEIGHT, box.y0, box.y1 - TAG_HEIGHT, box.y1):
        yield sides[0], y
        yield sides[1], y
    for step in range(1, int(box.height / TAG_HEIGHT)):
        yield sides[0], box.y0 + step * TAG_HEIGHT
        yield sides[1], box.y0 + step * TAG_HEIGHT
    for y in (box.y0, box.y1 - TAG_HEIGHT):
        yield box.x0 - width, y
        yield box.x1, y


def _label(track: Track, frame: int) -> MotionLabel:
    return next(phase.label for phase in track.phases if phase.start <= frame <= phase.end)


def _in(area: Box, box: Box) -> Box:
    return Box(
        area.x0 + box.x0 * area.width,
        area.y0 + box.y0 * area.height,
        area.x0 + box.x1 * area.width,
        area.y0 + box.y1 * area.height,
    )
