"""Muon: torch's own, in float32."""

import pytest
import torch

from emoji_world.training.muon import Muon, orthogonalize


def test_steps_equal_torchs_up_to_its_bfloat16() -> None:
    torch.manual_seed(0)
    begin, gradients = torch.randn(20, 48), torch.randn(3, 20, 48)
    ours, theirs = torch.nn.Parameter(begin.clone()), torch.nn.Parameter(begin.clone())
    optimizers = (
        Muon([ours], lr=0.01, weight_decay=0.1),
        torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = (ours - begin).abs().max().item()
    assert moved > 0.01
    assert (ours - theirs).abs().max().item() < 0.03 * moved


@pytest.mark.parametrize("shape", [(2, 5, 9), (2, 9, 5)])
def test_orthogonalized_matrices_have_singular_values_near_one_and_keep_their_directions(
    shape: tuple[int, int, int],
) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    result = orthogonalize(matrices)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.65
    assert values.max() < 1.25
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    turned = u.mT @ result @ vh.mT  # diagonal, if the singular vectors are kept
    assert torch.allclose(turned, torch.diag_embed(turned.diagonal(dim1=1, dim2=2)), atol=1e-4)
