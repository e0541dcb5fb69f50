"""The phases of every instance over the clip."""

from planner_service.drawing.canvas import COLORS, FAINT, INK, LABEL_NAMES, RULE, Canvas, shorten, text_width
from shared.geometry import Box
from shared.plan import Plan

NAMES, ROW, BAR = 170, 22, 15
AXIS = 20


def timeline_height(instances: int) -> float:
    return instances * ROW + AXIS


def draw_timeline(canvas: Canvas, plan: Plan, area: Box) -> None:
    """A bar for each phase in the colour of its label, a dashed line while the instance is absent."""
    frame_width = (area.width - NAMES) / plan.frames
    for row, track in enumerate(plan.tracks):
        y = area.y0 + row * ROW + ROW / 2
        name = shorten(f"{row + 1}  {plan.graph[track.instance].name}", 12, NAMES - 14)
        canvas.text((area.x0, y), name, 12, INK)
        for phase in track.phases:
            x0 = area.x0 + NAMES + phase.start * frame_width
            x1 = area.x0 + NAMES + (phase.end + 1) * frame_width - 1.5
            if phase.absent:
                canvas.dashed_line([(x0 + 2, y), (x1, y)], FAINT, 1)
                said, color = "absent", FAINT
            else:
                canvas.rounded_rectangle(Box(x0, y - BAR / 2, x1, y + BAR / 2), 3, COLORS[phase.label])
                said, color = LABEL_NAMES[phase.label], "white"
            if text_width(said, 9) < x1 - x0 - 10:
                at = x0 + 6, y - (6 if phase.absent else 0)
                canvas.text(at, said, 9, color)
    bottom = area.y0 + len(plan.tracks) * ROW + 3
    canvas.line([(area.x0 + NAMES, bottom), (area.x1, bottom)], RULE, 1)
    for index in range(5):
        frame = round(index * (plan.frames - 1) / 4)
        x = area.x0 + NAMES + (frame + 0.5) * frame_width
        canvas.text((x, bottom + 9), f"frame {frame}" if index == 0 else str(frame), 10, FAINT, anchor="mm")
