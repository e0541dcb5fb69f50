"""The language-model planner, from the prompt to the plan, with a server that answers by script."""

import copy
import json
from itertools import product

import pytest
from jsonschema import Draft202012Validator

from planner_service.explanation import About
from planner_service.language_model.answers import Scene, movements_schema
from planner_service.language_model.client import MAXIMUM_TOKENS
from planner_service.language_model.planner import COMPLETIONS, LanguageModelPlanner, prompts_version
from planner_service.motion.cues import Phase
from planner_service.reasoning import Request, explained_plan, plan
from shared.errors import LanguageModelUnavailable, PlanningFailed
from shared.motion_graph import Instance, MotionGraph, MotionLabel

REQUEST = Request("a red car drives past a tree", frames=13, width=720, height=480, seed=7)


def spoilt(answer, *path_and_value):
    """A copy with another value at the path."""
    *path, last, value = path_and_value
    copied = copy.deepcopy(answer)
    part = copied
    for step in path:
        part = part[step]
    part[last] = value
    return copied


@pytest.fixture
def planner(connect):
    return LanguageModelPlanner(connect())


def conversation(request):
    return [message["role"] for message in request["messages"]]


def test_two_good_answers_become_a_plan(server, planner, replies, scene, movements):
    server.replies = replies(scene, movements)
    made = plan(planner, REQUEST)
    assert made.graph.ids == ("car", "tree")
    assert made.frames == 13
    assert made.tracks[0].boxes[-1].x0 > made.tracks[0].boxes[0].x0 + 0.2
    assert (made.provenance.planner, made.provenance.model) == ("language-model", "test-model")
    assert made.provenance.version.endswith(f"prompts-{prompts_version()}")
    first, second = server.requests
    assert first["messages"][1] == {"role": "user", "content": REQUEST.prompt}
    assert first["response_format"]["json_schema"]["schema"] == Scene.model_json_schema()
    prompt, graph = second["messages"][1]["content"].split("\n\n")
    assert prompt == REQUEST.prompt
    assert json.loads(graph) == {
        "instances": [seen["node"] for seen in scene["instances"]],
        "relations": scene["relations"],
    }


def test_the_second_answer_has_one_movement_for_each_instance_and_what_its_label_allows(
    server, planner, replies, scene, movements
):
    server.replies = replies(scene, movements)
    plan(planner, REQUEST)
    schema = Draft202012Validator(server.requests[1]["response_format"]["json_schema"]["schema"])
    assert schema.is_valid(movements)
    phase = ("movements", 0, "cues", "phases", 0)
    for wrong in (
        spoilt(movements, "movements", movements["movements"][:1]),
        spoilt(movements, "movements", [*movements["movements"], movements["movements"][0]]),
        spoilt(movements, "movements", 1, movements["movements"][0]),
        spoilt(movements, "movements", 0, "cues", "instance", "house"),
        spoilt(movements, "movements", 1, "cues", "phases", 0, {"label": "rigid"}),
        spoilt(movements, "movements", 1, "cues", "phases", 0, "direction", "up"),
        spoilt(movements, *phase, "label", "non_rigid"),
        spoilt(movements, *phase, "label", "motionless"),
        spoilt(movements, *phase, "manner", "sway"),
        spoilt(movements, *phase, "absent", True),
        spoilt(movements, *phase, "leaves", "right"),
        spoilt(movements, *phase[:-1], 0, {"label": "rigid", "target": "tree"}),
        spoilt(movements, *phase[:-1], 0, {"label": "rigid", "target": "house", "goal": "past"}),
        spoilt(movements, *phase[:-1], 0, {"label": "rigid", "direction": None}),
    ):
        assert not schema.is_valid(wrong)
    for right in (
        spoilt(movements, *phase[:-1], 0, {"label": "rigid", "target": "tree", "goal": "past", "enters": "left"}),
        spoilt(movements, *phase[:-1], 0, {"label": "motionless"}),
        spoilt(movements, "movements", 1, "cues", "phases", 0, "absent", True),
    ):
        assert schema.is_valid(right)


def test_a_single_instance_has_nobody_to_move_with_respect_to(server, planner, replies, scene, movements):
    alone = spoilt(scene, "relations", []) | {"instances": scene["instances"][:1], "depth_order": ["car"]}
    server.replies = replies(alone, spoilt(movements, "movements", movements["movements"][:1]))
    plan(planner, REQUEST)
    assert '"target"' not in json.dumps(server.requests[1]["response_format"])


@pytest.mark.parametrize("label", MotionLabel)
def test_what_the_narrow_schema_allows_is_valid(label):
    """No phase that it lets through is refused afterwards."""
    graph = MotionGraph(
        instances=tuple(Instance(id=name, name=name, description=name, label=label) for name in ("car", "tree"))
    )
    validator = Draft202012Validator(movements_schema(graph))
    phases = product(
        MotionLabel,
        *([None, said] for said in ({"direction": "left"}, {"target": "tree", "goal": "onto"}, {"manner": "sway"})),
        *([None, said] for said in ({"enters": "left"}, {"leaves": "top"}, {"absent": True}, {"scale": 2.0})),
    )
    allowed = 0
    for said, *keys in phases:
        phase = {"label": said.value} | {name: value for key in keys if key for name, value in key.items()}
        cues = [{"instance": "car", "phases": [phase]}, {"instance": "tree", "phases": [{"label": label.value}]}]
        answer = {"thoughts": "x", "movements": [{"why": "x", "cues": one} for one in cues]}
        if validator.is_valid(answer):
            allowed += 1
            Phase.model_validate(phase)
    assert allowed >= (1 if label is MotionLabel.MOTIONLESS else 9)


def test_what_is_no_thing_stays_with_the_graph(server, planner, replies, scene, movements):
    said = {"style": ["film grain"], "camera": ["drone shot"], "excluded": ["people"]}
    server.replies = replies(scene | said, movements)
    graph = plan(planner, REQUEST).graph
    assert (graph.style, graph.camera, graph.excluded) == (("film grain",), ("drone shot",), ("people",))


def test_the_order_of_the_movements_does_not_matter(server, planner, replies, scene, movements):
    movements["movements"].reverse()
    server.replies = replies(scene, movements)
    assert plan(planner, REQUEST).graph.ids == ("car", "tree")
    assert len(server.requests) == 2


def test_the_models_thoughts_are_the_reasons(server, planner, replies, scene, movements):
    scene["instances"][1]["words"] = "an oak"  # which the prompt does not say
    server.replies = replies(scene, movements)
    reasons = {(reason.about, reason.instance): reason for reason in explained_plan(planner, REQUEST).reasons}
    label = reasons[About.LABEL, "car"]
    assert (label.decided, label.words, label.why) == ("rigid", ("a red car drives past",), "a vehicle keeps its shape")
    assert reasons[About.LABEL, "tree"].words == ()
    assert reasons[About.RELATION, "car"].decided == "car passes tree"
    assert reasons[About.CUE, "car"].why == "it drives past, to the right"
    assert json.loads(reasons[About.CUE, "car"].decided) == {"phases": [{"label": "rigid", "direction": "right"}]}


SCENE_DEFECTS = [
    (("relations", 0, "target", "house"), "relation 'passes' names the unknown instance 'house'"),
    (("relations", 0, "target", "car"), "joins 'car' to itself"),
    (("instances", 0, "node", "parent", "road"), "instance 'car' names the unknown parent 'road'"),
    (("depth_order", ["car"]), "depth_order: must name every instance once"),
    (("depth_order", ["car", "tree", "car"]), "depth_order: must name every instance once"),
]


@pytest.mark.parametrize(("change", "reason"), SCENE_DEFECTS)
def test_what_is_wrong_with_a_scene_goes_back_and_the_repaired_one_counts(
    server, planner, replies, scene, movements, change, reason
):
    broken = spoilt(scene, *change)
    server.replies = replies(broken, scene, movements)
    assert plan(planner, REQUEST).graph.relations[0].target == "tree"
    first, second, third = server.requests
    assert second["messages"][:2] == first["messages"]
    assert second["messages"][3]["content"].endswith(f"{REQUEST.prompt}\n")
    assert Scene.model_validate_json(second["messages"][2]["content"]) == Scene.model_validate(broken)
    assert reason in second["messages"][3]["content"]
    assert conversation(third) == ["system", "user"]


@pytest.mark.parametrize(("change", "reason"), SCENE_DEFECTS)
def test_what_the_model_does_not_mend_is_mended_by_rule_after_two_repairs(
    server, planner, replies, scene, movements, change, reason
):
    broken = spoilt(scene, *change)
    server.replies = replies(broken, broken, broken, movements)
    made = plan(planner, REQUEST)
    assert len(server.requests) == COMPLETIONS == 4
    assert [conversation(request)[2:] for request in server.requests] == [
        [],
        ["assistant", "user"],
        ["assistant", "user"],
        [],
    ]
    assert made.depth_order == ("car", "tree")
    assert all(relation.target == "tree" for relation in made.graph.relations)
    assert made.graph["car"].parent is None


def test_a_node_that_is_there_twice_with_two_meanings_is_not_mended(server, planner, replies, scene):
    scene["instances"].append(spoilt(scene["instances"][0], "node", "label", "motionless"))
    server.replies = replies(scene)
    with pytest.raises(PlanningFailed, match="car is used more than once") as failure:
        plan(planner, REQUEST)
    assert failure.value.violations
    assert len(server.requests) == 3


def test_two_things_with_one_id_are_told_apart(server, planner, replies, scene, movements):
    scene["instances"][1]["node"] |= {"id": "car", "name": "blue car", "label": "rigid"}
    scene |= {"relations": [], "depth_order": ["car"]}
    movements["movements"][1]["cues"] |= {"instance": "car_1", "phases": [{"label": "rigid", "direction": "left"}]}
    server.replies = replies(scene, scene, scene, movements)
    made = plan(planner, REQUEST)
    assert [instance.name for instance in made.graph.instances] == ["red car", "blue car"]
    assert made.depth_order == ("car", "car_1")


def test_a_node_that_is_there_twice_alike_is_kept_once(server, planner, replies, scene, movements):
    scene["instances"].append(scene["instances"][0])
    server.replies = replies(scene, scene, scene, movements)
    assert plan(planner, REQUEST).graph.ids == ("car", "tree")


def test_what_the_parser_sees_and_the_model_does_not_goes_back(server, connect, parser, replies, scene, movements):
    without = spoilt(scene, "relations", []) | {"instances": scene["instances"][:1], "depth_order": ["car"]}
    server.replies = replies(without, scene, movements)
    assert plan(LanguageModelPlanner(connect(), parser), REQUEST).graph.ids == ("car", "tree")
    assert "the prompt speaks of 'tree', of which 1 more should be" in server.requests[1]["messages"][3]["content"]


def test_what_the_model_leaves_out_all_the_same_is_added_by_rule(server, connect, parser, replies, scene, movements):
    without = spoilt(scene, "relations", []) | {"instances": scene["instances"][:1], "depth_order": ["car"]}
    server.replies = replies(without, without, without, movements)
    explained = explained_plan(LanguageModelPlanner(connect(), parser), REQUEST)
    assert explained.plan.graph.ids == ("car", "tree")
    assert explained.plan.graph["tree"].label == "motionless"
    assert "tree" in server.requests[3]["messages"][1]["content"]
    (label,) = [reason for reason in explained.reasons if (reason.about, reason.instance) == (About.LABEL, "tree")]
    assert label.why.startswith("repaired by rule")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("movements", 0, "cues", "phases", 0, "target", "tree"), "target and goal go together"),
        (("movements", 1, "cues", "phases", 0, "direction", "up"), "a motionless phase has no direction"),
        (("movements", 0, "cues", "instance", "house"), "cues must list every instance once"),
    ],
)
def test_what_is_wrong_with_the_movements_goes_back_and_the_scene_stays(
    server, planner, replies, scene, movements, change, reason
):
    broken = spoilt(movements, *change)
    server.replies = replies(scene, broken, movements)
    plan(planner, REQUEST)
    _, second, third = server.requests
    assert third["messages"][:2] == second["messages"]
    assert json.loads(third["messages"][2]["content"]) == broken
    assert reason in third["messages"][3]["content"]

    server.requests.clear()
    server.replies = replies(scene, broken)
    with pytest.raises(PlanningFailed, match=reason) as failure:
        plan(planner, REQUEST)
    assert failure.value.violations
    assert len(server.requests) == COMPLETIONS


def test_what_is_motionless_and_only_moves_goes_back_and_stays_in_the_end(server, planner, replies, scene, movements):
    broken = spoilt(movements, "movements", 1, "cues", "phases", 0, {"label": "rigid", "direction": "up"})
    server.replies = replies(scene, broken)
    made = plan(planner, REQUEST)
    assert "'tree' is motionless in the graph, but in no phase" in server.requests[2]["messages"][3]["content"]
    assert len(server.requests) == COMPLETIONS
    assert len(set(made.tracks[1].boxes)) == 1


def test_a_label_that_no_phase_has_is_no_matter_of_repair(server, planner, replies, scene, movements):
    """The commonest failure of small models."""
    server.replies = replies(scene, spoilt(movements, "movements", 0, "cues", "phases", 0, "label", "motionless"))
    made = plan(planner, REQUEST)
    assert len(server.requests) == 2
    assert made.tracks[0].phases[0].label == "rigid"
    assert made.tracks[0].boxes[-1].x0 > made.tracks[0].boxes[0].x0 + 0.2


def test_movements_are_mended_by_rule_where_there_is_one_way_to(server, planner, replies, scene, movements):
    house = spoilt(movements["movements"][0], "cues", "instance", "house")
    movements["movements"] = [movements["movements"][0], movements["movements"][0], house]  # and none of the tree
    server.replies = replies(scene, movements)
    explained = explained_plan(planner, REQUEST)
    assert len(server.requests) == COMPLETIONS
    assert explained.plan.graph.ids == ("car", "tree")
    assert len(set(explained.plan.tracks[1].boxes)) == 1
    (cue,) = [reason for reason in explained.reasons if (reason.about, reason.instance) == (About.CUE, "tree")]
    assert cue.why == "repaired by rule: it is motionless"


def test_a_plan_that_breaks_a_rule_goes_back_as_movements(server, planner, replies, scene, movements):
    scene["relations"][0]["phrase"] = "moves toward"  # but it is sent away
    away = spoilt(movements, "movements", 0, "cues", "phases", [{"label": "rigid", "direction": "left"}])
    toward = [{"label": "rigid", "target": "tree", "goal": "toward"}]
    server.replies = replies(scene, away, spoilt(movements, "movements", 0, "cues", "phases", toward))
    plan(planner, REQUEST)
    assert len(server.requests) == 3
    returned, reasons = server.requests[2]["messages"][2:]
    assert json.loads(returned["content"]) == away
    assert "dynamic_relations_hold: 'car' is not 'moves toward' 'tree'" in reasons["content"]

    server.requests.clear()
    server.replies = replies(scene, away)
    with pytest.raises(PlanningFailed, match="'car' is not 'moves toward' 'tree'"):
        plan(planner, REQUEST)
    assert len(server.requests) == COMPLETIONS


def test_an_order_that_contradicts_behind_is_the_scenes_to_mend(server, planner, replies, scene, movements):
    """The car comes first in it, as if it were nearer."""
    scene["relations"] = [{"source": "car", "target": "tree", "kind": "spatial", "phrase": "behind"}]
    standing = spoilt(movements, "movements", 0, "cues", "phases", [{"label": "rigid"}])
    server.replies = replies(scene, scene | {"depth_order": ["tree", "car"]}, standing)
    assert plan(planner, REQUEST).depth_order == ("tree", "car")
    reasons = server.requests[1]["messages"][-1]["content"]
    assert "depth_order: 'car' is farther than 'tree' by relation 0: name it later" in reasons


def test_a_truncated_answer_is_asked_for_again_without_being_repeated(
    server, planner, reply, replies, scene, movements
):
    cut = reply(json.dumps(scene)[:100], finish_reason="length")
    server.replies = [cut, *replies(scene, movements)]
    plan(planner, REQUEST)
    *asked, repair = server.requests[1]["messages"]
    assert asked == server.requests[0]["messages"]
    assert f"cut off at {MAXIMUM_TOKENS} tokens: be shorter" in repair["content"]


def test_garbage_fails_after_two_repairs(server, planner, reply):
    server.replies = [reply("I would rather not.")]
    with pytest.raises(PlanningFailed, match="Invalid JSON"):
        plan(planner, REQUEST)
    assert len(server.requests) == 3


def test_a_server_that_is_down_is_no_matter_of_repair(server, planner, reply):
    server.replies = [reply(status=500)]
    with pytest.raises(LanguageModelUnavailable):
        plan(planner, REQUEST)
    assert len(server.requests) == 1
