"""The field of a DiT, as the temporal attention of a U-Net sees it."""

from dataclasses import replace

import pytest
import torch

from generator_service.contract.guidance import GuidanceParameters
from generator_service.guidance.branches import guidance_field
from generator_service.guidance.field import GuidanceField
from generator_service.guidance.grid import Grid
from generator_service.guidance.layout import layout_on
from generator_service.guidance.temporal import temporal_loss
from shared.plan import Plan

GRID = Grid(frames=9, rows=4, columns=6)
PLACES = GRID.rows * GRID.columns


@pytest.mark.parametrize("form", ["multiplicative", "share"])
@pytest.mark.parametrize("seen", [False, True], ids=["boxes", "features"])
def test_it_is_the_part_of_g_between_tokens_of_one_place(plan: Plan, form: str, seen: bool) -> None:
    features = torch.randn(GRID.tokens, 5, generator=torch.Generator().manual_seed(0)) if seen else None
    field, _ = guidance_field(layout_on(GRID, plan), features, GuidanceParameters.model_validate({"form": form}))
    G, within = field.dense(), field.within_places()
    assert within.shape == (PLACES, 9, 9)
    for place in range(PLACES):
        tokens = torch.arange(9) * PLACES + place
        assert torch.equal(within[place], G[tokens[:, None], tokens])
    assert (within != 0).any()


def test_a_motionless_box_looks_at_its_reference_frame_and_an_anchor_elsewhere_is_nobodys() -> None:
    """Eq. 8: G_m[x, y, f, g] = [g = f*] [(x, y) in the box]; two places, three frames."""
    field = GuidanceField.unguided(Grid(frames=3, rows=1, columns=2))
    anchor, weight = field.anchor.clone(), field.anchor_weight.clone()
    anchor[[1, 3, 5]], weight[[1, 3, 5]] = 3, 2.0  # the second place, of the middle frame
    anchor[0], weight[0] = 3, 1.0  # and one from the first place to the second
    within = replace(field, anchor=anchor, anchor_weight=weight).within_places()
    assert within.tolist() == [[[0, 0, 0]] * 3, [[0, 2, 0]] * 3]


def test_the_loss_by_hand() -> None:
    """Two places, two heads, two frames; the first place's frames shall look at each other, w = 1.5."""
    field = GuidanceField.unguided(Grid(frames=2, rows=1, columns=2))
    instance, W = field.instance.clone(), field.weight.clone()
    instance[[0, 2]], W[[0, 2]] = 1, torch.tensor([[2.0, 1.5], [1.5, 2.0]])
    A = torch.tensor([[[[0.5, 0.5], [0.25, 0.75]], [[0.1, 0.9], [0.75, 0.25]]], [[[1.0, 0.0], [1.0, 0.0]]] * 2])
    # means over the heads: 0.3, 0.7 and 0.5, 0.5 in the first place
    expected = 1 - 10 / 2 * (0.3 * 2 + 0.7 * 1.5 + 0.5 * 1.5 + 0.5 * 2)
    assert float(temporal_loss(A, replace(field, instance=instance, weight=W), 10.0)) == pytest.approx(expected)
