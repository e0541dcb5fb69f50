"""Spatial-deformation guidance (SDG) of non-rigid instances: parts may move, but as their box does.  Eqs. 12 to 16.

N(i, j) = argmin_(m,n) 1 - cos(φ_f[i, j], φ_g[m, n])        in the box of frame g, grown by a margin    (12)
D_perc = N(i, j) - (i, j)                                                                               (13)
D_box = the four corners' displacements from f to g, interpolated bilinearly at (i, j)                  (14)
Λ[q, g] = exp(-|D_perc - D_box|) + 1        in token cells                                              (15)
G_nr[q, k] = M[q] M[k] Λ[q, frame(k)]        M: the foreground of each frame                            (16)
"""

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize

MARGIN = 1
"""Cells by which the box of the other frame is grown for the search."""


def perceived_displacement(features: Tensor, inside: Tensor, source: int, target: int) -> Tensor:
    """D_perc of Eq. 13 from frame `source` to `target`, [token, 2], (x, y) in cells.

    features: [frame, rows, columns, D], of unit length; inside: [frame, rows, columns], bool, the box.  Tokens are
    those of the source's box, in order.
    """
    start = inside[source].nonzero()
    ends = dilate(inside[[target]])[0].nonzero()
    similarity = features[source][inside[source]] @ features[target][ends[:, 0], ends[:, 1]].T
    return (ends[similarity.argmax(1)] - start).flip(1).float()


def dilate(inside: Tensor) -> Tensor:
    """[frame, rows, columns], bool -> the same with MARGIN cells around it."""
    return max_pool2d(inside.float(), 2 * MARGIN + 1, stride=1, padding=MARGIN) > 0


def box_displacement(boxes: Tensor, inside: Tensor, source: int, target: int) -> Tensor:
    """D_box of Eq. 14, [token, 2], (x, y) in cells.  boxes: [frame, 4], fractions."""
    _, rows, columns = inside.shape
    cells = torch.tensor([columns, rows], device=boxes.device)
    start, end = boxes[source], boxes[target]
    corner, size = start[:2] * cells, (start[2:] - start[:2]) * cells
    new_corner, new_size = end[:2] * cells, (end[2:] - end[:2]) * cells
    centers = inside[source].nonzero().flip(1) + 0.5
    share = ((centers - corner) / size).clamp(0, 1)  # (0, 0) at the upper left corner, (1, 1) at the lower right
    return (new_corner - corner) + share * (new_size - size)


def deformation_penalty(features: Tensor, boxes: Tensor, inside: Tensor) -> Tensor:
    """Λ of Eq. 15, [frame, rows, columns, frame], in (1, 2] inside the box and 0 outside.

    features: [frame, rows, columns, D]; boxes: [frame, 4], fractions; inside: [frame, rows, columns], bool.  Of the two
    displacements above for every pair of frames at once, without asking the device how many tokens there are.
    """
    frames, rows, columns = inside.shape
    unit, ends = normalize(features, dim=3).flatten(0, 2), dilate(inside).flatten()
    nearest = [
        (tokens @ unit.T).masked_fill_(~ends, -torch.inf).unflatten(1, (frames, -1)).argmax(2)
        for tokens in unit.split(rows * columns)
    ]
    x, y = torch.arange(columns, device=boxes.device), torch.arange(rows, device=boxes.device)
    cells = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2).flatten(0, 1).float()
    perceived = cells[torch.stack(nearest)] - cells[:, None]  # [frame, token, frame, 2], as all that follows
    grid = torch.tensor([columns, rows], device=boxes.device)
    corner, size = boxes[:, :2] * grid, (boxes[:, 2:] - boxes[:, :2]) * grid
    share = ((cells + 0.5 - corner[:, None]) / size[:, None]).clamp(0, 1)[:, :, None]
    expected = (corner - corner[:, None])[:, None] + share * (size - size[:, None])[:, None]
    penalty = torch.exp(-(perceived - expected).norm(dim=3)) + 1
    return penalty.view(frames, rows, columns, frames) * inside[..., None]
