"""The client of an OpenAI-compatible server, against one that behaves well and badly, over real sockets."""

import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from planner_service.language_model.answers import Scene
from planner_service.language_model.circuit import Circuit
from planner_service.language_model.client import ATTEMPTS, MAXIMUM_BYTES, PATIENCE_SECONDS, BadAnswer
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


@pytest.mark.parametrize(
    "wrapped",
    [
        "```json\nOBJECT\n```",
        "Here is the plan for {car}:\n\n```\nOBJECT\n```\nIs that as you like it?",
        '<think>A car. Perhaps {"background": 1}?</think>\nOBJECT',
        "A car and a tree.</think>OBJECT",
        "\ufeffOBJECT",
        "Sure! OBJECT I hope this helps.",
    ],
)
def test_the_one_object_of_an_answer_counts(server, connect, reply, scene, wrapped):
    server.replies = [reply(wrapped.replace("OBJECT", json.dumps(scene)))]
    assert connect().complete(MESSAGES, Scene, 0).model_dump() == Scene.model_validate(scene).model_dump()


@pytest.mark.parametrize("said", ["OBJECT OBJECT", 'So: {"thoughts": "A car", and: OBJECT'])
def test_of_two_objects_or_a_broken_one_none_counts(server, connect, reply, scene, said):
    server.replies = [reply(said.replace("OBJECT", json.dumps(scene)))]
    with pytest.raises(BadAnswer, match="Invalid JSON"):
        connect().complete(MESSAGES, Scene, 0)


def test_text_parts_are_joined(server, connect, reply, scene):
    written = json.dumps(scene)
    parts = [
        {"type": "thinking", "thinking": "hm"},
        *({"type": "text", "text": text} for text in (written[:50], written[50:])),
    ]
    server.replies = [reply(parts)]
    assert connect().complete(MESSAGES, Scene, 0).background == "a road"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            {"message": {"reasoning_content": "{}"}},
            "no content; finish_reason stop, but reasoning_content; is a reasoning",
        ),
        (
            {"message": {"tool_calls": [{"id": "x"}]}, "finish_reason": "tool_calls"},
            "no content; finish_reason tool_calls",
        ),
        ({"finish_reason": "length"}, "no content; finish_reason length"),
        ({"content": "  "}, "no content; finish_reason stop"),
        ({"content": [{"type": "image_url"}]}, "no content; finish_reason stop"),
    ],
)
def test_an_answer_without_content_is_named(server, connect, reply, bad, said):
    server.replies = [reply(**{"content": None, **bad})]
    with pytest.raises(LanguageModelUnavailable, match=said):
        connect().complete(MESSAGES, Scene, 0)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"content": None, "message": {"refusal": "I cannot draw this."}}, "refuses: I cannot draw this."),
        ({"content": "", "finish_reason": "content_filter"}, "refuses: finish_reason content_filter"),
    ],
)
def test_a_refusal_fails_the_planning(server, connect, reply, bad, said):
    server.replies = [reply(**bad)]
    with pytest.raises(PlanningFailed, match=said):
        connect().complete(MESSAGES, Scene, 0)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"finish_reason": "error", "content": "{"}, "finish_reason error"),
        ({"body": b'{"error": {"message": "out of memory", "code": 500}}'}, "out of memory"),
        ({"body": b'{"object": "error", "message": "busy"}'}, "busy"),
    ],
)
def test_an_error_that_comes_as_200_is_worth_another_try(server, connect, reply, replies, scene, bad, said):
    server.replies = [reply(**bad), *replies(scene)]
    language_model = connect()
    assert language_model.complete(MESSAGES, Scene, 0).background == "a road"
    assert len(server.requests) == 2
    server.replies = [reply(**bad)]
    with pytest.raises(LanguageModelUnavailable, match=said):
        language_model.complete(MESSAGES, Scene, 0)
    assert len(server.requests) == 2 + ATTEMPTS


def test_an_answer_without_end_is_not_read_to_it(server, connect, reply):
    server.replies = [reply("x" * 2 * MAXIMUM_BYTES)]
    with pytest.raises(LanguageModelUnavailable, match=f"more than {MAXIMUM_BYTES} bytes"):
        connect().complete(MESSAGES, Scene, 0)


@pytest.mark.parametrize("status", [429, 503])
def test_a_short_retry_after_is_waited_for(server, connect, reply, replies, scene, status):
    server.replies = [reply(status=status, headers={"retry-after": "1"}), *replies(scene)]
    assert connect().complete(MESSAGES, Scene, 0).background == "a road"
    first, second = server.moments
    assert second - first >= 1.0


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (429, {"retry-after": "30"}),
        (503, {"retry-after": "Sun, 29 Nov 2026 12:00:30 GMT", "date": "Sun, 29 Nov 2026 12:00:00 GMT"}),
    ],
)
def test_a_long_retry_after_is_the_callers_to_wait_for_and_nobody_calls_before_it_is_over(
    server, connect, reply, status, headers
):
    server.replies = [reply(status=status, headers=headers)]
    language_model = connect()
    with pytest.raises(LanguageModelUnavailable, match=f"scripted {status}") as caught:
        language_model.complete(MESSAGES, Scene, 0)
    assert caught.value.retry_after == 30
    for ask in (lambda: language_model.complete(MESSAGES, Scene, 0), language_model.check):
        with pytest.raises(LanguageModelUnavailable, match="left alone: it asks for another 30 s") as caught:
            ask()
        assert caught.value.retry_after == 30
    assert (len(server.requests), len(server.checks)) == (1, 0)


def test_a_retry_after_longer_than_patience_is_cut(server, connect, reply):
    server.replies = [reply(status=429, headers={"retry-after": "86400"})]
    with pytest.raises(LanguageModelUnavailable) as caught:
        connect().complete(MESSAGES, Scene, 0)
    assert caught.value.retry_after == PATIENCE_SECONDS


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


def test_ready_means_that_a_schema_is_obeyed(server, connect):
    connect().check()
    (asked,) = server.checks
    assert asked["response_format"]["json_schema"]["schema"]["properties"]["state"]["const"] == "ready"
    assert "json" not in json.dumps(asked["messages"]).lower()


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"content": "Hello! How can I help?"}, "ignores response_format: 'Hello! How can I help?'"),
        ({"content": '{"greeting": "hello"}'}, "ignores response_format"),
        ({"status": 400}, "scripted 400"),
        ({"status": 404}, "scripted 404"),
        ({"status": 500}, "scripted 500"),
        ({"content": '{"state": "ready"}', "finish_reason": "length"}, "not ready: the answer was cut off"),
        ({"content": None, "message": {"reasoning_content": "hm"}}, "is a reasoning parser"),
    ],
)
def test_not_ready(server, connect, reply, bad, said):
    server.ready = reply(**bad)
    with pytest.raises(LanguageModelUnavailable, match=re.escape(said)):
        connect().check()


def test_readiness_is_asked_for_now_and_then_by_one_at_a_time(server, connect, reply):
    server.ready = reply(status=500)
    language_model = connect()
    with ThreadPoolExecutor(4) as pool:
        checks = [pool.submit(language_model.check) for _ in range(8)]
    assert {type(check.exception()) for check in checks} == {LanguageModelUnavailable}
    assert len(server.checks) == 1


def test_a_plan_shows_that_it_is_ready(server, connect, replies, scene):
    server.replies = replies(scene)
    language_model = connect()
    language_model.complete(MESSAGES, Scene, 0)
    language_model.check()
    assert server.checks == []


def test_while_one_asks_whether_it_is_ready_others_hear_what_it_was(server, connect, reply, stopwatch):
    language_model = connect(fresh_seconds=0.0, seconds=30.0)
    language_model.check()
    server.ready = reply('{"state": "ready"}', delay=60.0)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(language_model.check)
        while len(server.checks) < 2:
            pass
        language_model.check()
        assert not asking.done()
        server.released.set()
    assert stopwatch() < 10


@pytest.mark.parametrize("refused", [{"status": 400}, {"status": 422}])
def test_a_server_that_takes_no_schema_is_not_blamed_on_the_prompt(server, connect, reply, refused):
    server.replies = [reply(**refused)]
    server.ready = reply(**refused)
    with pytest.raises(LanguageModelUnavailable, match=f"scripted {refused['status']}"):
        connect().complete(MESSAGES, Scene, 0)


def test_nor_is_one_that_says_so(server, connect, reply):
    server.replies = [reply(status=400, body=b'{"error": "response_format is not supported"}')]
    with pytest.raises(LanguageModelUnavailable, match="response_format is not supported"):
        connect().complete(MESSAGES, Scene, 0)
    assert server.checks == []


def test_nor_is_one_that_ignores_it(server, connect, reply):
    server.replies = [reply("Sure! The car drives to the right.")]
    server.ready = reply("Hello!")
    with pytest.raises(LanguageModelUnavailable, match="ignores response_format: 'Hello!'"):
        connect().complete(MESSAGES, Scene, 0)


def test_closing_ends_the_thread(connect):
    before = threading.active_count()
    language_model = connect()
    assert threading.active_count() > before
    language_model.close()
    assert threading.active_count() == before
