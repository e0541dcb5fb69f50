"""Tracks and shapes: ground truth, and numbers one can do by hand."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from emoji_world.backgrounds import background_image
from emoji_world.detector import Detector
from emoji_world.grammar import Told
from emoji_world.scene import Scene, place
from emoji_world.shape import fit_shapes
from emoji_world.spec import WORLD, Motion
from emoji_world.tracking import (
    box_overlaps,
    centre_error,
    drift,
    track,
    velocities,
    velocity_correlation,
    velocity_error,
)
from emoji_world.world import render


def scene_of(*pairs: tuple[str, Motion]) -> Scene:
    return Scene(place(WORLD, np.random.default_rng(3), [Told(*pair) for pair in pairs]), "grass", "")


@pytest.mark.parametrize("mirrored_by", ["left", "right"])
@pytest.mark.parametrize("motion", ["still", "sway", "squash"])
def test_the_lean_and_press_that_were_drawn_are_fitted(motion: Motion, mirrored_by: str) -> None:
    scene = scene_of(("car", motion))
    if mirrored_by == "right":  # a car faces left: flip the whole clip
        clip = render(WORLD, scene)
        video, boxes = clip.video.flip(-1), clip.tracks[0].boxes[:, [2, 1, 0, 3]]
        boxes = boxes * torch.tensor([-1, 1, -1, 1]) + torch.tensor([1.0, 0, 1.0, 0])
    else:
        clip = render(WORLD, scene)
        video, boxes = clip.video, clip.tracks[0].boxes
    shape = fit_shapes(video[None].float() / 255, ["car"], boxes[None], WORLD)[0]
    assert shape.lean_range == pytest.approx(2 * WORLD.sway if motion == "sway" else 0, abs=0.15)
    assert shape.press_range == pytest.approx(WORLD.squash if motion == "squash" else 0, abs=0.1)
    assert shape.deformation == (None if motion == "still" else motion)


def test_two_objects_deform_each_on_its_own() -> None:
    clip = render(WORLD, scene_of(("pig", "sway"), ("ball", "squash")))
    pig, ball = track(Detector(WORLD), clip.video.float() / 255, ["pig", "ball"])
    assert (pig.present, ball.present) == (True, True)
    assert (pig.shape.deformation, ball.shape.deformation) == ("sway", "squash")


def test_nothing_is_present_in_empty_frames_nor_under_another_name() -> None:
    empty = background_image(WORLD, "sea").expand(2, -1, -1, -1)
    assert not any(each.present for each in track(Detector(WORLD), empty, WORLD.sprites))
    scene = replace(scene_of(("pig", "still")), background="sea")
    pig = render(WORLD, scene, [0, 8]).video.float() / 255
    assert [each.present for each in track(Detector(WORLD), pig, ["pig", "car"])] == [True, False]


def test_a_shape_is_the_same_alone_and_among_larger_ones() -> None:
    clips = [render(WORLD, scene_of((sprite, motion))) for sprite, motion in (("tree", "sway"), ("car", "right"))]
    videos = torch.stack([clip.video for clip in clips]).float() / 255
    boxes = torch.stack([clip.tracks[0].boxes for clip in clips])
    together = fit_shapes(videos, ["tree", "car"], boxes, WORLD)
    alone = fit_shapes(videos[:1], ["tree"], boxes[:1], WORLD)[0]
    assert torch.allclose(together[0].lean, alone.lean, atol=0.01)
    assert torch.allclose(together[0].press, alone.press, atol=0.01)
    assert [each.deformation for each in together] == ["sway", None]


BOX = torch.tensor([0.1, 0.2, 0.3, 0.6])
STANDING = BOX.expand(3, 4)
RIGHTWARD = BOX + torch.tensor([[0.0], [0.1], [0.2]]) * torch.tensor([1.0, 0, 1, 0])
DOWNWARD = BOX + torch.tensor([[0.0], [0.1], [0.2]]) * torch.tensor([0.0, 1, 0, 1])


def test_overlaps_by_hand() -> None:
    assert box_overlaps(STANDING, RIGHTWARD).tolist() == pytest.approx([1, 1 / 3, 0])
    inside = torch.tensor([0.1, 0.2, 0.2, 0.4])  # a quarter of the box
    assert float(box_overlaps(inside, BOX)) == pytest.approx(1 / 4)
    assert float(box_overlaps(torch.zeros(4), torch.zeros(4))) == 0


def test_distances_by_hand() -> None:
    assert float(centre_error(STANDING, RIGHTWARD)) == pytest.approx((0 + 0.1 + 0.2) / 3)
    assert float(centre_error(RIGHTWARD, DOWNWARD)) == pytest.approx(2**0.5 * 0.1)
    assert float(drift(RIGHTWARD)) == pytest.approx(0.2)
    assert float(drift(RIGHTWARD[[0, 2, 0]])) == pytest.approx(0.2)  # there and back
    assert float(drift(DOWNWARD)) == pytest.approx(0.2)
    assert float(drift(STANDING)) == 0


def test_velocities_by_hand() -> None:
    assert torch.allclose(velocities(DOWNWARD), torch.tensor([[0.0, 0.1], [0.0, 0.1]]))
    assert float(velocity_error(RIGHTWARD, STANDING)) == pytest.approx(0.1)
    assert float(velocity_error(RIGHTWARD, RIGHTWARD + 0.3)) == pytest.approx(0, abs=1e-6)  # elsewhere, at one pace
    faster = torch.stack([BOX, RIGHTWARD[2], RIGHTWARD[2] + RIGHTWARD[2] - BOX])
    for boxes, cosine in ((RIGHTWARD, 1), (faster, 1), (RIGHTWARD.flip(0), -1), (DOWNWARD, 0)):
        assert float(velocity_correlation(boxes, RIGHTWARD)) == pytest.approx(cosine, abs=1e-5)
    turning = torch.stack([BOX, RIGHTWARD[1], RIGHTWARD[1] + DOWNWARD[1] - BOX])  # one step right, one down
    assert float(velocity_correlation(turning, RIGHTWARD)) == pytest.approx(0.5, abs=1e-5)
    assert np.isnan(float(velocity_correlation(STANDING, RIGHTWARD)))


@pytest.mark.parametrize("measure", [centre_error, velocity_error, velocity_correlation])
def test_measures_take_many_clips_at_once(measure: Callable[[Tensor, Tensor], Tensor]) -> None:
    boxes, planned = torch.stack([RIGHTWARD, DOWNWARD]), torch.stack([DOWNWARD, DOWNWARD])
    each = torch.stack([measure(*pair) for pair in zip(boxes, planned, strict=True)])
    assert torch.equal(measure(boxes, planned), each)
    assert each[0] != each[1]
    assert drift(boxes[None]).shape == (1, 2)
