"""`preview.png`: a film strip of the video with the plan's boxes and names drawn on it, the prompt as its title."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from shared.geometry import Box
from shared.motion_graph import MotionLabel
from shared.plan import Plan

PICTURES, COLUMNS = 6, 3
"""At most."""
PICTURE_WIDTH = 320
"""Pixels of each picture; smaller frames are upscaled by an integer factor, larger ones reduced."""
GAP = 12
MARGIN = 20
TITLE_SIZE, LABEL_SIZE, CAPTION_SIZE = 22, 13, 12
TITLE_LINE = 28
MAXIMUM_TITLE_LINES = 3

PAPER, INK, FAINT = "#fbfaf7", "#1d1d1f", "#8a8780"
COLOURS = {
    MotionLabel.MOTIONLESS: ("#2f6fde", "#5aa9e6", "#1b4b9b", "#7d8ff0"),
    MotionLabel.RIGID: ("#e4572e", "#f2a541", "#b3261e", "#ff7f6b"),
    MotionLabel.NON_RIGID: ("#1f9d66", "#7cb518", "#0b6e4f", "#38c7a0"),
}
"""A hue for each motion label, a shade for each instance: blue stands, red moves, green changes its shape."""


@dataclass(frozen=True)
class _Outline:
    """One instance as it is drawn."""

    name: str
    colour: str
    boxes: tuple[Box | None, ...]
    """One for each frame of the video; None where it is absent."""


def draw_preview(frames: NDArray[np.uint8], prompt: str, plan: Plan | None) -> bytes:
    """frames: [frame, height, width, 3], RGB, as many as the plan has -> PNG."""
    shown = pick_frames(len(frames))
    outlines = _outlines(plan) if plan is not None else ()
    pictures = [_picture(frames[index]) for index in shown]
    width, height = pictures[0].size
    column, row = width + GAP, height + CAPTION_SIZE + 2 * GAP

    title_font, caption_font = _font(TITLE_SIZE), _font(CAPTION_SIZE)
    content_width = COLUMNS * column - GAP
    title = _wrap(prompt, title_font, content_width)
    strip_top = MARGIN + len(title) * TITLE_LINE + GAP
    strip_bottom = strip_top + -(-len(pictures) // COLUMNS) * row
    sheet_height = strip_bottom + (CAPTION_SIZE + GAP if outlines else 0) + MARGIN - GAP
    sheet = Image.new("RGB", (content_width + 2 * MARGIN, sheet_height), PAPER)
    draw = ImageDraw.Draw(sheet)

    for line, text in enumerate(title):
        draw.text((MARGIN, MARGIN + line * TITLE_LINE), text, fill=INK, font=title_font)
    for place, (index, picture) in enumerate(zip(shown, pictures, strict=True)):
        _draw_outlines(picture, outlines, index)
        left, top = MARGIN + place % COLUMNS * column, strip_top + place // COLUMNS * row
        sheet.paste(picture, (left, top))
        draw.text((left, top + height + 6), f"frame {index + 1} of {len(frames)}", fill=FAINT, font=caption_font)
    if plan is not None:
        _draw_legend(draw, plan, (MARGIN, strip_bottom))

    file = io.BytesIO()
    sheet.save(file, format="PNG", optimize=True)
    return file.getvalue()


def pick_frames(frames: int) -> list[int]:
    """Evenly spaced frame indices, the first and the last included."""
    count = min(PICTURES, frames)
    return [round(place * (frames - 1) / max(1, count - 1)) for place in range(count)]


def _outlines(plan: Plan) -> tuple[_Outline, ...]:
    """Every instance, the farthest first, so that the nearest is drawn last."""
    outlines = {}
    used = dict.fromkeys(MotionLabel, 0)
    for track in plan.tracks:
        instance = plan.graph[track.instance]
        shades = COLOURS[instance.label]
        colour = shades[used[instance.label] % len(shades)]
        used[instance.label] += 1
        boxes = tuple(box if there else None for box, there in zip(track.boxes, track.present, strict=True))
        outlines[track.instance] = _Outline(instance.name, colour, boxes)
    return tuple(outlines[name] for name in reversed(plan.depth_order))


def _picture(frame: NDArray[np.uint8]) -> Image.Image:
    """The frame at about `PICTURE_WIDTH`; upscaled by nearest neighbour."""
    picture = Image.fromarray(frame)
    factor = PICTURE_WIDTH // picture.width
    if factor >= 1:
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    height = round(picture.height * PICTURE_WIDTH / picture.width)
    return picture.resize((PICTURE_WIDTH, height), Image.Resampling.LANCZOS)


def _draw_outlines(picture: Image.Image, outlines: Sequence[_Outline], frame: int) -> None:
    """All boxes before all names, so that no line crosses a name."""
    draw = ImageDraw.Draw(picture)
    seen = [(outline, _in_pixels(box, picture)) for outline in outlines if (box := outline.boxes[frame]) is not None]
    for outline, box in seen:
        draw.rectangle(box, outline=outline.colour, width=2)
    for outline, box in seen:
        _draw_name(draw, outline, box, picture)


def _in_pixels(box: Box, picture: Image.Image) -> Box:
    right, bottom = picture.width - 1, picture.height - 1
    return Box(box.x0 * right, box.y0 * bottom, box.x1 * right, box.y1 * bottom)


def _draw_name(draw: ImageDraw.ImageDraw, outline: _Outline, box: Box, picture: Image.Image) -> None:
    """A tab on top of the box, or inside it where there is no room above."""
    font = _font(LABEL_SIZE)
    name = _truncate(outline.name, font, max(box.width - 8, picture.width / 3))
    width, height = font.getlength(name) + 8, LABEL_SIZE + 4
    x = min(box.x0, picture.width - width)
    y = box.y0 - height if box.y0 >= height else box.y0
    draw.rectangle((x, y, x + width, y + height), fill=outline.colour)
    draw.text((x + 4, y + height / 2), name, fill=_readable_on(outline.colour), font=font, anchor="lm")


def _readable_on(colour: str) -> str:
    """Dark ink on light colours (ITU-R BT.601 luma), white on dark ones."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 150 else "white"


def _draw_legend(draw: ImageDraw.ImageDraw, plan: Plan, place: tuple[int, int]) -> None:
    """Colour legend of the labels in the plan."""
    x, y = place
    font = _font(CAPTION_SIZE)
    for label in MotionLabel:
        if all(instance.label is not label for instance in plan.graph.instances):
            continue
        draw.rectangle((x, y + 2, x + CAPTION_SIZE, y + 2 + CAPTION_SIZE - 2), fill=COLOURS[label][0])
        text = label.value.replace("_", "-")
        draw.text((x + CAPTION_SIZE + 5, y), text, fill=INK, font=font)
        x += CAPTION_SIZE + 5 + int(font.getlength(text)) + 18


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType, which its wheels have")
    return font


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """The text in lines no wider than `width` pixels; what is beyond `MAXIMUM_TITLE_LINES` is cut off."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= width or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    if len(lines) > MAXIMUM_TITLE_LINES:
        lines = [*lines[: MAXIMUM_TITLE_LINES - 1], " ".join(lines[MAXIMUM_TITLE_LINES - 1 :])]
    return [_truncate(line, font, width) for line in lines]


def _truncate(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, or its beginning and "…", no wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    fitting = bisect_right(range(1, len(text)), width, key=lambda letters: font.getlength(text[:letters] + "…"))
    return text[:fitting] + "…"
