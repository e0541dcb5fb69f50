"""G = G_m + G_r + G_nr in sparse form: no N × N matrix, because a token belongs to one instance at most.

    G[q, k] = [id(q) = id(k) ≠ 0] · W[q, frame(k)] + [k = anchor(q)] · w(q)        where W ≥ 0
    G[q, k] = [id(q) ≠ id(k)] · W[q, frame(k)]                                     where W < 0: q looks less at k

W is Γ (Eq. 10) for rigid, Λ (Eq. 15) for non-rigid instances; the anchor is the same place in the reference frame
(Eq. 8) of motionless ones.  In the form of a share there are no anchors: for motionless instances W is 1 for all of the
reference frame, and for the others it is negative for all frames but a row's own; a row's W is of one sign.
Any scale-aware strength is already multiplied into W and w.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from generator_service.guidance.grid import Grid

NO_ANCHOR = -1


@dataclass(frozen=True)
class GuidanceField:
    """One denoising step's G, for the video-to-video block of the attention."""

    grid: Grid
    instance: Tensor
    """id: [N], long; 0 where a token belongs to no instance."""
    weight: Tensor
    """W: [N, F], float32; rows of tokens without instance, or guided by an anchor alone, are 0."""
    anchor: Tensor
    """[N], long; the index of a token's anchor, NO_ANCHOR where it has none."""
    anchor_weight: Tensor
    """w: [N], float32, ≥ 0; 0 where a token has no anchor."""

    @property
    def guided(self) -> Tensor:
        """The rows of G that are not 0: [N], bool."""
        return ((self.instance != 0) & (self.weight != 0).any(dim=1)) | (self.anchor_weight != 0)

    def named_by(self, rows: Tensor) -> Tensor:
        """These rows of G: [row, N]."""
        frame = torch.arange(self.grid.tokens, device=rows.device) // (self.grid.rows * self.grid.columns)
        W, instance = self.weight[rows[:, None], frame], self.instance[rows, None]
        G = torch.where((instance != 0) & ((instance == self.instance) == (W >= 0)), W, 0.0)
        having = (self.anchor[rows] != NO_ANCHOR).nonzero()[:, 0]
        G[having, self.anchor[rows[having]]] += self.anchor_weight[rows[having]]
        return G

    def dense(self) -> Tensor:
        """G, [N, N]: for small grids."""
        return self.named_by(torch.arange(self.grid.tokens, device=self.instance.device))

    def within_places(self) -> Tensor:
        """G between the tokens of one place in all frames, all that a U-Net's temporal attention sees of it:
        [rows · columns, F, F]."""

        def by_place(of_tokens: Tensor) -> Tensor:
            return of_tokens.view(self.grid.frames, -1, *of_tokens.shape[1:]).transpose(0, 1)

        instance, W = by_place(self.instance)[..., None], by_place(self.weight)
        G = torch.where((instance != 0) & ((instance == instance.transpose(1, 2)) == (W >= 0)), W, 0.0)
        places = len(G)
        anchor, anchor_weight = by_place(self.anchor), by_place(self.anchor_weight)
        here = (anchor != NO_ANCHOR) & (anchor % places == torch.arange(places, device=anchor.device)[:, None])
        frame = torch.where(here, anchor // places, 0)
        return G.scatter_add(2, frame[..., None], torch.where(here, anchor_weight, 0.0)[..., None])

    @classmethod
    def unguided(cls, grid: Grid) -> Self:
        """G = 0."""
        N = grid.tokens
        nothing = torch.zeros(N, dtype=torch.long)
        return cls(grid, nothing, torch.zeros(N, grid.frames), nothing + NO_ANCHOR, torch.zeros(N))
