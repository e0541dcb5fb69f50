"""The probe looks and changes nothing; what it says can be done by hand."""

from types import SimpleNamespace

import pytest
import torch

from evaluation.ablation import backbone_of, plan_with_parser
from evaluation.attention_mass import AttentionProbe, look, markdown
from generator_service.backbones.base import Scene
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.request import JobRequest
from generator_service.guidance.grid import Grid
from generator_service.guidance.layout import layout_on
from generator_service.guidance.protocols import UNGUIDED
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import first_state, ignore

CAPTION = "a red car is driving to the left while a green tree is standing still on the road"


def test_the_mass_by_hand() -> None:
    """One head; a row of logits 0 and ln 3, of which the second is guided: 3/4 of the attention is on it."""
    layout = SimpleNamespace(grid=Grid(frames=2, rows=1, columns=1))
    probe = AttentionProbe(None, layout, GuidanceParameters(strength=1.0), range(1))  # type: ignore[arg-type]
    query, key = torch.tensor([[[[1.0], [0.0]]]]), torch.tensor([[[[0.0], [torch.tensor(3.0).log()]]]])
    probe._look(4, {"gig": torch.tensor([[0.0, 1.0], [0.0, 0.0]])}, query, key, key)
    (moved,) = probe.table["gig", 4]
    assert moved.positive == 1.0
    assert moved.stock == pytest.approx(3 / 4)
    assert moved.multiplied == pytest.approx(9 / 10)  # e^(2 ln 3) = 9
    assert moved.added == pytest.approx(3 * 2.718282 / (1 + 3 * 2.718282))


def test_looking_changes_nothing() -> None:
    backbone = backbone_of("emoji-world")
    plan = plan_with_parser(CAPTION)
    settings = JobRequest(plan=plan, seed=0, steps=3).settings()
    conditioning = backbone.prepare(Scene(caption=CAPTION), settings)
    layout = layout_on(backbone.grid(settings), plan)
    probe = AttentionProbe(backbone, layout, GuidanceParameters(), range(2))
    start = first_state(backbone, settings)
    seen = denoise(backbone, conditioning, start, probe, ignore)
    assert torch.equal(seen, denoise(backbone, conditioning, start, UNGUIDED, ignore))
    assert {branch for branch, _ in probe.table} == {"gig", "rcg"}
    assert {layer for _, layer in probe.table} == set(range(6))
    assert all(len(moved) == 2 for moved in probe.table.values())


def test_the_table_has_a_line_for_each_branch_and_layer() -> None:
    table = look("emoji-world", "tune", prompts=1)
    assert len(markdown(table).splitlines()) == 2 + len(table)
    for moved in table.values():
        for each in moved:
            assert 0 <= each.positive <= 1
            assert each.added > each.stock  # β G > 0 can only raise it
