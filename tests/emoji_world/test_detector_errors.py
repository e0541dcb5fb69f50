"""The evaluator's own errors are counted: none on true clips, all where every name is wrong."""

from dataclasses import replace

import numpy as np
import torch

from emoji_world.detector import Detector
from emoji_world.detector_errors import MEANS, RATES, Observations, detector_errors, markdown, observe
from emoji_world.grammar import Told
from emoji_world.networks import WEIGHTS
from emoji_world.scene import place
from emoji_world.spec import WORLD, Motion
from emoji_world.world import Clip, Scene, make_clip, render


def observed(clips: list[Clip]) -> Observations:
    videos = torch.stack([clip.video for clip in clips]).float() / 255
    return observe(Detector(WORLD).detect(videos), videos, clips, WORLD)


def test_true_clips_as_drawn_show_hardly_an_error() -> None:
    errors = observed([make_clip(WORLD, [9, seed], 1 + seed % 2) for seed in range(8)])
    assert (len(errors["missed one"]), len(errors["missed two"])) == (4, 4)
    assert len(errors["absent"]) == 4 * 7 + 4 * 6
    for key in ("background", "missed one", "class one", "class two", "direction", "moves", "deforms one"):
        assert not any(errors[key]), key
    assert sum(errors["absent"]) <= 1
    assert min(errors["iou rigid one"] + errors["iou rigid two"]) > 0.6
    assert max(errors["velocity"]) < 1.5
    assert min(errors["correlation"]) > 0.8


def test_errors_are_counted_where_every_label_is_wrong() -> None:
    def mislabelled(true: tuple[str, Motion], told: tuple[str, Motion]) -> Clip:
        clip = render(WORLD, Scene(place(WORLD, np.random.default_rng(3), [Told(*true)]), "grass", ""))
        track = replace(clip.tracks[0], sprite=told[0], motion=told[1])
        return replace(clip, tracks=(track,), scene=replace(clip.scene, background="night"))

    errors = observed(
        [
            mislabelled(("pig", "right"), ("car", "right")),
            mislabelled(("pig", "right"), ("pig", "left")),
            mislabelled(("pig", "right"), ("pig", "still")),
            mislabelled(("pig", "still"), ("pig", "sway")),
            mislabelled(("pig", "sway"), ("pig", "still")),
        ]
    )
    assert errors["background"] == [1, 1, 1, 1, 1]
    assert errors["missed one"] == [1, 0, 0, 0, 0]
    assert errors["class one"] == [1, 0, 0, 0, 0]
    assert sum(errors["absent"][:7]) == 1  # the pig, where a car is said to be
    assert errors["direction"][1:] == [1]
    assert errors["moves"] == [1, 0]
    assert errors["drift"][0] > 10
    assert errors["sway"] == [1]
    assert errors["deforms one"][-1] == 1


def test_the_table_has_every_measure_as_drawn_and_through_the_vae() -> None:
    rows = detector_errors(WEIGHTS, WORLD, 4, processes=1, report=lambda done: None)
    assert list(rows) == [*RATES, *MEANS]
    empty = rows["empty"]["through the VAE"]
    assert (empty.value, empty.of) == (0, 6 * 8)
    iou = rows["iou rigid one"]
    assert iou["as drawn"].of == iou["through the VAE"].of
    assert iou["as drawn"].value != iou["through the VAE"].value
    assert "| sprite reported in empty frames | 0.0% (0.0–7.4) of 48 | 0.0% (0.0–7.4) of 48 |" in markdown(rows)
