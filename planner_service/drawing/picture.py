"""A picture of a plan: its motion graph beside a film strip of its boxes, and the phases below."""

from PIL import Image

from planner_service.drawing.canvas import COLORS, FAINT, INK, LABEL_NAMES, Canvas, shorten, text_width, wrap
from planner_service.drawing.graph import draw_graph
from planner_service.drawing.strip import draw_strip, strip_size
from planner_service.drawing.timeline import draw_timeline, timeline_height
from shared.geometry import Box
from shared.motion_graph import MotionLabel
from shared.plan import Plan

MARGIN, SPACE = 28, 22
GRAPH_WIDTH, LEAST_GRAPH_HEIGHT = 430, 400
CELL_WIDTH, CELL_HEIGHT = 270, 220
"""What a frame of the strip fits into."""
TITLE, TITLE_LINE, DETAILS = 21, 27, 13


def draw_plan(plan: Plan, aspect: float) -> Image.Image:
    """`aspect`: the frame's width over its height, in pixels."""
    return compose(plan, aspect).to_image()


def compose(plan: Plan, aspect: float) -> Canvas:
    scale = min(CELL_WIDTH / aspect, CELL_HEIGHT)
    cell = scale * aspect, scale
    strip_width, strip_height = strip_size(cell)
    width = 2 * MARGIN + GRAPH_WIDTH + SPACE + strip_width
    title = wrap(plan.prompt, TITLE, width - 2 * MARGIN, 3)
    top = MARGIN + len(title) * TITLE_LINE + 30
    middle = max(LEAST_GRAPH_HEIGHT, strip_height)
    below = top + middle + SPACE
    height = below + timeline_height(len(plan.tracks)) + SPACE + 14
    canvas = Canvas(width, height)
    for row, line in enumerate(title):
        canvas.text((MARGIN, MARGIN + (row + 0.4) * TITLE_LINE), line, TITLE, INK)
    details = f"{plan.frames} frames  ·  {plan.background}"
    if plan.provenance is not None:
        details += f"  ·  planned by {plan.provenance.planner}{', then edited' if plan.is_edited else ''}"
    legend = _legend_width()
    y = MARGIN + len(title) * TITLE_LINE + 8
    canvas.text((MARGIN, y), shorten(details, DETAILS, width - 2 * MARGIN - legend - 20), DETAILS, FAINT)
    _draw_legend(canvas, width - MARGIN - legend, y)
    draw_graph(canvas, plan.graph, Box(MARGIN, top, MARGIN + GRAPH_WIDTH, top + middle))
    draw_strip(canvas, plan, (MARGIN + GRAPH_WIDTH + SPACE, top), cell)
    draw_timeline(canvas, plan, Box(MARGIN, below, width - MARGIN, height - MARGIN))
    return canvas


def _legend_width() -> float:
    return sum(text_width(LABEL_NAMES[label], 12) + 34 for label in MotionLabel) - 18


def _draw_legend(canvas: Canvas, x: float, y: float) -> None:
    for label in MotionLabel:
        canvas.disc((x + 5, y), 5, COLORS[label])
        canvas.text((x + 16, y), LABEL_NAMES[label], 12, INK)
        x += text_width(LABEL_NAMES[label], 12) + 34
