"""Every answer, problems of every origin included, says the request's id; a job remembers the one it came by."""

import pytest
from structlog.testing import capture_logs

from deploy.servers import LOOPBACK, free_ports

MINE = {"X-Request-Id": "mine-1"}


def test_a_job_remembers_the_request_that_submitted_it(api):
    answer = api.http.post("/jobs", json={"prompt": "a red car"}, headers=MINE)
    assert answer.headers.get_list("x-request-id") == ["mine-1"]
    look = api.http.get(f"/jobs/{answer.json()['id']}")
    assert look.json()["request_id"] == "mine-1"
    assert look.headers["x-request-id"] != "mine-1"
    assert "traceparent" not in look.json()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/jobs/" + "0" * 32, b"", 404),
        ("GET", "/nowhere", b"", 404),
        ("PUT", "/jobs", b"", 405),
        ("POST", "/jobs", b"{}", 422),
        ("POST", "/jobs", b" " * 3_000_000, 413),
    ],
)
def test_problems_say_it_too(api, method, path, body, status):
    answer = api.http.request(method, path, content=body, headers=MINE | {"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.headers.get_list("x-request-id") == ["mine-1"]
    assert answer.json()["request_id"] == "mine-1"


def test_a_surprise_says_it_in_answer_and_log(api, monkeypatch):
    def break_down(*_, **__):
        raise RuntimeError("no idea")

    monkeypatch.setattr(api.parts.store, "list", break_down)
    with capture_logs() as logs:
        answer = api.http.get("/jobs", headers=MINE)
    assert answer.status_code == 500
    assert answer.headers.get_list("x-request-id") == ["mine-1"]
    assert answer.json()["request_id"] == "mine-1"
    assert [(log["event"], log["request_id"]) for log in logs] == [("request_failed", "mine-1")]


def test_an_outage_says_it(serve):
    with serve(redis_url=f"redis://{LOOPBACK}:{free_ports(1)[0]}/0") as api:
        answer = api.http.get("/jobs", headers=MINE)
    assert (answer.status_code, answer.json()["request_id"]) == (503, "mine-1")
