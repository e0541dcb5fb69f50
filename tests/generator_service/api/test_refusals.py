"""Whatever arrives, the answer is problem+json that says what is wrong; nothing that a client sends gives a 5xx."""

import gzip
import io
import json
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from deploy.servers import LOOPBACK, free_ports
from generator_service.api.direct import MAXIMUM_COMMAS
from generator_service.contract.backbones import BACKBONES
from generator_service.contract.request import JobRequest
from shared.motion_graph import MAXIMUM_INSTANCES
from shared.plan import MAXIMUM_FRAMES

JSON = {"Content-Type": "application/json"}

MALFORMED = {
    "nothing": b"",
    "broken": b"{",
    "no JSON": b"prompt=a+car",
    "not UTF-8": b'{"prompt": "\xff\xfe"}',
    "only bad bytes": b"\xff",
    "null": b"null",
    "list": b"[]",
    "string": b'"a red car"',
    "empty": b"{}",
    "NaN": b'{"prompt": "a", "guidance_scale": NaN}',
    "infinity": b'{"prompt": "a", "guidance_scale": Infinity}',
    "minus infinity": b'{"prompt": "a", "seed": -Infinity}',
    "float overflow": b'{"prompt": "a", "guidance_scale": 1e999}',
    "endless integer": b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}",
    "large integer": b'{"prompt": "a", "seed": ' + b"9" * 400 + b"}",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"plan":' * 50_000,
    "deep and closed": b'{"plan": ' + b"[" * 900 + b"]" * 900 + b"}",
    "half a surrogate pair": rb'{"prompt": "\ud800"}',
    "half a surrogate pair as a name": rb'{"prompt": "a", "\ud800": 1}',
    "half a surrogate pair in metadata": rb'{"prompt": "a", "metadata": {"\udfff": "x"}}',
    "empty prompt": b'{"prompt": ""}',
    "blank prompt": b'{"prompt": " \\n\\t "}',
    "prompt of wrong type": b'{"prompt": 1}',
    "unknown field": b'{"prompt": "a", "promt": "b"}',
    "prototype": b'{"prompt": "a", "__proto__": {}, "constructor": {}}',
    "metadata of wrong type": b'{"prompt": "a", "metadata": {"a": {"b": 1}}}',
    "too many metadata": json.dumps({"prompt": "a", "metadata": {str(n): "" for n in range(17)}}).encode(),
    "boolean steps": b'{"prompt": "a", "steps": "many"}',
    "empty plan": b'{"plan": {}}',
    "prompt and plan": b'{"prompt": "a", "plan": {}}',
    "unknown planner": b'{"prompt": "a", "planner": "gpt"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_bodies_are_invalid_requests(api, problem, body):
    problem(api.http.post("/jobs", content=body, headers=JSON), 422, "invalid_request")
    assert sum(api.parts.store.counts().values()) == 0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(sorted(JobRequest.model_fields)) | st.text(max_size=10)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(NAMES, VALUES, max_size=6) | VALUES)
def test_no_json_gives_a_5xx(api, problem, body):
    answer = api.http.post("/jobs", content=json.dumps(body), headers=JSON)
    if answer.status_code != 202:
        problem(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    ("fields", "field", "part_of_message"),
    [
        ({"backbone": "sora"}, "backbone", "emoji-world, cogvideox-2b"),
        ({"frames": 10}, "frames", "9, not 10"),
        ({"backbone": "cogvideox-2b", "frames": 50}, "frames", "9 to 49 in steps of 8"),
        ({"width": 97}, "width", "96, not 97"),
        ({"steps": 201}, "steps", "at most 200"),
        ({"steps": 0}, "steps", "greater than or equal to 1"),
        ({"prompt": "a" * 2001}, "prompt", "at most 2000 characters"),
        ({"prompt": ""}, "prompt", "at least 1 character"),
        ({"prompt": "a red\x00 car"}, "prompt", "control characters, but holds U+0000"),
        ({"prompt": "\x1b[31mred\x7f"}, "prompt", "control characters, but holds U+001B"),
        ({"prompt": "?! ... \u3002 +\u200b"}, "prompt", "not punctuation alone"),
        ({"seed": 2**32}, "seed", "less than or equal to 4294967295"),
        ({"fps": 61}, "fps", "less than or equal to 60"),
        ({"guidance_scale": 0.5}, "guidance_scale", "greater than or equal to 1"),
        ({"metadata": {"k": "v" * 501}}, "metadata.k", "at most 500 characters"),
        ({"metadata": {"k" * 65: ""}}, f"metadata.{'k' * 65}.[key]", "at most 64 characters"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "at most 16 items"),
        ({"guidance": {"layers": [0] * 65}}, "guidance.layers", "at most 64 items"),
        ({"frmes": 9}, "frmes", "not permitted"),
    ],
)
def test_a_refusal_names_field_and_limit(api, problem, fields, field, part_of_message):
    found = problem(api.http.post("/jobs", json={"prompt": "a red car"} | fields), 422, "invalid_request")
    assert [violation.field for violation in found.violations] == [field]
    assert part_of_message in found.violations[0].message
    assert part_of_message in found.detail


def test_a_plan_that_breaks_a_rule_is_told_which(api, problem, plan):
    broken = plan.model_dump(mode="json")
    broken["tracks"][0]["boxes"][4] = [0.5, 0.4, 1.2, 0.6]
    found = problem(api.http.post("/jobs", json={"plan": broken}), 422, "invalid_request")
    assert [violation.field for violation in found.violations] == ["plan.tracks.0.boxes.4.2"]

    short = plan.model_dump(mode="json")
    short["tracks"][0]["boxes"].pop()
    found = problem(api.http.post("/jobs", json={"plan": short}), 422, "invalid_request")
    assert "the phases span 9 frames, but there are 8 boxes" in found.detail


def test_a_plan_of_another_length_than_the_video_is_refused(api, problem, plan):
    request = {"plan": plan.model_dump(mode="json"), "backbone": "cogvideox-2b", "frames": 17}
    found = problem(api.http.post("/jobs", json=request), 422, "invalid_request")
    assert [violation.field for violation in found.violations] == ["plan.tracks"]


def test_many_mistakes_make_a_short_answer(api, problem):
    answer = api.http.post("/jobs", json={f"field{n}": n for n in range(900)})
    assert len(problem(answer, 422, "invalid_request").violations) == 50
    answer = api.http.post("/jobs", json={f"field{n}": n for n in range(20_000)})
    found = problem(answer, 422, "invalid_request")
    assert found.detail == "20000 mistakes, too many to name"


FULL = 2**21 - 100
"""Bytes."""


@pytest.mark.parametrize(
    ("start", "item", "end"),
    [
        ('{"plan": {"graph": {"instances": [', "{}", "]}}}"),
        ('{"plan": {"tracks": [{"boxes": [', "{}", "]}]}}"),
        ('{"metadata": {', '"a": 1', "}}"),
        ('{"guidance": {"layers": [', '"a"', "]}}"),
    ],
)
@pytest.mark.parametrize("most", [MAXIMUM_COMMAS, FULL])
def test_a_body_full_of_mistakes_keeps_nobody_waiting(api, problem, start, item, end, most):
    """Seconds and gigabytes, where each mistake is told with what it was made of."""
    body = start + ",".join([item] * min(most, FULL // (len(item) + 1))) + end
    before = psutil.Process().memory_info().rss
    answer = api.http.post("/jobs", content=body.encode(), headers=JSON, timeout=2.0)
    problem(answer, 422, "invalid_request")
    assert psutil.Process().memory_info().rss - before < 100 * 2**20


def test_the_largest_plan_is_no_body_too_full():
    box, phase = [0.125, 0.25, 0.375, 0.5], {"label": "motionless", "start": 0, "end": 0, "absent": False}
    track = {"instance": "a", "boxes": [box] * MAXIMUM_FRAMES, "phases": [phase] * MAXIMUM_FRAMES}
    assert json.dumps([track] * MAXIMUM_INSTANCES).count(",") < 0.8 * MAXIMUM_COMMAS


def test_an_oversized_body_is_refused_by_its_declared_length(api, problem):
    found = problem(api.http.post("/jobs", content=b" " * (2**21 + 1), headers=JSON), 413, "body_too_large")
    assert "2097152 bytes" in found.detail


def test_an_oversized_body_of_no_declared_length_is_refused(api, problem):
    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 100_000

    problem(api.http.post("/jobs", content=chunks(), headers=JSON), 413, "body_too_large")


def test_a_video_of_too_many_pixel_steps_is_refused_before_anything_is_queued(serve, redis_url, problem):
    """9 frames of 96x64 pixels: 55,296 pixel steps for each step."""
    with serve(redis_url=redis_url, maximum_work=55_296 * 30) as api:
        request = {"prompt": "a red car", "steps": 31}
        found = problem(api.http.post("/jobs", json=request), 422, "invalid_request")
        assert [violation.field for violation in found.violations] == ["steps"]
        assert "1,714,176" in found.detail
        assert "1,658,880 are allowed: at most 30 steps" in found.detail
        assert sum(api.parts.store.counts().values()) == 0
        assert api.http.post("/jobs", json=request | {"steps": 30}).status_code == 202


def test_every_backbone_may_do_what_it_does_by_itself_and_no_more_than_twice_the_longest(api, problem, photo):
    file = io.BytesIO()
    photo.save(file, "PNG")
    sent = api.http.post("/images", content=file.getvalue(), headers={"Content-Type": "image/png"}).json()
    for name, spec in BACKBONES.items():
        image = sent["id"] if spec.image == "required" else None
        assert api.http.post("/jobs", json={"prompt": "a red car", "backbone": name, "image": image}).status_code == 202
        assert spec.defaults.steps < spec.maximum_steps
    most = {"prompt": "a red car", "backbone": "wan2.2-ti2v-5b", "steps": 100}
    assert api.http.post("/jobs", json=most).status_code == 202
    problem(api.http.post("/jobs", json=most | {"steps": 101}), 422, "invalid_request")


def test_an_oversized_name_is_not_repeated_at_length(api, problem):
    answer = api.http.post("/jobs", json={"prompt": "a", "x" * 500_000: 1})
    problem(answer, 422, "invalid_request")
    assert len(answer.content) < 1000


def test_a_body_that_is_not_declared_as_json_is_refused(api, problem):
    for declared in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        answer = api.http.post("/jobs", content=b'{"prompt": "a"}', headers=declared)
        found = problem(answer, 415, "unsupported_media_type")
        assert "Content-Type: application/json" in found.detail
    packed = gzip.compress(b'{"prompt": "a"}')
    answer = api.http.post("/jobs", content=packed, headers=JSON | {"Content-Encoding": "gzip"})
    assert "without Content-Encoding" in problem(answer, 415, "unsupported_media_type").detail


def test_unknown_paths_and_methods_are_problems(api, problem):
    for path in ("/nothing/here", "/jobs/", "/health/"):  # and no redirect, to whatever host the client names
        problem(api.http.get(path, headers={"Host": "evil.example"}), 404, "not_found")
    answer = api.http.put("/jobs")
    problem(answer, 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/jobs", "GET, HEAD, POST"),
        (f"/jobs/{'0' * 32}", "DELETE, GET, HEAD"),
        (f"/jobs/{'0' * 32}/cancel", "POST"),
        ("/health", "GET, HEAD"),
        ("/docs", "GET, HEAD"),
    ],
)
def test_a_refused_method_is_told_all_that_are_allowed(api, path, allowed):
    answer = api.http.put(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_a_surprise_is_a_500_without_internals(api, problem, monkeypatch):
    async def surprise(_: str, **submits: str) -> None:
        raise RuntimeError("redis password is hunter2")

    monkeypatch.setattr(api.parts.reader, "find", surprise)
    with capture_logs() as logs:
        answer = api.http.get(f"/jobs/{'0' * 32}")
    problem(answer, 500, "internal")
    assert "hunter2" not in answer.text
    assert [(entry["event"], entry["path"]) for entry in logs] == [("request_failed", f"/jobs/{'0' * 32}")]
    assert "hunter2" in str(logs[0]["exc_info"])


def test_without_redis_the_answer_is_503_and_says_when_to_come_back(serve, problem):
    with serve(redis_url=f"redis://{LOOPBACK}:{free_ports(1)[0]}/0") as api:
        answer = api.http.post("/jobs", json={"prompt": "a red car"})
        assert problem(answer, 503, "unavailable").retryable
        assert int(answer.headers["retry-after"]) > 0
        problem(api.http.get(f"/jobs/{'0' * 32}"), 503, "unavailable")
        problem(api.http.get(f"/jobs/{'0' * 32}/events"), 503, "unavailable")
        problem(api.http.get("/backbones"), 503, "unavailable")
