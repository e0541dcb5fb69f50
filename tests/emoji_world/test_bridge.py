"""People's sentences and the captions they become."""

import subprocess
import sys

import numpy as np
import pytest

from emoji_world.bridge import Substitution, translate
from emoji_world.scene import draw_scene
from emoji_world.spec import WORLD, WorldSpec


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            "a red car drives to the right while a tree stands still",
            "a red car is driving to the right while a green tree is standing still on the road",
        ),
        ("A bird flies over the sea.", "a blue bird is flying to the right in the sea"),
        ("The pig is walking from right to left", "a pink pig is walking to the left on the grass"),
        ("a ball bounces up and down at night", "an orange ball is bouncing at night"),
        ("the sheep rises into the sky", "a white sheep is walking up in the sky"),
        (
            "a pig and a cat run to the left on the beach",
            "a pink pig is walking to the left while a yellow cat is walking to the left in the desert",
        ),
        (
            "a cat and a pig move toward each other",
            "a yellow cat is walking to the right while a pink pig is walking to the left on the grass",
        ),
        (
            "a cat and a pig run away from each other",
            "a yellow cat is walking to the left while a pink pig is walking to the right on the grass",
        ),
        (
            "a robot walks past a tree",
            "a gray robot is walking to the right while a green tree is standing still on the road",
        ),
        (
            "a cat chases a ball across the road",
            "a yellow cat is walking to the right while an orange ball is rolling to the right on the road",
        ),
        ("a car on the left side of the street", "a red car is standing still on the road"),
        ("a tree sways in the desert", "a green tree is swaying in the desert"),
        ("trees dancing", "a green tree is swaying on the grass"),
        ("", "an orange ball is lying still on the grass"),
        ("a robot waves its hand", "a gray robot is swaying on the road"),
        ("a bird flies over the waves", "a blue bird is flying to the right in the sea"),
        ("a pig's tail wiggles", "a pink pig is swaying on the grass"),
        ("a robot walks down a busy street", "a gray robot is walking to the right on the road"),
        ("a ball rolls down a hill", "an orange ball is rolling down on the grass"),
        ("a cat walks to the left side of the road", "a yellow cat is walking to the left on the road"),
        ("a sheep enters from the right", "a white sheep is walking to the left on the grass"),
        ("a car moves left to right", "a red car is driving to the right on the road"),
        ("a balloon goes up", "an orange ball is rolling up in the sky"),
        ("the ball, which is orange, falls", "an orange ball is rolling down on the grass"),
        (
            "a cat, walking left, and a robot, standing still",
            "a yellow cat is walking to the left while a gray robot is standing still on the grass",
        ),
        (
            "a motionless tree with a blue bird flying past it to the left",
            "a green tree is standing still while a blue bird is flying to the left on the grass",
        ),
        (
            "a robot with a ball walks left",
            "a gray robot is walking to the left while an orange ball is lying still on the road",
        ),
        (
            "a car and a robot move in opposite directions",
            "a red car is driving to the left while a gray robot is walking to the right on the road",
        ),
        (
            "a robot kicks a ball to the left",
            "a gray robot is walking to the left while an orange ball is rolling to the left on the road",
        ),
    ],
)
def test_worked_examples(prompt: str, expected: str) -> None:
    assert translate(prompt).caption == expected


@pytest.mark.parametrize(
    ("prompt", "substitutions"),
    [
        ("a puppy runs on the grass", [("puppy", "cat")]),
        ("a truck and a car are parked on the road", [("truck", "robot")]),
        ("a truck drives on the road", [("truck", "car")]),
        ("a blue car is parked on the road", [("blue car", "red car")]),
        ("a red car is parked on the beach", [("beach", "desert")]),
        ("a beach ball rolls on the grass", [("beach ball", "ball")]),
        ("a dog watches a cat on the grass", [("dog", "sheep")]),
        ("a teapot on the grass", [("teapot", "ball")]),
        ("two cars on the road", []),
    ],
)
def test_what_is_drawn_as_something_else_is_said(prompt: str, substitutions: list[tuple[str, str]]) -> None:
    assert translate(prompt).substitutions == tuple(Substitution(*pair) for pair in substitutions)


def test_words_without_a_meaning_here_and_third_objects_are_listed() -> None:
    translation = translate("a fluffy cat, a pig and a tree stand on the grass, philosophically")
    assert translation.caption == "a yellow cat is standing still while a pink pig is standing still on the grass"
    assert translation.ignored == ("fluffy", "philosophically", "tree")


def test_a_world_with_more_sprites_draws_more_itself() -> None:
    wider = WorldSpec(sprites=(*WORLD.sprites, "dog"))
    assert translate("a puppy sits", wider).caption == "a brown dog is standing still on the grass"


def test_the_grammar_is_the_training_grammar() -> None:
    """A caption of the world, read by the bridge, means the same objects, motions and place."""
    for seed in range(200):
        scene = draw_scene(WORLD, np.random.default_rng(seed), 1 + seed % 2, held_out=False)
        pairs = [(placed.sprite, placed.motion) for placed in scene.objects]
        translation = translate(scene.caption)
        assert sorted((drawn.sprite, drawn.motion) for drawn in translation.objects) == sorted(pairs), scene.caption
        assert translation.background == scene.background
        assert not translation.substitutions
        assert not translation.ignored


def test_translating_needs_no_numerical_library() -> None:
    code = (
        "import sys; from emoji_world.bridge import translate; translate('a car'); "
        "sys.exit(bool({'torch', 'numpy', 'diffusers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
