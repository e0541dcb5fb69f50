"""Guidance of a U-Net's temporal attention, in which each place attends to itself in all frames.  Eq. 3.

    L = 1 - (β / P) Σ A ⊙ (G_m + G_r + G_nr)        A: mean over the heads; P: rows · columns

G is the field that guides a DiT, between tokens of one place: of G_m the reference frame's column, of G_r and G_nr
M_f M_g Γ[f, g] and M_f M_g Λ[f, g].
"""

from torch import Tensor

from generator_service.guidance.field import GuidanceField


def temporal_loss(attention: Tensor, field: GuidanceField, strength: float) -> Tensor:
    """attention: [rows · columns, head, F, F]; strength: β -> []."""
    A, G = attention.mean(dim=1), field.within_places().to(attention.device)
    return 1 - strength / len(A) * (A * G).sum()
