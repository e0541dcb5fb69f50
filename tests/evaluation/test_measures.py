"""Measures of a clip: perfect where the plan itself is drawn, bad where something else is."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from emoji_world.detector import Detector
from emoji_world.spec import WORLD
from evaluation.ablation import plan_with_parser
from evaluation.measures import MEASURES, Measures, measure, truth
from generator_service.backbones.emoji_scene import EmojiScene, emoji_scene


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.set_num_threads(1)
    return Detector(WORLD)


def scene_of(caption: str) -> EmojiScene:
    plan = plan_with_parser(caption)
    return emoji_scene(plan)


def measures_of(shown: EmojiScene, asked: EmojiScene, detector: Detector) -> Measures:
    return measure(truth(shown).permute(0, 2, 3, 1).numpy(), asked, detector)


def test_the_plan_itself_measures_well(detector: Detector) -> None:
    scene = scene_of("a red car is driving to the left while a green tree is standing still on the road")
    assert [drawn.motion for drawn in scene.objects] == ["left", "still"]
    measures = measures_of(scene, scene, detector)
    assert list(measures) == list(MEASURES)
    assert measures["detection_rate"] == measures["right"] == 1.0
    assert measures["mean_iou"] > 0.8
    assert measures["iou_over_half"] == 1.0
    assert measures["centre_error"] < 0.03
    assert measures["velocity_correlation"] > 0.9
    assert measures["motionless_drift"] < 0.03
    assert measures["motionless_flicker"] < 0.02  # the car goes past it
    assert measures["rigid_shape_change"] < 0.3
    assert math.isnan(measures["deformation"])  # nothing was to deform
    assert measures["temporal_flicker"] > 0.0


def test_another_video_measures_badly(detector: Detector) -> None:
    asked = scene_of("a red car is driving to the left on the road")
    still = scene_of("a red car is standing still on the road")
    wrong = scene_of("a pink pig is standing still on the road")
    assert measures_of(still, asked, detector)["velocity_correlation"] < 0.5
    measures = measures_of(wrong, asked, detector)
    assert measures["detection_rate"] == measures["right"] == 0.0
    assert measures["iou_over_half"] < 0.5


def test_what_is_found_elsewhere_is_not_right(detector: Detector) -> None:
    shown = scene_of("a red car is standing still on the road")
    (track,) = shown.tracks
    away = track.model_copy(update={"boxes": tuple(box.translate(-box.x0, -box.y0) for box in track.boxes)})
    asked = replace(shown, plan=shown.plan.model_copy(update={"tracks": (away,)}))
    measures = measures_of(shown, asked, detector)
    assert measures["detection_rate"] == 1.0
    assert measures["mean_iou"] < 0.5
    assert measures["right"] == 0.0


def test_deformation_is_asked_of_what_should_deform_alone(detector: Detector) -> None:
    swaying = scene_of("a green tree is swaying on the grass")
    still = scene_of("a green tree is standing still on the grass")
    assert measures_of(swaying, swaying, detector)["deformation"] == 1.0
    assert measures_of(still, swaying, detector)["deformation"] == 0.0
    assert math.isnan(measures_of(swaying, still, detector)["deformation"])


def test_a_change_of_shape_is_told_by_what_the_plan_calls_the_thing(detector: Detector) -> None:
    car = scene_of("a red car is driving to the left on the road")
    sheep = scene_of("a white sheep is walking to the left on the grass")
    for scene, asked, other in (
        (car, "rigid_shape_change", "gliding_shape_change"),
        (sheep, "gliding_shape_change", "rigid_shape_change"),
    ):
        measures = measures_of(scene, scene, detector)
        assert measures[asked] < 0.3
        assert math.isnan(measures[other])


def test_the_truth_is_where_the_plan_has_it() -> None:
    scene = scene_of("a red car is driving to the left at night")
    video = truth(scene).float()
    first, last = scene.plan.tracks[0].boxes[0], scene.plan.tracks[0].boxes[-1]
    for frame, box in ((0, first), (8, last)):
        reddest = (video[frame, 0] - video[frame, 2]).flatten().argmax().item()
        row, column = divmod(reddest, WORLD.width)
        assert box.x0 <= (column + 0.5) / WORLD.width <= box.x1
        assert box.y0 <= (row + 0.5) / WORLD.height <= box.y1
    assert np.abs((video[0] - video[8]).numpy()).max() > 50
