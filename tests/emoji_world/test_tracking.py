"""Tracks and shapes: ground truth, and numbers one can do by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emoji_world.backgrounds import background_image
from emoji_world.detector import Detector
from emoji_world.scene import Scene, place
from emoji_world.shape import fit_shape
from emoji_world.spec import WORLD, Motion
from emoji_world.tracking import box_overlaps, centre_error, drift, track, velocity_correlation
from emoji_world.world import render


def scene_of(*pairs: tuple[str, Motion]) -> Scene:
    return Scene(place(WORLD, np.random.default_rng(3), list(pairs)), "grass", "")


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
    shape = fit_shape(video.float() / 255, "car", boxes, WORLD)
    sway, squash = (float(each.max() - each.min()) for each in (shape.lean, shape.press))
    assert sway == pytest.approx(2 * WORLD.sway if motion == "sway" else 0, abs=0.15)
    assert squash == pytest.approx(WORLD.squash if motion == "squash" else 0, abs=0.08)
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


def test_measures_by_hand() -> None:
    box = torch.tensor([0.1, 0.2, 0.3, 0.6])
    planned = torch.stack([box, box + torch.tensor([0.1, 0.0, 0.1, 0.0])])
    standing = torch.stack([box, box])
    assert box_overlaps(standing, planned).tolist() == pytest.approx([1, 1 / 3])
    assert centre_error(standing, planned) == pytest.approx(0.05)
    assert drift(planned) == pytest.approx(0.1)
    assert drift(standing) == 0
    assert velocity_correlation(planned, planned) == pytest.approx(1)
    assert velocity_correlation(planned.flip(0), planned) == pytest.approx(-1)
    assert np.isnan(velocity_correlation(standing, planned))
