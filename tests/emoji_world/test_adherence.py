"""One video against its plan: a true clip follows it, and every wrong plan shows in its measure."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import Tensor

from emoji_world.adherence import measure_adherence
from emoji_world.detector import Detector
from emoji_world.grammar import Told
from emoji_world.scene import Scene, place
from emoji_world.spec import WORLD, Motion
from emoji_world.world import render


def true_clip(*pairs: tuple[str, Motion]) -> tuple[Tensor, Tensor]:
    """Video and boxes [object, frames, 4]."""
    clip = render(WORLD, Scene(place(WORLD, np.random.default_rng(3), [Told(*pair) for pair in pairs]), "sand", ""))
    return clip.video.float() / 255, torch.stack([track.boxes for track in clip.tracks])


def test_a_true_clip_does_what_was_planned() -> None:
    video, boxes = true_clip(("car", "right"), ("tree", "sway"))
    car, tree = measure_adherence(Detector(WORLD), video, ["car", "tree"], boxes, ["right", "sway"])
    assert (car.sprite, tree.sprite) == ("car", "tree")
    for each in (car, tree):
        assert each.detected
        assert each.deforms_as_asked
        assert each.score > 0.7
        assert each.iou_over_half == 1
        assert each.centre_error < 0.1
    assert car.mean_iou > 0.75
    assert car.velocity_error < 0.02
    assert car.velocity_correlation == pytest.approx(1, abs=0.1)
    assert car.drift > 0.1
    assert car.lean_range < 0.1
    assert car.press_range < 0.05
    assert tree.lean_range == pytest.approx(2 * WORLD.sway, abs=0.2)
    json.dumps([asdict(car), asdict(tree)], allow_nan=False)


def test_each_wrong_plan_shows() -> None:
    video, boxes = true_clip(("pig", "right"))
    detector = Detector(WORLD)
    (back,) = measure_adherence(detector, video, ["pig"], boxes.flip(1), ["left"])
    assert back.velocity_correlation == pytest.approx(-1, abs=0.1)
    assert back.mean_iou < 0.6
    assert back.iou_over_half < 0.7
    (absent,) = measure_adherence(detector, video, ["robot"], boxes, ["right"])
    assert not absent.detected
    (rigid,) = measure_adherence(detector, video, ["pig"], boxes, ["squash"])
    assert not rigid.deforms_as_asked
    (still,) = measure_adherence(detector, video, ["pig"], boxes[:, :1].expand(-1, 9, -1), ["still"])
    assert still.velocity_correlation is None
    assert still.velocity_error > 0.02


def test_plans_of_another_form_are_refused() -> None:
    video, boxes = true_clip(("pig", "still"))
    detector = Detector(WORLD)
    with pytest.raises(ValueError, match=r"boxes \[1, 8, 4\] and 1 motions but expected \[1, 9, 4\]"):
        measure_adherence(detector, video, ["pig"], boxes[:, :8], ["still"])
    with pytest.raises(ValueError, match="2 motions"):
        measure_adherence(detector, video, ["pig"], boxes, ["still", "left"])
    with pytest.raises(ValueError, match=r"expected \[frames, 3, 64, 96\]"):
        measure_adherence(detector, video.mT, ["pig"], boxes, ["still"])
