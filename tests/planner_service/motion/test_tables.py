"""The data files: complete, plausible, and found by the words that people use."""

import tomllib
from collections import Counter
from importlib.resources import files

import pytest

from planner_service.motion import manners, parts
from planner_service.motion.cues import Manner
from planner_service.motion.nouns import Habitat, Kind, known, noun_of, singular, table
from planner_service.parser.lexicon import lexicon


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("bird", "truck"), ("mouse", "cat"), ("cat", "horse"), ("ball", "dog"), ("car", "bus"), ("child", "man")],
)
def test_sizes_are_plausible_against_one_another(smaller, larger):
    areas = [noun_of(name).height ** 2 * noun_of(name).aspect for name in (smaller, larger)]
    assert areas[0] < areas[1]


def test_every_noun_fits_a_frame():
    for name, noun in table().items():
        assert 0.05 <= noun.height <= 0.95, name
        assert 0.3 <= noun.aspect <= 5.5, name


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("red car", "car"),
        ("two wolves", "wolf"),
        ("bowl of soup", "bowl"),
        ("girl with curly hair", "girl"),
        ("man in a black suit", "man"),
        ("giant hot air balloon", "hot air balloon"),
    ],
)
def test_noun_phrases_are_known_by_their_heads(name, same_as):
    assert known(name) == known(same_as) is not None


def test_size_words_and_unknown_nouns():
    assert noun_of("tiny dog").height == pytest.approx(noun_of("dog").height / 2)
    assert known("quux") is None
    assert (noun_of("quux").kind, noun_of("quux").habitat) == (Kind.OBJECT, Habitat.GROUND)


@pytest.mark.parametrize(
    ("plural", "expected"),
    [("dogs", "dog"), ("foxes", "fox"), ("puppies", "puppy"), ("women", "woman"), ("movies", "movie"), ("bus", "bus")],
)
def test_singulars(plural, expected):
    assert singular(plural) == expected


@pytest.mark.parametrize("manner", Manner)
def test_every_manner_has_a_cycle_that_begins_and_ends_at_rest(manner):
    cycle = manners.table()[manner]
    for end, time in ((cycle.keyframes[0], 0.0), (cycle.keyframes[-1], 1.0)):
        assert (end.time, end.left, end.top, end.right, end.bottom) == (time, 0, 0, 0, 0)
    times = [key.time for key in cycle.keyframes]
    assert times == sorted(times)


def test_short_legs_have_fewer_and_weaker_cycles():
    sway = manners.table()[Manner.SWAY].keyframes
    assert len(manners.keyframes(Manner.SWAY, 1.0)) == 2 * len(sway)
    assert len(manners.keyframes(Manner.SWAY, 0.5)) == len(sway)
    assert manners.keyframes(Manner.SWAY, 1 / 6)[1].left == pytest.approx(sway[1].left / 2)


def test_no_manner_has_more_cycles_than_eight_frames_show():
    assert max(cycle.cycles for cycle in manners.table().values()) <= manners.MAXIMUM_CYCLES < 7 / 2


def test_no_verb_stands_in_two_groups():
    groups = tomllib.loads(files("planner_service.parser").joinpath("verbs.toml").read_text(encoding="utf-8"))
    listed = [verb for group in groups.values() for verb in group["verbs"]]
    assert [verb for verb, count in Counter(listed).items() if count > 1] == []


def test_forms_of_verbs_are_found():
    words = lexicon()
    assert {words.verb_form(form) for form in ("runs", "running", "run")} == {"run"}
    assert words.verb_form("flies") == "fly"
    assert words.verb_form("gliding") == "glide"
    assert words.verb_form("table") is None


def test_every_part_is_smaller_than_its_whole_and_hangs_on_it():
    for name, part in parts.table().items():
        assert 0 < part.width < 1, name
        assert 0 < part.height < 1, name
        assert 0 <= part.x <= 1, name
        assert 0 <= part.y <= 1, name


def test_parts_are_known_by_their_heads_and_have_another_side():
    assert parts.part_of("her long flowing skirts") == parts.part_of("skirt") is not None
    assert parts.part_of("quux") is None
    assert parts.part_of("arm").mirrored.x == pytest.approx(1 - parts.part_of("arm").x)
