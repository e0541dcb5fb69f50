"""Which prompts are English, and which words are misspelt."""

import pytest

from planner_service.parser.english import correct_spelling, foreign_language


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("Der Hund schläft unter dem Tisch", "de"),
        ("La niña come una manzana", "es"),
        ("Il treno arriva in stazione", "it"),
        ("Мальчик бежит", "ru"),
    ],
)
def test_another_language_is_told(prompt, language):
    assert foreign_language(prompt) == language


@pytest.mark.parametrize(
    "prompt",
    ["Sled slides down a snowy hill", "A chef flambés crêpes", "Pikachu", "a taco", "it's 5 o'clock"],
)
def test_english_with_foreign_words_is_english(prompt):
    assert foreign_language(prompt) is None


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("A gren frog jumsp", "A green frog jump"),
        ("An elphant drinks", "An elephant drinks"),
        ("Beautifull girrafe", "Beautiful giraffe"),
        ("A Labubu and a kayaker", "A Labubu and a kayaker"),
    ],
)
def test_misspelt_words_are_mended_where_it_is_plain(prompt, meant):
    assert correct_spelling(prompt) == meant
