"""The prompts say what the models of the answers say, and what they show is valid."""

import re
from enum import Enum

import pytest
from pydantic import BaseModel

from planner_service.language_model import planner
from planner_service.language_model.answers import Movements, Scene, Seen, reading_of, scene_violations
from planner_service.language_model.planner import PROMPTS, prompts_version, text
from planner_service.motion import cues
from shared.motion_graph import Instance, MotionLabel, Relation


def shown(name: str) -> list[str]:
    return re.findall(r"```json\n(.+?)\n```", text(name), re.DOTALL)


def test_the_examples_are_valid_and_belong_together():
    scene = Scene.model_validate_json(shown("scene.md")[0])
    assert scene_violations(scene) == ()
    assert reading_of(scene, Movements.model_validate_json(shown("movements.md")[0])).graph == scene.graph


@pytest.mark.parametrize("name", ["scene.md", "movements.md"])
def test_the_examples_are_as_brief_as_can_be(name):
    for example in shown(name):
        answer = (Scene if name == "scene.md" else Movements).model_validate_json(example)
        assert answer.model_dump_json(exclude_defaults=True) == example


@pytest.mark.parametrize(
    ("name", "model"),
    [("scene.md", model) for model in (Scene, Seen, Instance, Relation)]
    + [("movements.md", model) for model in (Movements, cues.InstanceCues, cues.Size, cues.Phase)],
)
def test_every_key_is_explained(name: str, model: type[BaseModel]):
    for field in model.model_fields:
        assert f"`{field}`" in text(name)


@pytest.mark.parametrize(
    "choices", [choices for choices in vars(cues).values() if isinstance(choices, type) and issubclass(choices, Enum)]
)
def test_every_choice_is_named(choices: type[Enum]):
    if choices.__module__ == cues.__name__ or choices is MotionLabel:
        for choice in choices:
            assert f"`{choice.value}`" in text("movements.md")


def test_thoughts_come_before_decisions():
    assert next(iter(Scene.model_fields)) == next(iter(Movements.model_fields)) == "thoughts"
    for prompt in PROMPTS[:2]:
        assert text(prompt).index("`thoughts`") < text(prompt).index("`why`")
    assert list(Seen.model_fields) == ["words", "why", "node"]


@pytest.mark.parametrize("changed", PROMPTS)
def test_the_version_changes_with_every_text(monkeypatch, changed):
    before = prompts_version()
    assert prompts_version() == before
    monkeypatch.setattr(planner, "text", lambda name: text(name) + ("." if name == changed else ""))
    assert prompts_version() != before


def test_the_repair_has_a_place_for_the_reasons_and_for_what_was_asked():
    assert text("repair.md").format(reasons="{asked}", asked="{reasons}").endswith("{reasons}\n")
