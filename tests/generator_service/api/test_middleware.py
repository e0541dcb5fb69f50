"""What browsers, proxies and people expect of every route."""

import http.client
import json
import re
from typing import Any

import httpx
import pytest

from deploy.servers import LOOPBACK
from generator_service.api.app import create_app
from generator_service.client import Client
from generator_service.settings import Settings

PAGE = "https://app.example.com"


def readable() -> list[str]:
    paths: dict[str, dict[str, Any]] = create_app(Settings()).openapi()["paths"]
    return [*(path for path, methods in paths.items() if "get" in methods), "/docs", "/openapi.json"]


@pytest.mark.parametrize("path", readable())
def test_head_is_get_without_the_body(api, wait_until, path):
    """Read by http.client, which takes a body after the answer to HEAD for the next answer."""
    job = api.submit()
    running = set(api.server.server_state.tasks)
    address = httpx.URL(api.url)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=20)
    path = path.format(job_id=job)
    for _ in range(2):
        connection.request("HEAD", path)
        answer = connection.getresponse()
        assert answer.read() == b""
    connection.close()
    with api.http.stream("GET", path) as whole:
        told = {name: whole.headers.get(name) for name in ("content-type", "content-length")}
    if path not in ("/metrics", "/overview", "/load"):  # they differ from one moment to the next
        assert (answer.status, {name: answer.headers.get(name) for name in told}) == (whole.status_code, told)
    wait_until(lambda: api.server.server_state.tasks <= running)  # an event stream does not go on


def test_no_answer_runs_or_loads_anything_in_a_browser(api, monkeypatch):
    for path in ("/health", "/nothing", "/jobs", "/metrics"):
        headers = api.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'; img-src 'self'; media-src 'self'; fr")
    assert api.http.post("/jobs", content=b" " * (2**21 + 1)).headers["x-content-type-options"] == "nosniff"
    monkeypatch.delattr(api.parts.store.__class__, "list")
    surprise = api.http.get("/jobs")
    assert (surprise.status_code, surprise.headers["x-content-type-options"]) == (500, "nosniff")


@pytest.mark.parametrize("root", ["", "/video"])
def test_the_documentation_needs_no_other_server(serve, redis_url, root):
    with serve(redis_url=redis_url, root_path=root) as api:
        page = api.http.get("/docs")
        assert "default-src 'none'; connect-src 'self'; style-src 'self'" in page.headers["content-security-policy"]
        assert "//" not in page.headers["content-security-policy"]
        files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert [path.rpartition(".")[2] for path in files] == ["css", "png", "js"]
        for path in files:
            assert path.startswith(f"{root}/static")
            assert len(api.http.get(path).raise_for_status().content) > 500
        (document,) = re.findall(r"url: '([^']+)'", page.text)
        assert api.http.get(document).json()["paths"]


def test_it_may_be_served_under_a_path(serve, redis_url):
    """Behind a proxy that takes the path away, and one that does not."""
    with serve(redis_url=redis_url, root_path="/video") as api:
        for asked in ("", "/video"):
            answer = api.http.post(f"{asked}/jobs", json={"prompt": "a red car"}, headers={"Idempotency-Key": "k"})
            job = answer.json()
            assert answer.headers["location"] == f"/video/jobs/{job['id']}"
            assert job["events_url"] == f"{api.url}/video/jobs/{job['id']}/events"
            assert api.http.get(f"{asked}/jobs/{job['id']}").json()["id"] == job["id"]
        api.start(job["id"])
        api.finish(job["id"])
        with Client(f"{api.url}/video") as client:
            assert client.get(job["id"]).urls.video == f"{api.url}/video/jobs/{job['id']}/content"


def test_a_proxy_is_believed_where_it_is_named(serve, api, redis_url):
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": "evil.example"}
    job = {"prompt": "a red car"}
    assert api.http.post("/jobs", json=job, headers=told).json()["events_url"].startswith(f"{api.url}/")
    with serve(redis_url=redis_url, proxies=[LOOPBACK]) as named:
        url = named.http.post("/jobs", json=job, headers=told).json()["events_url"]
        assert url.startswith(named.url.replace("http:", "https:"))


def test_pages_of_other_origins_may_not_call_unless_they_are_named(serve, api, redis_url):
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert "access-control-allow-origin" not in api.http.get("/health", headers=asks).headers
    with serve(redis_url=redis_url, cors_origins=[PAGE], require_keys=True) as named:
        allowed = named.http.options("/jobs", headers=asks)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
        refused = named.http.post("/jobs", headers={"Origin": PAGE})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
        exposed = set(refused.headers["access-control-expose-headers"].split(", "))
        assert {"X-Request-Id", "Location", "Retry-After"} <= exposed
        other = named.http.get("/health", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_an_event_source_on_an_ended_job_ends(api):
    """It asks again whenever a stream ends, with the last event's id, until it is answered 204."""
    job = api.submit()
    api.parts.store.cancel(job)
    lines = api.http.get(f"/jobs/{job}/events").text.splitlines()
    said = dict(line.split(": ", 1) for line in lines if line and not line.startswith(":"))
    assert json.loads(said["data"])["status"] == "canceled"
    again = api.http.get(f"/jobs/{job}/events", headers={"Last-Event-ID": said["id"]})
    assert (again.status_code, again.content) == (204, b"")
    assert api.http.get(f"/jobs/{job}/events", headers={"Last-Event-ID": "another"}).status_code == 200
