"""Which tokens of a box are the thing itself: those nearer to the middle of the box than to what is around it.

The paper has k-means, k = 2, on the tokens of the box (Sec. 3.3), and does not say which cluster is the foreground.  In
a box that a thing fills, these clusters are parts of the thing.  Here the two centres are given, the mean token of the
box's interior and that of the cells around the box, and stay: Lloyd's iterations take them away from what they mean.
`python -m evaluation features` measures it.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad


def segment_foreground(features: Tensor, inside: Tensor, around: Tensor) -> Tensor:
    """features: [..., rows, columns, D]; inside, around: [..., rows, columns], bool, a box and the cells next to it
    that are background -> the foreground of the box, [..., rows, columns], bool.

    The whole box where nothing is around it, or nothing in it is nearer to its middle.
    """
    interior = inside & ~border_ring(inside)
    unit = normalize(features, dim=-1)
    middles = [_mean(unit, its) for its in (torch.where(_any(interior), interior, inside), around)]
    thing, background = (unit @ normalize(torch.stack(middles, dim=-1), dim=-2)[..., None, :, :]).unbind(-1)
    foreground = inside & (thing > background)
    return torch.where(_any(around) & _any(foreground), foreground, inside)


def _mean(features: Tensor, cells: Tensor) -> Tensor:
    """[..., D]; 0 where there are no cells."""
    weight = cells.float()
    return torch.einsum("...ijd,...ij->...d", features, weight) / weight.sum((-2, -1))[..., None].clamp(min=1)


def _any(cells: Tensor) -> Tensor:
    """[..., 1, 1], bool"""
    return cells.flatten(-2).any(-1)[..., None, None]


def border_ring(inside: Tensor) -> Tensor:
    """The cells of a region with a neighbour outside it, or beyond the grid.  [..., rows, columns], bool."""
    padded = pad(inside, (1, 1, 1, 1))
    surrounded = padded[..., :-2, 1:-1] & padded[..., 2:, 1:-1] & padded[..., 1:-1, :-2] & padded[..., 1:-1, 2:]
    return inside & ~surrounded
