"""The OpenAPI document: sound in itself, and true of the answers."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from generator_service.api.app import create_app
from generator_service.contract.request import JobRequest
from generator_service.settings import Settings, StorageSettings

Schema = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Schema:
    return create_app(Settings(storage=StorageSettings(url="memory://"))).openapi()


def operations(document: Schema) -> Iterator[tuple[str, Schema]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def references(node: Any) -> Iterator[str]:
    match node:
        case dict():
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for child in node.values():
                yield from references(child)
        case list():
            for child in node:
                yield from references(child)


def test_every_reference_leads_somewhere(document):
    found = set(references(document))
    assert "#/components/schemas/JobView" in found
    for reference in found:
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_schema_is_a_schema(document):
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_operation_says_what_it_is(document):
    names = []
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert len(operation["tags"]) == 1, name
        names.append(operation["operationId"])
    assert len(set(names)) == len(names) == 28


def test_every_error_is_documented_as_a_problem(document):
    for name, operation in operations(document):
        errors = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        assert {"422", "503"} <= set(errors), name
        for status, answer in errors.items():
            assert list(answer["content"]) == ["application/problem+json"], (name, status)
            assert answer["content"]["application/problem+json"]["schema"]["$ref"].endswith("/Problem")
        if "{job_id}" in name:
            assert "404" in errors, name


def test_the_headers_of_every_answer_are_documented(document):
    headers = document["components"]["headers"]
    assert all(header["required"] and header["description"] for header in headers.values())
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            again = status in ("429", "503")
            expected = {"X-Request-Id", "Retry-After"} if again else {"X-Request-Id"}
            told = {name for name, its in answer["headers"].items() if its == {"$ref": f"#/components/headers/{name}"}}
            assert told == expected, (name, status)
    submit = document["paths"]["/jobs"]["post"]["responses"]
    assert set(submit) >= {"202", "410", "413", "422", "429", "503"}
    assert "Location" in submit["202"]["headers"]


def test_answers_have_the_headers_that_are_documented(document, serve, redis_url):
    schemas = {name: header["schema"] for name, header in document["components"]["headers"].items()}
    with serve(redis_url=redis_url, queue_limit=1) as api:
        answers = [api.http.post("/jobs", json={"prompt": "a cat"}) for _ in range(2)]
        answers += [api.http.get("/jobs/1"), api.http.get("/ready"), api.http.get("/nowhere")]
    assert [answer.status_code for answer in answers] == [202, 429, 422, 503, 404]
    for answer in answers:
        jsonschema.validate(answer.headers["X-Request-Id"], schemas["X-Request-Id"])
        if answer.status_code in (429, 503):
            jsonschema.validate(int(answer.headers["Retry-After"]), schemas["Retry-After"])


def test_examples_of_a_request_are_valid_together(document):
    properties = document["components"]["schemas"]["JobRequest"]["properties"]
    example = {name: schema["examples"][0] for name, schema in properties.items() if "examples" in schema}
    assert {"prompt", "steps", "frames"} <= set(example)
    JobRequest.model_validate(example).settings()


def test_the_examples_of_post_jobs_are_accepted(document, api):
    examples = document["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == {"prompt", "settings", "guidance", "plain", "plan"}
    for example in examples.values():
        assert api.http.post("/jobs", json=example["value"]).status_code == 202


def test_answers_match_their_schemas(document, api):
    def check(path: str, template: str, status: int = 200) -> None:
        answer = api.http.get(path)
        assert answer.status_code == status
        content = document["paths"][template]["get"]["responses"][str(status)]["content"]
        schema = content[answer.headers["content-type"]]["schema"]
        jsonschema.Draft202012Validator({**document, **schema}).validate(answer.json())

    job = api.submit()
    api.start(job)
    check(f"/jobs/{job}", "/jobs/{job_id}")
    check(f"/jobs/{job}/content", "/jobs/{job_id}/content", 409)
    check(f"/jobs/{'0' * 32}", "/jobs/{job_id}", 404)
    check("/jobs/1", "/jobs/{job_id}", 422)
    api.finish(job)
    check(f"/jobs/{job}", "/jobs/{job_id}")
    check("/jobs", "/jobs")
    check("/backbones", "/backbones")
    check("/health", "/health")
    check("/ready", "/ready", 503)


def test_an_event_matches_its_schema(document, api):
    job = api.submit()
    api.parts.store.cancel(job)
    lines = api.http.get(f"/jobs/{job}/events").text.split("\r\n")[:3]
    told = dict(line.split(": ", 1) for line in lines)
    responses = document["paths"]["/jobs/{job_id}/events"]["get"]["responses"]
    schema = responses["200"]["content"]["text/event-stream"]["itemSchema"]
    jsonschema.Draft202012Validator(schema).validate(told)
    view = schema["properties"]["data"]["contentSchema"]
    jsonschema.Draft202012Validator({**document, **view}).validate(json.loads(told["data"]))


def test_the_document_and_its_pages_are_served(api, document):
    assert api.http.get("/openapi.json").json() == document
    assert document["info"]["title"] == "Motion-Factorized Video"
    assert api.http.get("/docs").status_code == 200
