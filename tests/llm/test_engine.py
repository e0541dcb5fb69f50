"""The contract with a real engine: schema, ids, repair, truncation, errors, readiness; never what is written."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Annotated

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from planner_service.language_model.answers import Movements, Scene, movements_schema
from planner_service.language_model.client import BadAnswer
from planner_service.language_model.planner import Draft, LanguageModelPlanner, text
from planner_service.parser.planner import Parser
from planner_service.reasoning import Rejected, Request, plan
from shared.errors import LanguageModelUnavailable, PlanningFailed, Violation
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Plan

pytestmark = pytest.mark.timeout(600)

PROMPT = "a red car drives past a tree"
GRAPH = MotionGraph(
    instances=(
        Instance(id="car", name="red car", description="a red car", label=MotionLabel.RIGID),
        Instance(id="tree", name="tree", description="a tree", label=MotionLabel.MOTIONLESS),
    )
)


def asked(instructions, content):
    return [{"role": "system", "content": text(instructions)}, {"role": "user", "content": content}]


def whole(language_model, messages, answer, schema) -> str:
    """The text of an answer that is not cut off, whether or not it makes sense."""
    try:
        return language_model.complete(messages, answer, 0, schema).model_dump_json(exclude_unset=True)
    except BadAnswer as bad:
        if not bad.text:
            raise  # cut off
        return bad.text


def small_scene_schema():
    """The scene's schema with so few things in it that no answer is longer than a thousand tokens."""
    schema = Scene.model_json_schema()
    for name, most in (("instances", 2), ("relations", 1), ("depth_order", 2)):
        schema["properties"][name] |= {"maxItems": most}
    schema["$defs"]["Instance"]["properties"]["attributes"] |= {"maxItems": 2}
    return schema


class Brief(BaseModel):
    word: Annotated[str, Field(max_length=10)]


def test_ready_is_a_completion(connect):
    connect().check()


def test_a_scene_is_of_the_schema(connect):
    answer = json.loads(whole(connect(), asked("scene.md", PROMPT), Scene, small_scene_schema()))
    Draft202012Validator(small_scene_schema()).validate(answer)
    assert next(iter(answer)) == "thoughts"
    assert [list(seen)[:2] for seen in answer["instances"]] == [["words", "why"]] * len(answer["instances"])


def test_movements_are_one_for_each_instance_with_what_its_label_allows(connect):
    schema = movements_schema(GRAPH)
    graph = GRAPH.model_dump_json(exclude_defaults=True)
    answer = json.loads(whole(connect(), asked("movements.md", f"{PROMPT}\n\n{graph}"), Movements, schema))
    Draft202012Validator(schema).validate(answer)
    assert [movement["cues"]["instance"] for movement in answer["movements"]] == ["car", "tree"]


def test_an_answer_that_is_cut_off_says_so(connect):
    with pytest.raises(BadAnswer, match="cut off at 12 tokens") as caught:
        connect(tokens=12).complete(asked("scene.md", PROMPT), Scene, 0)
    assert caught.value.text == ""


def test_a_rejected_answer_can_go_back(connect):
    planner = LanguageModelPlanner(connect(tokens=500))
    rejected = Rejected(Draft('{"thoughts": "A car."}'), (Violation(field="instances", message="Field required"),))
    rejected.last = True
    with suppress(Rejected):  # it may be as bad as the one before
        assert planner.read(PROMPT, 0, rejected).reading.cues


def test_a_prompt_becomes_a_plan_or_the_reasons_why_not(connect):
    try:
        made = plan(LanguageModelPlanner(connect(tokens=500), Parser()), Request(PROMPT, 13, 720, 480, 0))
    except PlanningFailed as error:
        failed = error
    else:
        assert Plan.model_validate(made.model_dump()).frames == 13
        assert {"car", "tree"} <= {instance.name.split()[-1] for instance in made.graph.instances}
        return
    assert failed.violations


def test_two_at_once(connect):
    language_model = connect()
    question = [{"role": "user", "content": "Say one word."}]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: language_model.complete(question, Brief, 0), range(2)))
    assert len(answers) == 2


def test_a_prompt_that_is_too_long_is_refused(connect):
    with pytest.raises(PlanningFailed, match="400"):
        connect().complete(asked("scene.md", "a car and " * 20_000), Scene, 0)


def test_a_schema_that_is_none_is_refused_and_that_is_no_matter_of_the_prompt(connect):
    with pytest.raises(LanguageModelUnavailable, match="400"):
        connect().complete(asked("scene.md", PROMPT), Scene, 0, {"type": "nonsense"})


def test_a_model_that_is_not_there(connect, engine):
    if engine.name == "llama.cpp":
        pytest.skip("llama.cpp serves its one model under every name")
    with pytest.raises(LanguageModelUnavailable, match="404"):
        connect(model="another").check()


def test_an_answer_that_takes_too_long_is_given_up_and_the_engine_lives_on(connect):
    with pytest.raises(LanguageModelUnavailable, match="in time"):
        connect(seconds=0.2).complete(asked("scene.md", PROMPT), Scene, 0)
    connect().check()
