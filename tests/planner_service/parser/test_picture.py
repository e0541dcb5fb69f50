"""What prompts say of the picture is taken out of the scene: every pattern of `picture.toml` by its example."""

import tomllib
from importlib.resources import files

import pytest

SPANS = tomllib.loads(files("planner_service.parser").joinpath("picture.toml").read_text(encoding="utf-8"))["span"]


@pytest.fixture(scope="module")
def picture(parser):
    return lambda prompt: parser._picture.read(prompt)[0]


@pytest.mark.parametrize("span", SPANS, ids=[span["example"] for span in SPANS])
def test_every_pattern_takes_its_example_out(picture, span):
    prompt, taken = span["example"].split(" | ")
    found = picture(prompt)
    said = (*found.camera, *found.style, *found.excluded)
    assert any(words in taken or words == span.get("is") for words in said) == (span["kind"] != "chatter")
    assert taken not in found.scene
    kept = prompt.replace(taken, "").strip(" ,.").lower()
    assert found.scene.strip(" .").lower() == kept


@pytest.mark.parametrize(
    ("prompt", "scene", "style"),
    [
        ("A fox runs, 85mm lens, soft light", "A fox runs", ("85mm lens", "soft light")),
        ("(best quality:1.3), a fox runs", "a fox runs", ("best quality",)),
        ("A fox runs --ar 16:9 #wild", "A fox runs", ("--ar 16:9", "#wild")),
        ("A fox, small and red, runs", "A fox, small and red, runs", ()),
        ("A street light", "A street light", ()),
        ("A red lens on a table", "A red lens on a table", ()),
    ],
)
def test_style(picture, prompt, scene, style):
    assert (picture(prompt).scene, picture(prompt).style) == (scene, style)


@pytest.mark.parametrize(
    ("prompt", "excluded"),
    [
        ("A lake with no boats and no swimmers", ("boats", "swimmers")),
        ("A dog without a collar barks", ("collar",)),
        ("Nobody is here, a door opens", ("people",)),
        ("A boy looks at the camera", ()),
    ],
)
def test_exclusions(picture, prompt, excluded):
    assert picture(prompt).excluded == excluded


def test_who_looks_at_the_camera_is_not_filmed_by_it(picture):
    assert picture("A boy looks at the camera").camera == ()
