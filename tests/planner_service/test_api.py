"""The HTTP interface, over the application itself."""

import re

import pytest
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from planner_service.api import create_app
from planner_service.language_model.circuit import Circuit
from planner_service.language_model.planner import LanguageModelPlanner
from shared.errors import PROBLEM_MEDIA_TYPE
from shared.plan import Plan

PROMPT = "a red car drives to the right while a tree stands still"


@pytest.fixture
def client(parser):
    with TestClient(create_app({"parser": parser}, maximum_body_bytes=2048), raise_server_exceptions=False) as client:
        yield client


def test_a_prompt_becomes_a_plan(client):
    response = client.post("/plans", json={"prompt": PROMPT, "frames": 13, "width": 64, "height": 48, "seed": 3})
    assert response.status_code == 200
    plan = Plan.model_validate(response.json())
    assert plan.frames == 13
    assert [instance.name for instance in plan.graph.instances] == ["red car", "tree"]
    assert plan.provenance.planner == "parser"
    assert plan.provenance.seed == 3
    assert plan.provenance.hash == plan.content_hash


def test_the_same_request_gives_the_same_plan(client):
    body = {"prompt": "three dogs and a cat run to the left", "frames": 16, "seed": 5}
    assert client.post("/plans", json=body).content == client.post("/plans", json=body).content


def test_explained_it_is_the_same_plan_with_its_reasons(client):
    body = {"prompt": PROMPT, "frames": 13}
    explained = client.post("/plans", params={"explain": "true"}, json=body).json()
    assert set(explained) == {"plan", "reasons"}
    assert explained["plan"] == client.post("/plans", json=body).json()
    document = client.get("/openapi.json").json()["paths"]["/plans"]["post"]
    assert [parameter["name"] for parameter in document["parameters"]] == ["explain"]


def test_another_seed_gives_another_layout(client):
    plans = [client.post("/plans", json={"prompt": PROMPT, "seed": seed}).json() for seed in (1, 2)]
    assert plans[0]["tracks"] != plans[1]["tracks"]
    assert plans[0]["graph"] == plans[1]["graph"]


@pytest.mark.parametrize(
    ("change", "field", "limit"),
    [
        ({"frames": 7}, "frames", "8"),
        ({"frames": 242}, "frames", "241"),
        ({"prompt": ""}, "prompt", "1"),
        ({"prompt": "a" * 2001}, "prompt", "2000"),
        ({"width": 8}, "width", "16"),
        ({"width": "64"}, "width", "integer"),
        ({"frames": "9"}, "frames", "integer"),
        ({"seed": False}, "seed", "integer"),
        ({"planner": "oracle"}, "planner", "parser"),
        ({"seed": -1}, "seed", "0"),
        ({"fps": 8}, "fps", "not permitted"),
    ],
)
def test_what_is_wrong_is_named_with_its_limit(parser, change, field, limit):
    with TestClient(create_app({"parser": parser}, maximum_body_bytes=8192)) as client:
        response = client.post("/plans", json={"prompt": PROMPT} | change)
    assert response.status_code == 422
    assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE
    problem = response.json()
    assert problem["code"] == "invalid_request"
    (violation,) = problem["violations"]
    assert violation["field"] == field
    assert limit in violation["message"]


def test_a_prompt_without_words_cannot_be_planned(client):
    response = client.post("/plans", json={"prompt": "12 34 !?"})
    assert response.status_code == 422
    assert response.json()["code"] == "nothing_to_draw"
    assert "no word" in response.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"null",
        b"[]",
        b'{"prompt": "a", "seed": ' + b"9" * 1500 + b"}",
        b'{"prompt": "a", "seed": -Infinity}',
        rb'{"prompt": "\ud800"}',
        rb'{"prompt": "a", "\ud800": 1}',
        b'{"prompt": ' + b"[" * 1500,
        b'{"prompt": "a", "url": "http://127.0.0.1/"}',
        b'{"prompt": "a", "model": "/etc/passwd"}',
    ],
)
def test_malformed_bodies_are_problems_of_the_client(client, body):
    response = client.post("/plans", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE


def test_a_body_too_large(client):
    response = client.post("/plans", json={"prompt": "a" * 4000})
    assert response.status_code == 413
    assert response.json()["code"] == "body_too_large"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("GET", "/plans", 405)])
def test_unknown_paths_and_methods_are_problems_too(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE


def test_a_planner_that_is_not_configured_is_refused_for_good(client):
    """Not with 503: a plan worker would ask again for minutes."""
    response = client.post("/plans", json={"prompt": PROMPT, "planner": "language-model"})
    assert (response.status_code, response.json()["code"], response.json()["retryable"]) == (
        422,
        "invalid_request",
        False,
    )
    assert [violation["field"] for violation in response.json()["violations"]] == ["planner"]


@pytest.mark.parametrize("body", [b'"\xff"', b"[" * 2000, b'{"prompt": '], ids=["not UTF-8", "deep", "half"])
def test_what_cannot_be_read_is_not_valid(client, body):
    response = client.post("/plans", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(("token", "asked"), [(None, False), ("token-between-us", True)])
def test_the_document_asks_for_a_token_where_the_service_does(parser, token, asked):
    document = create_app({parser.name: parser}, 65536, token=token).openapi()
    assert ("security" in document["paths"]["/plans"]["post"]) is asked
    assert {"401", "413", "422", "503"} <= set(document["paths"]["/plans"]["post"]["responses"])


def test_auto_prefers_the_language_model_and_parser_can_still_be_asked(
    parser, server, connect, replies, scene, movements
):
    server.replies = replies(scene, movements)
    planners = {"language-model": LanguageModelPlanner(connect()), "parser": parser}
    with TestClient(create_app(planners, 65536)) as client:
        chosen = [
            client.post("/plans", json={"prompt": PROMPT, "planner": planner}).json()["provenance"]["planner"]
            for planner in ("auto", "parser")
        ]
    assert chosen == ["language-model", "parser"]
    assert len(server.requests) == 2


def test_auto_falls_back_to_the_parser_only_where_told_to(parser, server, connect, reply):
    server.replies = [reply(status=500)]
    planners = {"language-model": LanguageModelPlanner(connect(), parser), "parser": parser}
    with TestClient(create_app(planners, 65536)) as client:
        assert client.post("/plans", json={"prompt": PROMPT}).json()["code"] == "language_model_unavailable"
    with TestClient(create_app(planners, 65536, fall_back=True)) as client:
        assert client.get("/ready").status_code == 200
        fallen_back = Plan.model_validate(client.post("/plans", json={"prompt": PROMPT}).json())
        asked = client.post("/plans", json={"prompt": PROMPT, "planner": "language-model"})
    assert (fallen_back.provenance.planner, fallen_back.provenance.instead_of) == ("parser", "language-model")
    assert asked.json()["code"] == "language_model_unavailable"


def test_a_plan_that_failed_is_not_tried_on_the_parser(parser, server, connect, reply):
    server.replies = [reply("no plan")]
    planners = {"language-model": LanguageModelPlanner(connect()), "parser": parser}
    with TestClient(create_app(planners, 65536, fall_back=True)) as client:
        assert client.post("/plans", json={"prompt": PROMPT}).json()["code"] == "planning_failed"


def test_health_readiness_and_metrics(parser, server, connect, reply):
    planners = {"language-model": LanguageModelPlanner(connect(fresh_seconds=0.0)), "parser": parser}
    with TestClient(create_app(planners, 65536)) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 200
        server.replies = [reply(status=500)]
        server.ready = reply("Hello!")
        down = client.get("/ready")
        assert (down.status_code, down.json()["code"]) == (503, "language_model_unavailable")
        assert client.get("/health").status_code == 200
        assert client.post("/plans", json={"prompt": PROMPT}).status_code == 503
        client.post("/plans", json={"prompt": PROMPT, "planner": "parser"})
        metrics = client.get("/metrics").text
    assert 'planner_plans_total{outcome="planned",planner="parser"} 1.0' in metrics
    assert 'planner_plans_total{outcome="language_model_unavailable",planner="language-model"} 1.0' in metrics
    assert 'planner_plan_seconds_count{planner="parser"} 1.0' in metrics


def test_a_caller_hears_when_to_try_again(parser, server, connect, reply):
    server.replies = [reply(status=429, headers={"retry-after": "40"})]
    with TestClient(create_app({"language-model": LanguageModelPlanner(connect())}, 65536)) as client:
        for answer in (client.post("/plans", json={"prompt": PROMPT}), client.get("/ready")):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "40")
    assert len(server.requests) == 1


def test_a_caller_hears_when_the_circuit_closes(parser, server, connect, reply):
    server.replies = [reply(status=500)]
    language_model = connect(circuit=Circuit(threshold=1, rest=20.0))
    with TestClient(create_app({"language-model": LanguageModelPlanner(language_model)}, 65536)) as client:
        answers = [client.post("/plans", json={"prompt": PROMPT}) for _ in range(2)]
    assert [answer.headers.get("retry-after") for answer in answers] == [None, "20"]


def test_a_surprise_is_a_problem_without_its_innards():
    class Broken:
        name = model = version = "broken"

        def read(self, prompt, seed, rejected):
            raise KeyError("secret")

        def check(self):
            pass

    app = create_app({"broken": Broken()}, 65536)
    with TestClient(app, raise_server_exceptions=False) as client, capture_logs() as logs:
        response = client.post("/plans", json={"prompt": PROMPT})
    assert [entry["exc_info"].args for entry in logs if entry["event"] == "unexpected"] == [("secret",)]
    assert response.status_code == 500
    assert response.json()["code"] == "internal"
    assert "secret" not in response.text


def test_openapi_has_examples_that_work(client):
    document = client.get("/openapi.json").json()
    content = document["paths"]["/plans"]["post"]["requestBody"]["content"]["application/json"]
    for example in content["examples"].values():
        assert client.post("/plans", json=example["value"]).status_code == 200


def test_with_a_token_plans_are_made_for_those_who_show_it(parser):
    body = {"prompt": PROMPT}
    with TestClient(create_app({"parser": parser}, 2048, token="between-us")) as client:
        for header in ("", "Bearer", "Bearer between", "Bearer between-us-too", "Basic between-us", "Bearer b\xfc"):
            refused = client.post("/plans", json=body, headers={"Authorization": header.encode("latin-1")})
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
            assert refused.headers["content-type"] == PROBLEM_MEDIA_TYPE
            assert refused.headers["www-authenticate"] == "Bearer"
            assert "between" not in refused.text
        assert client.post("/plans", json=body).status_code == 401
        assert client.post("/plans", json=body, headers={"Authorization": "Bearer between-us"}).status_code == 200
        assert client.get("/ready").status_code == 200


def test_its_documentation_needs_no_other_server(client):
    page = client.get("/docs").text
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert [path.rpartition(".")[2] for path in files] == ["css", "png", "js"]
    assert all(len(client.get(path).raise_for_status().content) > 500 for path in files)
    assert client.get("/docs/", follow_redirects=False).status_code == 404  # and no redirect, to whatever host is named
