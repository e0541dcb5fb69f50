"""People's nouns and places find the nearest that a world has."""

import pytest

from emoji_world.spec import SECOND_WORLD, WORLD
from emoji_world.stand_ins import DEPTHS, INSTEAD, PLACES, find_background, find_sprite
from emoji_world.vocabulary import SPRITES
from shared.wordnet import senses


@pytest.mark.parametrize(
    ("name", "sprite", "in_the_first_world"),
    [
        ("old fire truck", "truck", "car"),
        ("red sports car", "car", "car"),
        ("wolves", "dog", "cat"),
        ("golden retriever", "dog", "cat"),
        ("killer whale", "fish", "bird"),
        ("goose", "bird", "bird"),
        ("oak", "tree", "tree"),
        ("rose", "flower", "tree"),
        ("astronaut", "man", "robot"),
        ("group of children", "man", "robot"),
        ("little girl with a balloon", "woman", "robot"),
        ("castle", "house", None),
        ("guitar", None, None),
        ("table", None, None),
        ("xyzzy", None, None),
    ],
)
def test_a_noun_finds_its_nearest_sprite(name: str, sprite: str | None, in_the_first_world: str | None) -> None:
    assert find_sprite(name, SECOND_WORLD.sprites) == sprite
    assert find_sprite(name, WORLD.sprites) == in_the_first_world


def test_every_sprite_is_found_by_its_own_names_and_every_table_entry_leads_to_one() -> None:
    for world in (WORLD, SECOND_WORLD):
        for name in world.sprites:
            assert find_sprite(f"a big {name}", world.sprites) == name
            assert find_sprite(SPRITES[name].many, world.sprites) == name
            assert senses(name)
    assert set(INSTEAD.values()) | set(DEPTHS) <= set(SECOND_WORLD.sprites)
    assert set(PLACES.values()) <= set(SECOND_WORLD.backgrounds)


def test_a_place_is_named_or_the_things_usual_one() -> None:
    places = SECOND_WORLD.backgrounds
    assert find_background(["a snowy street", "a car on a beach"], "car", places) == "snow"
    assert find_background(["nothing to see", "two cars on beaches"], "car", places) == "sand"
    assert find_background(["", ""], "fish", places) == "sea"
    assert find_background(["in the kitchen"], "cat", WORLD.backgrounds) == "grass"
