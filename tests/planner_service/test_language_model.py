"""The language-model planner against a server that behaves well and badly."""

import json
import socket

import pytest

from planner_service.language_model import ATTEMPTS, BadAnswer
from planner_service.reasoning import Request, plan
from planner_service.thinking import Answer, LanguageModelPlanner
from shared.errors import LanguageModelUnavailable, PlanningFailed
from shared.motion_graph import MotionLabel

REQUEST = Request("a red car drives past a tree", frames=13, width=720, height=480, seed=7)
MESSAGES = [{"role": "user", "content": "plan"}]


def test_a_good_answer_becomes_a_plan(server, connect, reply, good_answer):
    server.replies = [reply(json.dumps(good_answer))]
    made = plan(LanguageModelPlanner(connect(key="secret")), REQUEST)
    assert made.graph.ids == ("car", "tree")
    assert made.frames == 13
    assert made.tracks[0].boxes[-1].x0 > made.tracks[0].boxes[0].x0 + 0.2
    assert made.provenance.planner == "language-model"
    assert made.provenance.model == "test-model"
    assert made.provenance.version.endswith("prompts-1")
    assert made.provenance.hash == made.content_hash
    (asked,) = server.requests
    assert asked["path"] == "/v1/chat/completions"
    assert asked["key"] == "Bearer secret"
    assert (asked["model"], asked["temperature"], asked["seed"]) == ("test-model", 0, 7)
    assert asked["response_format"]["type"] == "json_schema"
    assert asked["response_format"]["json_schema"]["schema"] == Answer.model_json_schema()
    assert asked["messages"][-1] == {"role": "user", "content": REQUEST.prompt}


def test_violations_go_back_once_and_the_repaired_answer_counts(server, connect, reply, good_answer):
    broken = json.loads(json.dumps(good_answer))
    broken["reading"]["graph"]["relations"][0]["target"] = "house"
    server.replies = [reply(json.dumps(broken)), reply(json.dumps(good_answer))]
    made = plan(LanguageModelPlanner(connect()), REQUEST)
    assert made.graph.relations[0].target == "tree"
    first, second = server.requests
    assert second["messages"][:2] == first["messages"]
    assert json.loads(second["messages"][2]["content"]) == broken
    assert "unknown instance 'house'" in second["messages"][3]["content"]


def test_a_reading_that_breaks_a_rule_goes_back_as_the_model_would_write_it(server, connect, reply, good_answer):
    broken = json.loads(json.dumps(good_answer))
    broken["reading"]["graph"]["relations"][0]["phrase"] = "moves toward"  # but its cue takes it past the tree
    broken["reading"]["cues"][0]["phases"][0]["direction"] = "left"
    server.replies = [reply(json.dumps(broken)), reply(json.dumps(good_answer))]
    plan(LanguageModelPlanner(connect()), REQUEST)
    returned, reasons = server.requests[1]["messages"][2:]
    assert Answer.model_validate_json(returned["content"]).reading == Answer.model_validate(broken).reading
    assert "'car' is not 'moves toward' 'tree'" in reasons["content"]


def test_a_truncated_answer_is_asked_for_again_without_being_repeated(server, connect, reply, good_answer):
    whole = json.dumps(good_answer)
    server.replies = [reply(whole[:100], finish_reason="length"), reply(whole)]
    plan(LanguageModelPlanner(connect()), REQUEST)
    *asked, repair = server.requests[1]["messages"]
    assert asked == server.requests[0]["messages"]
    assert "cut off" in repair["content"]
    assert "be shorter" in repair["content"]


def test_a_cut_off_answer_that_happens_to_be_whole_is_not_trusted(server, connect, reply, good_answer):
    server.replies = [reply(json.dumps(good_answer), finish_reason="length")]
    with pytest.raises(BadAnswer, match="cut off"):
        connect().complete(MESSAGES, Answer, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r["graph"]["instances"].append(r["graph"]["instances"][0]), "unique"),
        (lambda r: r["cues"].pop(), "cues must list every instance once"),
        (lambda r: r.pop("background"), "Field required"),
        (lambda r: r["depth_order"].append("car"), "depth_order"),
        (
            lambda r: r["cues"][0]["phases"][0].update(target="house", direction=None, goal="toward"),
            "no other instance",
        ),
        (lambda r: r["cues"][1]["phases"][0].update(direction="up"), "motionless phase has no direction"),
        (lambda r: r["graph"]["relations"][0].update(kind="spatial", phrase="moves toward"), "relations_hold"),
    ],
)
def test_an_answer_that_stays_wrong_fails_with_its_reasons(server, connect, reply, good_answer, change, reason):
    change(good_answer["reading"])
    if reason == "relations_hold":
        good_answer["reading"]["cues"][0]["phases"] = [{"label": "rigid"}]  # it does not move at all
    server.replies = [reply(json.dumps(good_answer))]
    with pytest.raises(PlanningFailed, match=reason) as failure:
        plan(LanguageModelPlanner(connect()), REQUEST)
    assert failure.value.violations
    assert len(server.requests) == 2


def test_garbage_fails_after_one_repair(server, connect, reply):
    server.replies = [reply("I would rather not.")]
    with pytest.raises(PlanningFailed, match="Invalid JSON"):
        plan(LanguageModelPlanner(connect()), REQUEST)
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_busy_server_is_asked_again(server, connect, reply, good_answer, status):
    server.replies = [reply(status=status), reply(json.dumps(good_answer))]
    assert connect().complete(MESSAGES, Answer, 0).reading.background == "a road"
    assert len(server.requests) == 2


def test_a_server_that_stays_busy_is_unavailable(server, connect, reply):
    server.replies = [reply(status=503)]
    with pytest.raises(LanguageModelUnavailable, match="503"):
        connect().complete(MESSAGES, Answer, 0)
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize(("status", "error"), [(500, LanguageModelUnavailable), (404, LanguageModelUnavailable)])
def test_a_broken_server_or_a_wrong_model_is_not_asked_again(server, connect, reply, status, error):
    server.replies = [reply(status=status)]
    with pytest.raises(error, match=f"scripted {status}"):
        connect().complete(MESSAGES, Answer, 0)
    assert len(server.requests) == 1


def test_a_request_the_server_refuses_fails_the_planning(server, connect, reply):
    server.replies = [reply(status=400)]
    with pytest.raises(PlanningFailed, match="scripted 400"):
        connect().complete(MESSAGES, Answer, 0)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"choices": []}', b"[1]", b"\xff\xfe"])
def test_a_body_that_is_no_completion(server, connect, reply, body):
    server.replies = [reply(body=body)]
    with pytest.raises(LanguageModelUnavailable, match="no completion"):
        connect().complete(MESSAGES, Answer, 0)


def test_a_slow_server_is_given_up_and_not_asked_again(server, connect, reply, stopwatch):
    server.replies = [reply("{}", delay=20.0)]
    with pytest.raises(LanguageModelUnavailable, match="in time"):
        connect(seconds=0.3).complete(MESSAGES, Answer, 0)
    assert stopwatch() < 10
    assert len(server.requests) == 1


def test_no_server_at_all(connect):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(LanguageModelUnavailable, match="cannot be reached"):
            connect(url=url).complete(MESSAGES, Answer, 0)


def test_ready_means_a_completion(server, connect, reply):
    planner = LanguageModelPlanner(connect())
    server.replies = [reply("yes", finish_reason="length")]
    planner.check()
    assert server.requests[0]["max_tokens"] < 10
    for bad in (404, 400, 500):
        server.replies = [reply(status=bad)]
        with pytest.raises(LanguageModelUnavailable):
            planner.check()


def test_the_schema_names_every_label():
    assert set(Answer.model_json_schema()["$defs"]["MotionLabel"]["enum"]) == {label.value for label in MotionLabel}
