"""Clips: the same for the same seed, boxes tight, motions as labelled, combinations held out for real."""

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
import torch

from emoji_world import grammar
from emoji_world.grammar import Told
from emoji_world.networks import make_tokenizer
from emoji_world.scene import draw_scene, place
from emoji_world.spec import SECOND_WORLD, STEP, WORLD, Motion, Timing, WorldSpec
from emoji_world.split import is_held_out
from emoji_world.sprites import COLUMNS, TILE, _atlas, texture
from emoji_world.training.profiles import PROFILES
from emoji_world.vocabulary import SPRITES
from emoji_world.world import Clip, Scene, make_clip, render, tight_boxes

PIXELS = torch.tensor([WORLD.width, WORLD.height, WORLD.width, WORLD.height])


def clip_of(*pairs: tuple[str, Motion], seed: int = 0, world: WorldSpec = WORLD, timing: Timing = "throughout") -> Clip:
    placed = place(world, np.random.default_rng(seed), [Told(*pair, timing) for pair in pairs])
    return render(world, Scene(placed, "night", ""))


def test_the_same_seed_gives_the_same_clip_and_another_seed_another() -> None:
    one, again, other = (make_clip(WORLD, (5, seed), 2) for seed in (1, 1, 2))
    assert one.video.shape == (9, 3, 64, 96)
    assert torch.equal(one.video, again.video)
    assert one.scene == again.scene
    assert not torch.equal(one.video, other.video)


def test_some_frames_are_those_frames_of_the_whole_clip() -> None:
    whole, part = make_clip(WORLD, (3,), 2), make_clip(WORLD, (3,), 2, frames=[4, 8])
    assert torch.equal(part.video, whole.video[[4, 8]])
    assert torch.equal(part.tracks[1].boxes, whole.tracks[1].boxes[[4, 8]])


@pytest.mark.parametrize("sprite", WORLD.sprites)
def test_boxes_are_tight_around_what_is_drawn(sprite: str) -> None:
    clip = clip_of((sprite, "left"))
    empty = render(WORLD, Scene((), "night", "")).video
    changed = (clip.video.int() - empty.int()).abs().amax(1) > 0
    for box, mask in zip((clip.tracks[0].boxes * PIXELS).round().int().tolist(), changed, strict=True):
        x0, y0, x1, y1 = box
        inside = mask.clone()
        inside[y0:y1, x0:x1] = False
        inside[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1] = False  # faint edges may reach one pixel further
        assert not inside.any()
        for edge in (mask[y0, x0:x1], mask[y1 - 1, x0:x1], mask[y0:y1, x0], mask[y0:y1, x1 - 1]):
            assert edge.any()


def test_tight_boxes_by_hand() -> None:
    mask = torch.zeros(2, 4, 8, dtype=torch.bool)
    mask[0, 1:3, 2:7] = True
    assert tight_boxes(mask).tolist() == [[0.25, 0.25, 0.875, 0.75], [0, 0, 0, 0]]


def test_a_motionless_object_does_not_change_a_single_pixel() -> None:
    video = clip_of(("pig", "still")).video
    assert (video == video[:1]).all()


@pytest.mark.parametrize("motion", list(STEP))
def test_a_rigid_object_goes_where_its_label_says_and_keeps_its_size(motion: Motion) -> None:
    boxes = clip_of(("robot", motion), world=SECOND_WORLD).tracks[0].boxes * PIXELS
    way = (boxes[-1, :2] + boxes[-1, 2:] - boxes[0, :2] - boxes[0, 2:]) / 2
    for moved, step in zip(way.tolist(), STEP[motion], strict=True):
        assert moved * step > 9 if step else abs(moved) <= 1
    assert torch.allclose(boxes[0, 2:] - boxes[0, :2], boxes[-1, 2:] - boxes[-1, :2], atol=2.01)  # an edge may fade


def test_sideways_movers_look_ahead() -> None:
    left, right = (clip_of(("car", motion), seed=4) for motion in ("left", "right"))
    assert not left.scene.objects[0].mirrored
    assert right.scene.objects[0].mirrored


def test_squashing_lowers_an_object_on_its_foot_and_swaying_leans_it() -> None:
    squash = clip_of(("tree", "squash")).tracks[0].boxes * PIXELS
    heights = squash[:, 3] - squash[:, 1]
    assert heights[4] < 0.7 * heights[0]
    assert (squash[:, 3] - squash[0, 3]).abs().max() <= 1
    sway = clip_of(("tree", "sway")).tracks[0].boxes * PIXELS
    assert sway[2, 2] > sway[0, 2] + 3  # leans right
    assert sway[6, 0] < sway[0, 0] - 3  # leans left


@pytest.mark.parametrize(("motion", "grows"), [("approach", True), ("recede", False)])
def test_what_comes_closer_grows_in_its_place_and_what_goes_away_shrinks(motion: Motion, grows: bool) -> None:
    boxes = clip_of(("truck", motion), world=SECOND_WORLD).tracks[0].boxes * PIXELS
    widths, heights = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    small, large = (0, -1) if grows else (-1, 0)
    for edges in (widths, heights):
        assert 1.5 <= edges[large] / edges[small] <= 2.6
        assert edges.max() == edges[large]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert (middles - middles[0]).abs().max() <= 1.5


@pytest.mark.parametrize(("timing", "rest", "motion"), [("starts", slice(0, 9), -1), ("stops", slice(8, 17), 0)])
def test_an_object_may_rest_in_one_half_of_the_clip(timing: Timing, rest: slice, motion: int) -> None:
    for kind in ("left", "flutter"):
        video = clip_of(("flag", kind), world=SECOND_WORLD, timing=timing).video  # type: ignore[arg-type]
        assert (video[rest] == video[8]).all()
        moving = video[9:16] if timing == "starts" else video[1:8]
        assert all((frame != video[8]).any() for frame in moving)


def test_a_flag_flutters_at_its_free_end_and_a_skirt_below() -> None:
    flag, woman = (clip_of((name, "flutter"), world=SECOND_WORLD).video.float() for name in ("flag", "woman"))
    for video, free, axis in ((flag, 1, 1), (woman, 1, 0)):
        changed = video.std(0).sum(0)  # [row, column]
        along = changed.sum(axis=1 - axis)
        inside = along.nonzero().flatten()
        middle = (inside[0] + inside[-1]) // 2
        assert along[middle:].sum() > 2 * along[:middle].sum(), free


def test_two_dogs_are_told_as_two_and_another_does_something_else() -> None:
    dog, other = Told("dog", "left"), Told("dog", "sway", "stops")
    assert grammar.caption([dog, dog], "road", grammar.first) == "two brown dogs are walking to the left on the road"
    assert grammar.caption([Told("bus", "still"), Told("bus", "still")], "road", grammar.first).startswith(
        "two blue buses"
    )
    assert (
        grammar.caption([dog, other], "snow", grammar.first)
        == "a brown dog is walking to the left while another brown dog is swaying then standing still in the snow"
    )
    assert (
        grammar.caption([Told("airplane", "recede", "starts", "big")], "sky", grammar.first)
        == "a big gray airplane is standing still then flying away in the sky"
    )


def test_size_words_are_true_and_objects_overlap_a_little_at_most() -> None:
    called: Counter[str] = Counter()
    for seed in range(120):
        clip = make_clip(SECOND_WORLD, (seed,), 1 + seed % 3)
        words = clip.scene.caption.split()
        edges = [2 * max(placed.half) for placed in clip.scene.objects]
        if {"small", "tiny"} & set(words):
            called["small"] += 1
            assert min(edges) <= 20
        if {"big", "large"} & set(words):
            called["big"] += 1
            assert max(edges) >= 33
        for one, other in combinations(clip.tracks, 2):
            low, high = torch.maximum(one.boxes, other.boxes)[:, :2], torch.minimum(one.boxes, other.boxes)[:, 2:]
            areas = [(track.boxes[:, 2:] - track.boxes[:, :2]).prod(1) for track in (one, other)]
            assert ((high - low).clamp(min=0).prod(1) <= 0.35 * torch.minimum(*areas)).all(), seed  # and rounding
    assert min(called.values()) >= 5


def test_rigid_objects_stay_inside() -> None:
    for seed in range(100):
        for placed in make_clip(WORLD, (seed,), 1 + seed % 2).scene.objects:
            if placed.motion not in ("sway", "squash"):
                centres, frame = placed.centres(WORLD.frames), np.array([WORLD.width, WORLD.height])
                assert (centres - placed.half >= -1e-6).all(), placed
                assert (centres + placed.half <= frame + 1e-6).all(), placed


def test_objects_stay_apart() -> None:
    for seed in range(40):
        one, other = make_clip(WORLD, (seed,), 2).tracks
        corner, opposite = torch.maximum(one.boxes, other.boxes)[:, :2], torch.minimum(one.boxes, other.boxes)[:, 2:]
        assert not (opposite > corner).all(1).any()


def test_the_split_is_disjoint_and_its_margins_are_balanced() -> None:
    triples = product(WORLD.sprites, WORLD.motions, WORLD.backgrounds)
    held = [triple for triple in triples if is_held_out(WORLD, *triple)]
    assert len(held) == 42  # of 8 · 7 · 6
    for axis, values, least, most in ((0, WORLD.sprites, 5, 6), (1, WORLD.motions, 6, 6), (2, WORLD.backgrounds, 7, 7)):
        counts = Counter(triple[axis] for triple in held)
        assert set(counts) == set(values)
        assert least <= min(counts.values()) <= max(counts.values()) <= most


@pytest.mark.parametrize("objects", [1, 2])
def test_scenes_come_from_the_side_of_the_split_that_was_asked_for(objects: int) -> None:
    for held_out in (True, False):
        for seed in range(50):
            scene = draw_scene(WORLD, np.random.default_rng(seed), objects, held_out=held_out)
            hidden = [is_held_out(WORLD, each.sprite, each.motion, scene.background) for each in scene.objects]
            assert any(hidden) == held_out


def test_motions_are_drawn_uniformly() -> None:
    rng = np.random.default_rng(0)
    counts = Counter(draw_scene(WORLD, rng, 1, held_out=False).objects[0].motion for _ in range(700))
    assert all(70 <= counts[motion] <= 130 for motion in WORLD.motions), counts


def test_the_tokenizer_knows_every_word_of_every_caption() -> None:
    spec = PROFILES["cpu"].networks
    tokenizer = make_tokenizer(spec)
    rngs = [np.random.default_rng(k) for k in range(300)]
    captions = [draw_scene(SECOND_WORLD, rng, 1 + k % 3, held_out=False).caption for k, rng in enumerate(rngs)]
    captions += [grammar.caption([Told(sprite, "left")], "sea", grammar.first) for sprite in SPRITES]
    for caption in captions:
        tokens = tokenizer(caption).input_ids
        assert len(tokens) == len(caption.split()) + 1 <= spec.text_length, caption  # a token a word, and the end
        assert tokenizer.unk_token_id not in tokens
    assert tokenizer.unk_token_id not in tokenizer("zebra, 9 quick-footed!").input_ids


def test_the_atlas_holds_every_sprite() -> None:
    assert _atlas().size == (COLUMNS * TILE, -(-len(SPRITES) // COLUMNS) * TILE)
    for name in SPRITES:
        assert max(texture(name).shape[1:]) >= 58, name
        assert texture(name)[3].mean() > 0.2, name
