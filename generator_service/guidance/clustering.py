"""Which tokens of a box are the thing itself: k-means with two clusters, then a vote of the border (Sec. 3.3).

The paper does not say which cluster is the foreground.  Here it is the one with the smaller share of the box's border
ring: a thing touches the border of its own box less than the background does.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

ITERATIONS = 10


def segment_foreground(features: Tensor, inside: Tensor) -> Tensor:
    """features: [rows, columns, D]; inside: [rows, columns], bool, one box -> its foreground, [rows, columns], bool.

    The whole box where it has no interior, is alike all over, or its clusters touch the border alike.
    """
    ring = border_ring(inside)
    if not (inside & ~ring).any():
        return inside
    tokens = normalize(features[inside], dim=1)
    on_ring = ring[inside]
    first = two_means(tokens, torch.stack([tokens[on_ring].mean(0), tokens[~on_ring].mean(0)]))
    if first.all() or not first.any():
        return inside
    shares = torch.stack([(first == cluster)[on_ring].float().mean() for cluster in (0, 1)])
    if shares[0] == shares[1]:
        return inside
    result = torch.zeros_like(inside)
    result[inside] = first == int(shares.argmin())
    return result


def border_ring(inside: Tensor) -> Tensor:
    """The cells of a region with a neighbour outside it, or beyond the grid.  [rows, columns], bool."""
    padded = pad(inside, (1, 1, 1, 1))
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~surrounded


def two_means(points: Tensor, centers: Tensor) -> Tensor:
    """Lloyd's algorithm from given centres, [2, D].  points: [n, D] -> the cluster of each, [n].  Deterministic."""
    cluster = torch.cdist(points, centers).argmin(1)
    for _ in range(ITERATIONS):
        if cluster.all() or not cluster.any():
            break
        centers = torch.stack([points[cluster == which].mean(0) for which in (0, 1)])
        after = torch.cdist(points, centers).argmin(1)
        if torch.equal(after, cluster):
            break
        cluster = after
    return cluster
