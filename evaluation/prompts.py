"""Prompts of the ablation: captions that the emoji world was never trained on, planned by the parser.

Even ones are to choose defaults on, odd ones to report on; none comes twice.
"""

from typing import Literal

import numpy as np

from emoji_world.scene import draw_scene
from emoji_world.spec import WORLD

SEED = 777
Half = Literal["tune", "report"]


def held_out_captions(half: Half, count: int) -> list[str]:
    """One object and two objects in turn; in every caption one combination at least was never trained on."""
    drawn: dict[str, None] = {}  # in order, none twice
    attempt = 0
    while len(drawn) < 2 * count:
        rng = np.random.default_rng([SEED, attempt])
        drawn.setdefault(draw_scene(WORLD, rng, 1 + len(drawn) // 2 % 2, held_out=True).caption)
        attempt += 1
    return list(drawn)[0 if half == "tune" else 1 :: 2]
