"""The evaluator finds what is there, and only that."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from emoji_world.backgrounds import background_image
from emoji_world.detector import Detections, Detector, nearest_background
from emoji_world.evaluation import Judgement, direction, judge
from emoji_world.grammar import Told
from emoji_world.scene import Scene, draw_scene, place
from emoji_world.spec import SECOND_WORLD, WORLD, Motion
from emoji_world.tracking import THRESHOLD, box_overlaps, track
from emoji_world.world import render

FEW_SPRITES = replace(SECOND_WORLD, sprites=("flag", "dog", "house", "bird", "car"))
"""A search through all sprites takes long."""


def scenes(count: int) -> list[Scene]:
    rngs = [np.random.default_rng([1, k]) for k in range(count)]
    return [draw_scene(WORLD, rng, 1 + k % 2, held_out=True) for k, rng in enumerate(rngs)]


def videos_of(many: list[Scene]) -> Tensor:
    return torch.stack([render(WORLD, scene).video for scene in many]).float() / 255


def judged(videos: Tensor, asked: list[Scene]) -> Judgement:
    return judge(videos, Detector(WORLD).detect(videos), asked, WORLD)


def scene_of(sprite: str, motion: Motion) -> Scene:
    return Scene(place(WORLD, np.random.default_rng(3), [Told(sprite, motion)]), "grass", "")


@pytest.mark.parametrize("sprite", WORLD.sprites)
def test_a_sprite_is_found_where_it_is_and_no_other_is(sprite: str) -> None:
    clip = render(WORLD, scene_of(sprite, "right"))
    found = Detector(WORLD).detect(clip.video[None, [0, 8]].float() / 255)
    index = WORLD.sprites.index(sprite)
    scores = found.distinct()[0]
    assert scores.argmax() == index
    assert scores[index] > 0.7
    assert scores.sort(descending=True).values[1] < scores[index] - 0.1
    assert (box_overlaps(found.boxes[0, :, index, 0], clip.tracks[0].boxes[[0, 8]]) > 0.7).all()


def test_two_of_a_kind_are_both_found_and_each_is_followed() -> None:
    told = [Told("bird", "right"), Told("bird", "up"), Told("car", "still")]
    placed = place(FEW_SPRITES, np.random.default_rng(5), told)
    clip = render(FEW_SPRITES, Scene(placed, "road", ""))
    tracks = track(Detector(FEW_SPRITES), clip.video.float() / 255, ["bird", "car", "bird"])
    assert [each.sprite for each in tracks] == ["bird", "car", "bird"]
    assert all(each.present for each in tracks)
    true = [each.boxes for each in clip.tracks]
    overlaps = [[float(box_overlaps(each.boxes, boxes).min()) for boxes in true] for each in tracks]
    assert max(overlaps[0][0], overlaps[0][1]) > 0.6
    assert overlaps[1][2] > 0.6
    assert overlaps[2][1 if overlaps[0][0] > 0.6 else 0] > 0.6


@pytest.mark.parametrize("size", SECOND_WORLD.size_px)
def test_small_and_large_things_are_found(size: float) -> None:
    world = replace(FEW_SPRITES, size_px=(size, size))
    for sprite in ("dog", "house"):
        clip = render(world, Scene(place(world, np.random.default_rng(1), [Told(sprite, "left")]), "grass", ""))
        found = track(Detector(world), clip.video.float() / 255, [sprite])[0]
        assert found.present
        assert box_overlaps(found.boxes, clip.tracks[0].boxes).mean() > 0.75


@pytest.mark.parametrize("motion", SECOND_WORLD.motions)
def test_a_true_clip_shows_its_motion_and_no_other(motion: Motion) -> None:
    scene = Scene(place(FEW_SPRITES, np.random.default_rng(2), [Told("flag", motion)]), "snow", "")
    video = render(FEW_SPRITES, scene).video[None].float() / 255
    judgement = judge(video, Detector(FEW_SPRITES).detect(video), [scene], FEW_SPRITES)
    asked = [getattr(judgement, name) for name in ("sprite", "direction", "scaling", "stays", "deforms", "keeps_shape")]
    assert sum(rate.of for rate in asked) >= 2
    assert all(rate.hits == rate.of for rate in asked), judgement


def test_nothing_is_found_in_empty_frames() -> None:
    for background in WORLD.backgrounds:
        empty = background_image(WORLD, background).expand(1, 1, -1, -1, -1)
        assert Detector(WORLD).detect(empty).scores.max() < THRESHOLD, background


def test_nothing_is_found_in_noise_nor_in_plain_frames() -> None:
    empty = background_image(WORLD, "road").expand(1, 2, -1, -1, -1)
    noisy = empty + 0.1 * torch.randn(empty.shape, generator=torch.Generator().manual_seed(0))
    for video in (noisy.clamp(0, 1), torch.zeros_like(empty), torch.ones_like(empty)):
        assert Detector(WORLD).detect(video).scores.max() < THRESHOLD


def test_of_a_blurred_object_the_whole_is_found_and_not_a_part() -> None:
    clip = render(WORLD, scene_of("pig", "left"))
    blurred = avg_pool2d(clip.video.float() / 255, 5, stride=1, padding=2, count_include_pad=False)
    boxes = Detector(WORLD).detect(blurred[None]).boxes[0, :, WORLD.sprites.index("pig"), 0]
    assert box_overlaps(boxes, clip.tracks[0].boxes).min() > 0.7


def test_a_clip_is_found_alone_as_among_others() -> None:
    videos = videos_of(scenes(3))[:, ::4]
    detector = Detector(WORLD)
    together, alone = detector.detect(videos), detector.detect(videos[1:2])
    assert torch.equal(together.of(slice(1, 2)).boxes, alone.boxes)
    assert torch.allclose(together.of(slice(1, 2)).scores, alone.scores, atol=1e-4)


def test_of_two_sprites_in_one_place_the_better_keeps_it() -> None:
    box, apart = [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]
    found = Detections(torch.tensor([[[[0.9], [0.6], [0.7]]]]), torch.tensor([[[[box], [box], [apart]]]]))
    assert found.distinct().tolist() == [[pytest.approx(0.9), -torch.inf, pytest.approx(0.7)]]


def test_true_clips_are_judged_right_and_the_clips_of_other_captions_are_not() -> None:
    asked = scenes(8)
    truth = judged(videos_of(asked), asked)
    for rate in (truth.background, truth.sprite, truth.direction, truth.stays, truth.deforms, truth.keeps_shape):
        assert rate.of
        assert rate.share >= 0.85
    assert truth.both.share >= 0.75
    assert truth.absent.share <= 0.1
    swapped = [  # the first scenes, asked for with the next sprite of the list
        replace(
            scene,
            objects=tuple(
                replace(each, sprite=WORLD.sprites[(WORLD.sprites.index(each.sprite) + 1) % len(WORLD.sprites)])
                for each in scene.objects
            ),
        )
        for scene in asked[:3]
    ]
    assert judged(videos_of(asked[:3]), swapped).sprite.share == 0


@pytest.mark.parametrize("background", WORLD.backgrounds)
def test_the_background_is_recognised_behind_noise_and_an_object(background: str) -> None:
    scene = replace(scene_of("car", "still"), background=background)
    video = render(WORLD, scene).video.float() / 255
    noisy = video + 0.05 * torch.randn(video.shape, generator=torch.Generator().manual_seed(0))
    assert nearest_background(noisy, WORLD) == background


@pytest.mark.parametrize(
    ("way", "expected"), [((0.2, 0.0), "right"), ((-0.2, 0.1), "left"), ((0.0, -0.2), "up"), ((0.03, 0.05), "still")]
)
def test_direction_by_hand(way: tuple[float, float], expected: str) -> None:
    box = torch.tensor([0.4, 0.4, 0.6, 0.6])
    assert direction(torch.stack([box, box + torch.tensor([*way, *way])]), WORLD) == expected
