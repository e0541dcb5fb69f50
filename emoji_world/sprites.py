"""The sprite atlas: one PNG in the package, rendered once from Noto Color Emoji (OFL 1.1, see OFL.txt).

Everything else reads the atlas, so nobody needs the font.  Tiles run row by row in the order of `vocabulary.SPRITES`.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from emoji_world.vocabulary import SPRITES

ATLAS = Path(__file__).with_name("sprites.png")
TILE = 64
COLUMNS = 8
MARGIN = 2
BITMAP_SIZE = 109
"""The one size, in px, at which the font holds its colour bitmaps."""


def render_atlas(font_file: Path, atlas_file: Path = ATLAS) -> None:
    """Draw every sprite, cropped and centred, its longest edge TILE - 2 MARGIN px, on a transparent grid."""
    font = ImageFont.truetype(str(font_file), BITMAP_SIZE)
    rows = -(-len(SPRITES) // COLUMNS)
    atlas = Image.new("RGBA", (COLUMNS * TILE, rows * TILE))
    for index, sprite in enumerate(SPRITES.values()):
        canvas = Image.new("RGBA", (2 * BITMAP_SIZE, 2 * BITMAP_SIZE))
        ImageDraw.Draw(canvas).text((20, 20), sprite.glyph, font=font, embedded_color=True)
        box = canvas.getchannel("A").point(lambda alpha: 255 if alpha > 16 else 0).getbbox()
        if box is None:
            raise ValueError(f"{font_file} has no glyph for {sprite.name!r} ({sprite.glyph})")
        glyph = canvas.crop(box)
        scale = (TILE - 2 * MARGIN) / max(glyph.size)
        glyph = glyph.resize((round(glyph.width * scale), round(glyph.height * scale)), Image.Resampling.LANCZOS)
        left, top = index % COLUMNS * TILE, index // COLUMNS * TILE
        atlas.paste(glyph, (left + (TILE - glyph.width) // 2, top + (TILE - glyph.height) // 2))
    atlas.save(atlas_file, optimize=True)


@cache
def _atlas() -> Image.Image:
    return Image.open(ATLAS).convert("RGBA")


@cache
def texture(name: str) -> Tensor:
    """[4, height, width] in 0..1, colour premultiplied by alpha, cropped to the sprite (longest edge about 60 px)."""
    index = list(SPRITES).index(name)
    left, top = index % COLUMNS * TILE, index // COLUMNS * TILE
    tile = np.asarray(_atlas().crop((left, top, left + TILE, top + TILE)), dtype=np.float32) / 255
    ys, xs = np.nonzero(tile[..., 3] > 0.1)
    tile = tile[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    premultiplied = np.concatenate([tile[..., :3] * tile[..., 3:], tile[..., 3:]], axis=-1)
    return torch.from_numpy(premultiplied).permute(2, 0, 1).contiguous()
