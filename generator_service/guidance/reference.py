"""Reference-conditioned guidance (RCG) of motionless instances: all frames look like one of them.  Eqs. 7 and 8.

    f* = argmin_f Σ_g D(φ_f, φ_g)        D: mean cosine distance over the tokens of the box             (7)
    G_m[q, k] = 1 where frame(k) = f*, pos(k) = pos(q) and q lies in the box, else 0                    (8)

(8) is one key for each query, its anchor: the token at the same place in the reference frame.  As a share of the
attention (form "share") it is all of the box in f* (ours): what one key holds is next to nothing.  A motionless part of
something that moves has a box that moves along: there pos is the place in the box (ours; the paper's boxes rest).
What covers the instance is no part of it: it is like nothing in (7), and neither query nor anchor in (8) (ours).
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from generator_service.guidance.deformation import box_displacement


def reference_frame(features: Tensor, seen: Tensor) -> int:
    """f* of Eq. 7, the frame that is most like all others.

    features: [frame, token of the box, D]; seen: [frame, token], bool, where nothing covers the instance.
    """
    unit = normalize(features, dim=2) * seen[..., None]
    similarity = torch.einsum("ftd,gtd->fg", unit, unit) / features.shape[1]
    return int((1 - similarity).sum(1).argmin())


def match_cells(boxes: Tensor, inside: Tensor, source: int, target: int) -> Tensor:
    """Where the tokens of the box of frame `source` are in that of `target`: [token], cells counted row by row.

    boxes: [frame, 4], fractions; inside: [frame, rows, columns], bool, the box.
    """
    moved = inside[source].nonzero() + box_displacement(boxes, inside, source, target).flip(1)
    cells = inside[target].nonzero()
    row, column = cells[torch.cdist(moved, cells.float()).argmin(1)].unbind(1)
    return row * inside.shape[2] + column
