"""`preview.png`: a film strip of the video with the plan's boxes and names drawn on it, the prompt as its title."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shared.geometry import Box, resample
from shared.motion_graph import MotionLabel
from shared.plan import Plan

PICTURES = 6
"""At most; a shorter video shows every frame."""
PICTURE_WIDTH = 256
"""Pixels of each picture; smaller frames are enlarged by a whole factor, larger ones reduced."""
GAP = 12
MARGIN = 20
TITLE_SIZE, LABEL_SIZE, CAPTION_SIZE = 22, 13, 12
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
    boxes: tuple[Box, ...]
    """One for each frame of the video."""


def draw_preview(frames: NDArray[np.uint8], prompt: str, plan: Plan | None) -> bytes:
    """frames: [frame, height, width, 3], RGB -> PNG."""
    shown = shown_frames(len(frames))
    outlines = _outlines(plan, len(frames)) if plan is not None else ()
    pictures = [_picture(frames[index]) for index in shown]
    width, height = pictures[0].size

    sheet_width = 2 * MARGIN + len(pictures) * (width + GAP) - GAP
    title_font, caption_font = _font(TITLE_SIZE), _font(CAPTION_SIZE)
    title = _wrapped(prompt, title_font, sheet_width - 2 * MARGIN)
    line = int(TITLE_SIZE * 1.3)
    top = MARGIN + len(title) * line + GAP
    legend = CAPTION_SIZE + GAP if outlines else 0
    sheet = Image.new("RGB", (sheet_width, top + height + 6 + CAPTION_SIZE + legend + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)

    for number, text in enumerate(title):
        draw.text((MARGIN, MARGIN + number * line), text, fill=INK, font=title_font)
    for place, (index, picture) in enumerate(zip(shown, pictures, strict=True)):
        _draw_outlines(picture, outlines, index)
        left = MARGIN + place * (width + GAP)
        sheet.paste(picture, (left, top))
        draw.text((left, top + height + 6), f"frame {index + 1} of {len(frames)}", fill=FAINT, font=caption_font)
    if plan is not None:
        _draw_legend(draw, plan, outlines, (MARGIN, top + height + 6 + CAPTION_SIZE + GAP))

    file = io.BytesIO()
    sheet.save(file, format="PNG", optimize=True)
    return file.getvalue()


def shown_frames(frames: int) -> list[int]:
    """Which frames the strip shows: first and last, and evenly between."""
    count = min(PICTURES, frames)
    return [round(place * (frames - 1) / max(1, count - 1)) for place in range(count)]


def _outlines(plan: Plan, frames: int) -> tuple[_Outline, ...]:
    """Every instance, the farthest first, so that the nearest is drawn last."""
    outlines = {}
    used = dict.fromkeys(MotionLabel, 0)
    for track in plan.tracks:
        instance = plan.graph[track.instance]
        shades = COLOURS[instance.label]
        colour = shades[used[instance.label] % len(shades)]
        used[instance.label] += 1
        outlines[track.instance] = _Outline(instance.name, colour, resample(track.boxes, frames))
    return tuple(outlines[name] for name in reversed(plan.depth_order))


def _picture(frame: NDArray[np.uint8]) -> Image.Image:
    """The frame at about `PICTURE_WIDTH`; enlarged pixels stay sharp squares."""
    picture = Image.fromarray(frame)
    factor = PICTURE_WIDTH // picture.width
    if factor >= 1:
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    height = round(picture.height * PICTURE_WIDTH / picture.width)
    return picture.resize((PICTURE_WIDTH, height), Image.Resampling.LANCZOS)


def _draw_outlines(picture: Image.Image, outlines: Sequence[_Outline], frame: int) -> None:
    draw = ImageDraw.Draw(picture)
    font = _font(LABEL_SIZE)
    for outline in outlines:
        box = outline.boxes[frame]
        left, right = box.x0 * (picture.width - 1), box.x1 * (picture.width - 1)
        top, bottom = box.y0 * (picture.height - 1), box.y1 * (picture.height - 1)
        draw.rectangle((left, top, right, bottom), outline=outline.colour, width=2)
        name = _shortened(outline.name, font, picture.width - 10)
        text_width, text_height = font.getlength(name) + 8, LABEL_SIZE + 4
        x = min(left, picture.width - text_width)
        y = top - text_height if top >= text_height else min(bottom, picture.height - text_height)
        draw.rectangle((x, y, x + text_width, y + text_height), fill=outline.colour)
        draw.text((x + 4, y + text_height / 2), name, fill="white", font=font, anchor="lm")


def _draw_legend(draw: ImageDraw.ImageDraw, plan: Plan, outlines: Sequence[_Outline], place: tuple[int, int]) -> None:
    """What the hues mean, for the labels that occur."""
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


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
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
    return [_shortened(line, font, width) for line in lines]


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, or its beginning and "…", no wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
