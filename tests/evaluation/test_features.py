"""The probe of features: what it says of features that are made by hand, and that it says something of every layer."""

import math

import pytest
import torch

from evaluation.ablation import plan_with_parser
from evaluation.features import EVERY_STEP, Table, _measure, _silhouettes, look, markdown
from generator_service.backbones.emoji_scene import emoji_scene
from generator_service.guidance.grid import Grid
from generator_service.guidance.layout import layout_on

GRID = Grid(frames=3, rows=8, columns=12, compression=4)


def test_perfect_features_measure_perfectly() -> None:
    """A channel that is the silhouette, and the place within the thing."""
    plan = plan_with_parser("a red car is driving to the right on the road")
    scene = emoji_scene(plan)
    layout = layout_on(GRID, scene.plan or plan)
    (own,) = _silhouettes(scene, layout)
    assert own.flatten(1).any(1).all()
    assert (own <= layout.inside[0]).all()
    place = torch.zeros(*own.shape, 3)
    corner = layout.boxes[0, :, :2] * torch.tensor([12, 8])
    for frame, row, column in own.nonzero().tolist():
        x, y = column - corner[frame, 0], row - corner[frame, 1]
        place[frame, row, column] = torch.tensor([20.0, x, y])
    place[..., 0] -= 10
    table: Table = {
        key: [] for key in [("whole box", "", EVERY_STEP), ("foreground", "made", 3), ("template", "made", 3)]
    } | {("correspondence", row, step): [] for row, step in [("made", 3), ("chance", -1), ("no motion", -1)]}
    _measure(table, "made", 3, place.flatten(0, 2), scene, layout, own[None])
    assert table["foreground", "made", 3] == [1.0]
    assert table["whole box", "", EVERY_STEP][0] < 1
    error, chance = (
        sum(table["correspondence", row, step]) / len(table["correspondence", row, step])
        for row, step in [("made", 3), ("chance", EVERY_STEP)]
    )
    assert error < 0.7 < chance  # cells: what moves by parts of a cell is not found exactly


def test_every_layer_has_a_line() -> None:
    table = look("emoji-world", "tune", prompts=1, steps=[6])
    lines = markdown(table).splitlines()
    assert lines[0] == "| | features | step 6 |"
    for layer in range(6):
        assert sum(f"layer {layer}" in line for line in lines) >= 2
    assert all(value >= 0 or math.isnan(value) for values in table.values() for value in values)
    assert table["whole box", "", EVERY_STEP][0] == pytest.approx(0.6, abs=0.4)
