"""Geometric-invariance guidance (GIG) of rigid instances: one shape, wherever the box goes.  Eqs. 9 to 11.

template = Thr(mean over frames of the foreground masks, each resampled to the box's own grid)      (9)
Γ[f, g] = exp(-α |C_f - C_g|) + 1        C: box centres, fractions of the frame                    (10)
G_r[q, k] = M[q] M[k] Γ[frame(q), frame(k)]        M: the template, warped into each frame's box   (11)
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

LEAST_SHARE = 0.15
"""A template that covers less of its box is a failure of the clustering: the whole box takes its place."""


@dataclass(frozen=True)
class Template:
    mask: Tensor
    """[rows, columns] of the box's own grid, bool."""
    is_whole_box: bool
    """The foreground masks agreed on too little."""


def shape_template(masks: Tensor, boxes: Tensor, threshold: float) -> Template:
    """Eq. 9.  masks: [frame, rows, columns], bool, the foreground of each frame; boxes: [frame, 4], fractions.

    The box's own grid is as fine as the largest of the boxes is on the grid of tokens.
    """
    _, rows, columns = masks.shape
    size = boxes[:, 2:] - boxes[:, :2]
    own_columns = max(1, round(float(size[:, 0].max()) * columns))
    own_rows = max(1, round(float(size[:, 1].max()) * rows))
    u = (torch.arange(own_columns, device=masks.device) + 0.5) / own_columns
    v = (torch.arange(own_rows, device=masks.device)[:, None] + 0.5) / own_rows
    corner, extent = boxes[:, None, None, :2], size[:, None, None]
    places = corner + extent * torch.stack(torch.broadcast_tensors(u, v), dim=-1)  # [frame, own row, own column, 2]
    resampled = grid_sample(masks[:, None].float(), 2 * places - 1, mode="nearest", align_corners=False)[:, 0]
    template = resampled.mean(0) >= threshold
    if template.float().mean() < LEAST_SHARE:
        return Template(torch.ones_like(template), is_whole_box=True)
    return Template(template, is_whole_box=False)


def warp_template(template: Tensor, boxes: Tensor, inside: Tensor) -> Tensor:
    """M of Eq. 11: the template in each frame's box.  boxes: [frame, 4]; inside, result: [frame, rows, columns]."""
    _, rows, columns = inside.shape
    x = (torch.arange(columns, device=inside.device) + 0.5) / columns
    y = (torch.arange(rows, device=inside.device)[:, None] + 0.5) / rows
    x0, y0, x1, y1 = boxes[:, :, None, None].unbind(1)
    own_rows, own_columns = template.shape
    column = ((x - x0) / (x1 - x0) * own_columns).floor().long().clamp(0, own_columns - 1)
    row = ((y - y0) / (y1 - y0) * own_rows).floor().long().clamp(0, own_rows - 1)
    return inside & template[row, column]


def displacement_penalty(centers: Tensor, falloff: float) -> Tensor:
    """Γ of Eq. 10.  centers: [frame, 2], fractions -> [frame, frame], in (1, 2], symmetric."""
    return torch.exp(-falloff * torch.cdist(centers, centers)) + 1
