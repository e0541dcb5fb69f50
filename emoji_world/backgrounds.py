"""Plain scenes, told apart by colour and horizon."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from emoji_world.spec import Background, WorldSpec

Colour = tuple[int, int, int]
HORIZON = 0.4
DAYLIGHT: tuple[Colour, Colour] = ((140, 195, 240), (205, 230, 250))


@cache
def background_image(spec: WorldSpec, background: Background) -> Tensor:
    """[3, height, width] in 0..1."""
    image = _gradient(spec.height, spec.width, *DAYLIGHT)
    horizon = round(spec.height * HORIZON)
    below = image[horizon:]
    match background:
        case "sky":
            image[:] = _gradient(spec.height, spec.width, (120, 170, 250), (190, 215, 255))
        case "night":
            image[:] = _gradient(spec.height, spec.width, (14, 16, 44), (44, 48, 92))
        case "grass":
            below[:] = _gradient(len(below), spec.width, (140, 200, 105), (110, 175, 85))
        case "sea":
            below[:] = _gradient(len(below), spec.width, (40, 105, 175), (20, 70, 140))
        case "sand":
            below[:] = _gradient(len(below), spec.width, (232, 205, 145), (215, 180, 115))
        case "snow":
            image[:] = _gradient(spec.height, spec.width, (150, 170, 200), (185, 200, 220))
            below[:] = _gradient(len(below), spec.width, (222, 232, 245), (205, 218, 238))
        case "room":
            image[:] = _gradient(spec.height, spec.width, (226, 208, 186), (216, 196, 172))
            image[round(spec.height * 0.68) :] = (146, 108, 78)
        case "road":
            below[:] = (120, 175, 95)
            image[round(spec.height * 0.55) :] = (98, 98, 104)
            stripe = round(spec.height * 0.78)
            image[stripe : stripe + 2] = (230, 225, 200)
    return torch.from_numpy(image / 255).permute(2, 0, 1).contiguous()


def _gradient(height: int, width: int, top: Colour, bottom: Colour) -> np.ndarray:
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    column = np.asarray(top, np.float32) * (1 - share) + np.asarray(bottom, np.float32) * share
    return np.broadcast_to(column, (height, width, 3)).copy()
