"""The motion graph: nodes in the colour of their label, relations as arrows, parts tied to their wholes."""

import math
from collections.abc import Iterator

from planner_service.drawing.canvas import (
    COLORS,
    FAINT,
    INK,
    LABEL_NAMES,
    PANEL,
    RULE,
    Canvas,
    Point,
    is_free,
    shorten,
    text_width,
    wrap,
)
from shared.geometry import Box
from shared.motion_graph import MAXIMUM_INSTANCES, Instance, MotionGraph

PADDING = 18
SIZES = ((6, (124.0, 50.0)), (8, (104.0, 46.0)), (16, (74.0, 36.0)), (MAXIMUM_INSTANCES, (44.0, 24.0)))
"""Width and height of a node, for so many at most."""
ON_ELLIPSE = 6
PHRASE_SIZE = 12
MAXIMUM_PHRASE = 120
BEND = 0.14
"""How far an arrow bulges, as a share of its length."""
SHORT_ARROW = 56
"""A shorter one would vanish behind its own phrase."""
PART_OF = "part of"


def draw_graph(canvas: Canvas, graph: MotionGraph, area: Box) -> None:
    canvas.rounded_rectangle(area, 10, PANEL, RULE)
    nodes = _place_nodes(graph, area)
    taken = list(nodes.values())
    edges = [(edge.source, edge.target, edge.phrase) for edge in graph.relations]
    related = {frozenset(edge[:2]) for edge in edges}
    for instance in graph.instances:
        if instance.parent is not None:
            if frozenset((instance.id, instance.parent)) not in related:
                edges.append((instance.id, instance.parent, PART_OF))
            canvas.dashed_line([nodes[instance.id].center, nodes[instance.parent].center], FAINT, 1.5, 4)
    parents = {(instance.id, instance.parent) for instance in graph.instances}
    arrows = [(_arrow(nodes[source], nodes[target]), phrase) for source, target, phrase in edges]
    for (points, phrase), (source, target, _) in zip(arrows, edges, strict=True):
        if (source, target) not in parents or phrase != PART_OF:
            canvas.line(points, INK, 1.4)
            canvas.head(points[-1], points[-4], INK)
    for points, phrase in arrows:
        _draw_phrase(canvas, points, phrase, taken, area)
    numbers = {name: number for number, name in enumerate(graph.ids, start=1)}
    for instance in graph.instances:
        _draw_node(canvas, instance, numbers[instance.id], nodes[instance.id], small=len(nodes) > 8)


def _place_nodes(graph: MotionGraph, area: Box) -> dict[str, Box]:
    """A box for each node, those that are related beside one another: a few on an ellipse, many along a frame."""
    names = _neighbours_together(graph)
    width, height = next(size for most, size in SIZES if len(names) <= most)
    (x, y), down = area.center, (area.height - height) / 2 - PADDING
    across = (area.width - width) / 2 - PADDING
    if len(names) > ON_ELLIPSE:
        frame = Box.around(x, y, 2 * across, 2 * down)
        centers = [_along(frame, index / len(names)) for index in range(len(names))]
    else:
        angles = [2 * math.pi * index / len(names) - math.pi / 2 for index in range(len(names))]
        level = (max(map(math.sin, angles)) + min(map(math.sin, angles))) / 2
        across, down = (across, down) if len(names) > 2 else (0.0, 0.75 * down)
        centers = [(x + across * math.cos(angle), y + down * (math.sin(angle) - level)) for angle in angles]
    return {name: Box.around(*center, width, height) for name, center in zip(names, centers, strict=True)}


def _along(frame: Box, share: float) -> Point:
    """That share of the way around a frame, clockwise from its upper left."""
    way = share * 2 * (frame.width + frame.height)
    if way <= frame.width:
        return frame.x0 + way, frame.y0
    if way <= frame.width + frame.height:
        return frame.x1, frame.y0 + way - frame.width
    if way <= 2 * frame.width + frame.height:
        return frame.x1 - (way - frame.width - frame.height), frame.y1
    return frame.x0, frame.y1 - (way - 2 * frame.width - frame.height)


def _neighbours_together(graph: MotionGraph) -> list[str]:
    ends = [(relation.source, relation.target) for relation in graph.relations]
    ends += [(instance.id, instance.parent) for instance in graph.instances if instance.parent is not None]
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name in ordered:
            return
        ordered.append(name)
        for a, b in ends:
            if name in (a, b):
                visit(b if name == a else a)

    for name in graph.ids:
        visit(name)
    return ordered


def _arrow(source: Box, target: Box) -> list[Point]:
    """From border to border, bent to one's right, so that an arrow and its opposite are two."""
    (x0, y0), (x1, y1) = source.center, target.center
    bend = x0 / 2 + x1 / 2 + BEND * (y1 - y0), y0 / 2 + y1 / 2 - BEND * (x1 - x0)
    curve = []
    for step in range(41):
        t = step / 40
        curve.append(
            (
                (1 - t) ** 2 * x0 + 2 * t * (1 - t) * bend[0] + t**2 * x1,
                (1 - t) ** 2 * y0 + 2 * t * (1 - t) * bend[1] + t**2 * y1,
            )
        )
    outside = [point for point in curve if not _within(point, source, 3) and not _within(point, target, 4)]
    return outside if len(outside) > 4 else curve


def _within(point: Point, box: Box, margin: float) -> bool:
    return box.x0 - margin < point[0] < box.x1 + margin and box.y0 - margin < point[1] < box.y1 + margin


def _draw_phrase(canvas: Canvas, points: list[Point], phrase: str, taken: list[Box], area: Box) -> None:
    """On its arrow, at the first place where it covers nothing; beside it where there is none."""
    text = shorten(phrase, PHRASE_SIZE, MAXIMUM_PHRASE)
    size = text_width(text, PHRASE_SIZE) + 8, PHRASE_SIZE + 5
    spots = [Box.around(*point, *size) for point in _spots(points)]
    good = [box for box in spots if is_free(box, taken) and _contains(area, box)]
    if not good:
        return
    taken.append(good[0])
    canvas.rounded_rectangle(good[0], 3, PANEL)
    canvas.text(good[0].center, text, PHRASE_SIZE, FAINT if phrase == PART_OF else INK, anchor="mm")


def _spots(points: list[Point]) -> Iterator[Point]:
    """Along the arrow from its middle outwards, then farther and farther beside it."""
    middle = len(points) // 2
    order = sorted(range(1, len(points) - 1), key=lambda index: abs(index - middle))
    long_enough = math.dist(points[0], points[-1]) > SHORT_ARROW
    for aside in (0, 18, -18, 34, -34, 50, -50, 70, -70)[0 if long_enough else 1 :]:
        for index in order:
            yield points[index][0] + 2 * aside, points[index][1]
            yield points[index][0], points[index][1] + aside


def _contains(area: Box, box: Box) -> bool:
    return box.x0 > area.x0 and box.y0 > area.y0 and box.x1 < area.x1 and box.y1 < area.y1


def _draw_node(canvas: Canvas, node: Instance, number: int, box: Box, *, small: bool) -> None:
    name_size, label_size = (10, 8) if small else (13, 10)
    canvas.rounded_rectangle(box, box.height / 3, COLORS[node.label])
    lines = wrap(node.name, name_size, box.width - 14, 1 if small else 2)
    lines[0] = shorten(f"{number}  {lines[0]}", name_size, box.width - 10)
    height = len(lines) * (name_size + 2) + label_size + 1
    y = box.center[1] - height / 2 + name_size / 2 + 1
    for line in lines:
        canvas.text((box.center[0], y), line, name_size, "white", anchor="mm")
        y += name_size + 2
    canvas.text((box.center[0], y), LABEL_NAMES[node.label], label_size, "#ffffff", anchor="mm")
