"""Videos side by side: the same prompt, plan and seed under several rows of the ablation, with the plan's boxes."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from evaluation.ablation import ROWS, backbone_of, plan_with_parser, render
from evaluation.prompts import Half, held_out_captions
from generator_service.backbones.emoji_scene import emoji_scene
from generator_service.contract.backbones import EMOJI_WORLD
from generator_service.media.preview import INK, PAPER, draw_preview

WIDTH = 480
"""Pixels of one film strip."""
HEAD = 24


def side_by_side(half: Half, prompts: int, rows: Sequence[str], seed: int) -> Image.Image:
    """A line for each prompt, a column for each of `rows`.  Raises KeyError for a row that the ablation lacks."""
    backbone = backbone_of(EMOJI_WORLD.name)
    lines = []
    for caption in held_out_captions(half, prompts):
        plan = plan_with_parser(caption)
        videos = [render(backbone, plan, ROWS[name], seed) for name in rows]
        strips = (Image.open(io.BytesIO(draw_preview(frames, caption, emoji_scene(plan).plan))) for frames in videos)
        lines.append([strip.resize((WIDTH, round(strip.height * WIDTH / strip.width))) for strip in strips])
    heights = [max(strip.height for strip in line) for line in lines]
    sheet = Image.new("RGB", (WIDTH * len(rows), HEAD + sum(heights)), PAPER)
    for column, name in enumerate(rows):
        ImageDraw.Draw(sheet).text((column * WIDTH + 10, 6), name, fill=INK, font_size=14)
        for line, strips_of_line in enumerate(lines):
            sheet.paste(strips_of_line[column], (column * WIDTH, HEAD + sum(heights[:line])))
    return sheet
