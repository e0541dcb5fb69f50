"""Film strips: some frames of each clip side by side under its caption."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

SHOWN_FRAMES = 5
LABEL_PX = 14
GAP_PX = 2


def film_strip(
    videos: Tensor, captions: Sequence[str], *, scale: int = 2, columns: int = 2, boxes: Sequence[Tensor] = ()
) -> Image.Image:
    """videos: [clip, frames, 3, height, width] in 0..1; boxes: per clip [object, frames, 4], drawn where given."""
    count, frames, _, height, width = videos.shape
    shown = np.linspace(0, frames - 1, min(SHOWN_FRAMES, frames)).round().astype(int)
    cell = (len(shown) * (width * scale + GAP_PX), height * scale + LABEL_PX)
    sheet = Image.new("RGB", (columns * cell[0], -(-count // columns) * cell[1]), "white")
    draw = ImageDraw.Draw(sheet)
    pixels = (videos.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).numpy()
    for k in range(count):
        left, top = k % columns * cell[0], k // columns * cell[1]
        draw.text((left + 2, top + 1), captions[k], fill="black")
        for column, frame in enumerate(shown):
            x, y = left + column * (width * scale + GAP_PX), top + LABEL_PX
            image = Image.fromarray(pixels[k, frame])
            sheet.paste(image.resize((width * scale, height * scale), Image.Resampling.NEAREST), (x, y))
            for track in boxes[k] if boxes else ():
                x0, y0, x1, y1 = (track[frame] * torch.tensor([width, height, width, height]) * scale).tolist()
                draw.rectangle([x + x0, y + y0, x + x1 - 1, y + y1 - 1], outline="red")
    return sheet
