"""Reference-conditioned guidance (RCG) of motionless instances: all frames look like one of them.  Eqs. 7 and 8.

    f* = argmin_f Σ_g D(φ_f, φ_g)        D: mean cosine distance over the tokens of the box             (7)
    G_m[q, k] = 1 where frame(k) = f*, pos(k) = pos(q) and q lies in the box, else 0                    (8)

(8) is one key for each query, its anchor: the token at the same place in the reference frame.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def reference_frame(features: Tensor) -> int:
    """f* of Eq. 7, the frame that is most like all others.  features: [frame, token of the box, D]."""
    unit = normalize(features, dim=2)
    similarity = torch.einsum("ftd,gtd->fg", unit, unit) / features.shape[1]
    return int((1 - similarity).sum(1).argmin())


def anchors(frame: int, positions: Tensor, cells: int) -> Tensor:
    """Of queries at these places within their frames, [n]: the tokens at the same places in `frame`, [n]."""
    return frame * cells + positions
