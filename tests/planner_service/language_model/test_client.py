"""The client of an OpenAI-compatible server, against one that behaves well and badly, over real sockets."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from planner_service.language_model.answers import Scene
from planner_service.language_model.circuit import Circuit
from planner_service.language_model.client import ATTEMPTS, BadAnswer
from shared.errors import LanguageModelUnavailable, PlanningFailed

MESSAGES = [{"role": "user", "content": "plan"}]


def test_what_is_asked(server, connect, replies, scene):
    server.replies = replies(scene)
    assert connect(key="secret").complete(MESSAGES, Scene, 7).background == "a road"
    (asked,) = server.requests
    assert asked["path"] == "/v1/chat/completions"
    assert asked["key"] == "Bearer secret"
    assert (asked["model"], asked["temperature"], asked["seed"]) == ("test-model", 0, 7)
    assert asked["messages"] == MESSAGES
    assert asked["response_format"]["type"] == "json_schema"
    assert asked["response_format"]["json_schema"] == {"name": "scene", "schema": Scene.model_json_schema()}


def test_a_narrower_schema_is_sent_in_place_of_the_answers_own(server, connect, replies, scene):
    server.replies = replies(scene)
    connect().complete(MESSAGES, Scene, 7, {"type": "object"})
    assert server.requests[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_a_cut_off_answer_that_happens_to_be_whole_is_not_trusted(server, connect, reply, scene):
    server.replies = [reply(json.dumps(scene), finish_reason="length")]
    with pytest.raises(BadAnswer, match="cut off") as caught:
        connect().complete(MESSAGES, Scene, 0)
    assert caught.value.text == ""


@pytest.mark.parametrize(("content", "reason"), [("I would rather not.", "Invalid JSON"), ("{}", "Field required")])
def test_an_answer_that_is_not_the_schema(server, connect, reply, content, reason):
    server.replies = [reply(content)]
    with pytest.raises(BadAnswer, match=reason) as caught:
        connect().complete(MESSAGES, Scene, 0)
    assert caught.value.text == content
    assert caught.value.violations


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_busy_server_is_asked_again(server, connect, reply, replies, scene, status):
    server.replies = [reply(status=status), *replies(scene)]
    assert connect().complete(MESSAGES, Scene, 0).background == "a road"
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_stays_busy_is_unavailable(server, connect, reply, status):
    server.replies = [reply(status=status)]
    with pytest.raises(LanguageModelUnavailable, match=str(status)):
        connect().complete(MESSAGES, Scene, 0)
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize("status", [302, 401, 403, 404, 500, 504])
def test_a_broken_server_or_a_wrong_model_is_not_asked_again(server, connect, reply, status):
    server.replies = [reply(status=status)]
    with pytest.raises(LanguageModelUnavailable, match=f"scripted {status}"):
        connect().complete(MESSAGES, Scene, 0)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_the_server_refuses_fails_the_planning(server, connect, reply, status):
    server.replies = [reply(status=status)]
    with pytest.raises(PlanningFailed, match=f"scripted {status}"):
        connect().complete(MESSAGES, Scene, 0)
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"choices": []}', b"[1]", b"\xff\xfe"])
def test_a_body_that_is_no_completion(server, connect, reply, body):
    server.replies = [reply(body=body)]
    with pytest.raises(LanguageModelUnavailable, match="no completion"):
        connect().complete(MESSAGES, Scene, 0)
    assert len(server.requests) == 1


def test_a_connection_that_breaks_is_not_asked_again(server, connect, reply, scene):
    server.replies = [reply(json.dumps(scene), breaks_off=True)]
    with pytest.raises(LanguageModelUnavailable, match="cannot be reached"):
        connect().complete(MESSAGES, Scene, 0)
    assert len(server.requests) == 1


def test_a_silent_server_is_given_up_and_not_asked_again(server, connect, reply, stopwatch):
    server.replies = [reply("{}", delay=60.0)]
    with pytest.raises(LanguageModelUnavailable, match="in time"):
        connect(seconds=0.3).complete(MESSAGES, Scene, 0)
    assert stopwatch() < 10
    assert len(server.requests) == 1


def test_a_server_that_dribbles_is_given_up_though_every_byte_comes_in_time(server, connect, reply, stopwatch):
    server.replies = [reply("{}" * 1000, dribble=0.1)]  # 200 s and more in all
    with pytest.raises(LanguageModelUnavailable, match="in time"):
        connect(seconds=0.5).complete(MESSAGES, Scene, 0)
    assert stopwatch() < 10


def test_no_server_at_all(connect):
    with pytest.raises(LanguageModelUnavailable, match="cannot be reached"):
        connect(url=f"http://127.0.0.1:{unused_port()}/v1").complete(MESSAGES, Scene, 0)


def test_no_more_requests_at_once_than_connections(server, connect, reply, scene):
    server.replies = [reply(json.dumps(scene), delay=60.0)]
    language_model = connect(seconds=30.0, connections=2)
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(language_model.complete, MESSAGES, Scene, seed) for seed in range(5)]
        assert server.asked(2)
        assert not server.asked(3, seconds=0.3)
        server.released.set()
        assert {answer.result().background for answer in answers} == {"a road"}
    assert len(server.requests) == 5


def test_waiting_for_a_connection_counts_for_the_deadline(server, connect, reply, stopwatch):
    server.replies = [reply("{}", delay=60.0)]
    language_model = connect(seconds=0.5, connections=1)
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(language_model.complete, MESSAGES, Scene, 0) for _ in range(3)]
        for answer in answers:
            with pytest.raises(LanguageModelUnavailable, match="in time"):
                answer.result()
    assert stopwatch() < 10


def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    "bad",
    [{"status": 500}, {"status": 503}, {"body": b"<html>"}, {"content": "{}", "breaks_off": True}, {"status": 302}],
)
def test_a_server_that_keeps_failing_is_left_alone_for_a_while(server, connect, reply, replies, scene, bad):
    clock = Clock()
    language_model = connect(circuit=Circuit(threshold=2, rest=20.0, clock=clock))
    server.replies = [reply(**bad)]
    for _ in range(2):
        with pytest.raises(LanguageModelUnavailable):
            language_model.complete(MESSAGES, Scene, 0)
    asked = len(server.requests)
    with pytest.raises(LanguageModelUnavailable, match="left alone: 2 failures in a row"):
        language_model.complete(MESSAGES, Scene, 0)
    assert len(server.requests) == asked

    clock.now = 20.0
    server.replies = replies(scene)
    assert language_model.complete(MESSAGES, Scene, 0).background == "a road"
    assert language_model.complete(MESSAGES, Scene, 0).background == "a road"


@pytest.mark.parametrize("fine", [{"status": 429}, {"status": 400}, {"status": 404}, {"content": "no JSON"}])
def test_a_server_that_answers_for_itself_is_not_left_alone(server, connect, reply, fine: dict[str, Any]):
    language_model = connect(circuit=Circuit(threshold=2, rest=20.0, clock=Clock()))
    server.replies = [reply(**fine)]
    for _ in range(4):
        with pytest.raises((LanguageModelUnavailable, PlanningFailed, BadAnswer)):
            language_model.complete(MESSAGES, Scene, 0)
    assert len(server.requests) == 4 * (ATTEMPTS if fine == {"status": 429} else 1)


def test_ready_means_a_completion(server, connect, reply):
    language_model = connect()
    server.replies = [reply("yes", finish_reason="length")]
    language_model.check()
    assert server.requests[0]["max_tokens"] < 10
    for bad in (404, 400, 500):
        server.replies = [reply(status=bad)]
        with pytest.raises(LanguageModelUnavailable):
            language_model.check()


def test_closing_ends_the_thread(connect):
    before = threading.active_count()
    language_model = connect()
    assert threading.active_count() > before
    language_model.close()
    assert threading.active_count() == before
