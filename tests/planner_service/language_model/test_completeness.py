"""What a graph leaves out, against hand-made graphs."""

import pytest

from planner_service.language_model.completeness import certain, describe_missing, find_missing
from shared.motion_graph import Instance, MotionLabel


def named(*names: str) -> list[Instance]:
    return [
        Instance(id=f"i{number}", name=name, description=name, label=MotionLabel.RIGID)
        for number, name in enumerate(names)
    ]


@pytest.mark.parametrize(
    ("seen", "expected", "lost"),
    [
        (["red car", "tree"], ["car", "tree"], []),
        (["car"], ["red car", "tree"], ["tree"]),
        (["dog"], ["dog", "dog", "dog"], ["dog", "dog"]),
        (["dogs"], ["dog"], []),
        (["truck"], ["bird in a tree"], ["bird in a tree"]),
        (["car"], ["quux"], []),  # a noun the table does not have may be no thing
    ],
)
def test_instances_without_a_counterpart(seen, expected, lost):
    assert [instance.name for instance in find_missing(named(*seen), named(*expected))] == lost


@pytest.mark.parametrize(
    ("prompt", "expected", "kept"),
    [
        ("dogs run", ["dog", "dog"], ["dog"]),  # how many is anybody's guess
        ("Three small brown dogs run after a cat", ["dog", "dog", "dog", "cat"], ["dog", "dog", "dog", "cat"]),
        ("2 hot air balloons over houses", ["balloon", "balloon", "house", "house"], ["balloon", "balloon", "house"]),
        ("both cars", ["car", "car"], ["car", "car"]),
        ("a crowd of people at noon", ["person"] * 5, ["person"]),
        ("seven birds above boats", ["bird", "boat", "boat"], ["bird", "boat"]),
    ],
)
def test_only_what_is_certain_is_expected(prompt, expected, kept):
    assert [instance.name for instance in certain(named(*expected), prompt)] == kept


def test_a_part_may_be_left_out():
    girl, skirt = named("girl", "skirt")
    assert certain([girl, skirt.model_copy(update={"parent": girl.id})], "a girl in a skirt") == (girl,)


def test_an_id_counts_as_a_name():
    (cyclist,) = named("cyclist in yellow")
    man = cyclist.model_copy(update={"id": "man_2"})
    assert find_missing([man], named("man")) == ()


def test_one_message_for_each_noun():
    dogs, cat = describe_missing(named("big dog", "small dog", "cat"))
    assert dogs.startswith("the prompt speaks of 'dog', of which 2 more")
    assert cat.startswith("the prompt speaks of 'cat', of which 1 more")
