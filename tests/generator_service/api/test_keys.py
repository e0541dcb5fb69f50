"""An API that requires keys: who may do what, and whose jobs there are for whom."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import httpx
import pytest
import redis
from typer.testing import CliRunner

from deploy.servers import LOOPBACK, S3_ACCESS_KEY, S3_SECRET_KEY, RedisServer, S3Server, free_ports
from generator_service.__main__ import app as command_line
from generator_service.api import auth
from generator_service.api.app import create_app
from generator_service.client import Client
from generator_service.contract.job import JobStatus
from generator_service.contract.keys import ApiKey
from generator_service.jobs.api_keys import ApiKeys, Scope
from generator_service.settings import Settings, StorageSettings
from shared.errors import Forbidden, NotFound, Unauthenticated

OPEN = {"/health", "/ready", "/load", "/metrics"}

JOB = {"prompt": "a red car"}


def operations() -> list[tuple[str, str]]:
    document = create_app(Settings(storage=StorageSettings(url="memory://"))).openapi()
    return [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]


SPECIAL = {"/overview", "/webhooks/secret"}
"""For GET, but not for whoever may read."""

GUARDED = [(method, path) for method, path in operations() if path not in OPEN]
OF_ONE_JOB = [(method, path) for method, path in GUARDED if "{job_id}" in path]


@pytest.fixture(scope="module")
def _guarded(serve: Any, valkey: RedisServer) -> Iterator[Any]:
    with serve(redis_url=valkey.url, require_keys=True) as api:
        yield api


@pytest.fixture
def guarded(_guarded: Any, redis_url: str) -> Any:
    """A live API that requires keys, and knows none yet."""
    return _guarded


@pytest.fixture
def keys(text_client: redis.Redis) -> ApiKeys:
    return ApiKeys(text_client)


@pytest.fixture
def http_of(guarded: Any, keys: ApiKeys) -> Iterator[Callable[..., httpx.Client]]:
    """A new key's client."""
    clients: list[httpx.Client] = []

    def http_of(owner: str, *scopes: Scope) -> httpx.Client:
        key = keys.create(owner, scopes or (Scope.SUBMIT, Scope.READ))
        headers = {"Authorization": f"Bearer {key.text}"}
        clients.append(httpx.Client(base_url=guarded.url, headers=headers, timeout=20.0, trust_env=False))
        return clients[-1]

    yield http_of
    for client in clients:
        client.close()


PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")
"""A PNG of one."""


def submitted(http: httpx.Client, **fields: Any) -> str:
    answer = http.post("/jobs", json=JOB | fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def listed(http: httpx.Client, **query: Any) -> list[str]:
    """All pages."""
    ids: list[str] = []
    after = None
    while True:
        page = http.get("/jobs", params=query | ({} if after is None else {"after": after})).json()
        ids += [job["id"] for job in page["jobs"]]
        after = page["next"]
        if after is None:
            return ids


def asked(http: httpx.Client, method: str, path: str, job_id: str = "0" * 32) -> httpx.Response:
    body: dict[str, Any] = {}
    if method == "POST" and path in ("/jobs", "/plans", "/v1/videos"):
        body = {"json": JOB}
    if path == "/images":
        body = {"content": PIXEL, "headers": {"Content-Type": "image/png"}}
    return http.request(method, path.format(job_id=job_id, image_id=job_id), **body)


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_a_key_there_is_nothing(guarded, problem, method, path):
    answer = asked(guarded.http, method, path)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", [*sorted(OPEN), "/docs", "/openapi.json"])
def test_probes_scrapers_and_documentation_need_none(guarded, path):
    assert guarded.http.get(path).status_code in (200, 503)


def test_open_paths_tell_of_no_job(guarded, http_of):
    job = submitted(http_of("secretive"), prompt="a purple submarine")
    for path in OPEN:
        text = guarded.http.get(path).text
        assert not {"secretive", "submarine", job} & set(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Basic dXNlcjpwYXNz", "Bearer mfv_x", "Token {key}", "{key}", "Bearer {key}0", "Bearer {key},{key}"],
)
def test_what_is_no_good_key_is_refused_and_not_repeated(guarded, keys, problem, header):
    key = keys.create("a", [Scope.READ])
    answer = guarded.http.get("/jobs", headers={"Authorization": header.format(key=key.text)})
    problem(answer, 401, "unauthenticated")
    assert key.secret not in answer.text


def followed(url: str) -> int:
    with httpx.stream("GET", url, trust_env=False) as answer:
        return answer.status_code


def test_a_browser_reads_a_job_without_a_header(guarded, http_of, keys, monkeypatch):
    """By the URLs of whoever may read, while they are good, and nothing else."""
    http, other = http_of("a"), submitted(http_of("b"))
    job = submitted(http)
    url = http.get(f"/jobs/{job}").json()["events_url"]
    (info,) = (key for key in keys.all() if key.owner == "a")
    assert followed(url) == 200
    with httpx.stream("GET", url, trust_env=False) as stream:
        event = next(line for line in stream.iter_lines() if line.startswith("data: "))
    assert followed(json.loads(event.removeprefix("data: "))["events_url"]) == 200
    for wrong in (
        url.partition("?")[0],
        url.replace(job, other),
        url.replace("/events?", "?"),
        url[:-1] + "g",
        url[:-64] + "0" * 64,
        url.replace(info.id, "0" * 12),
    ):
        assert followed(wrong) == 401
    assert guarded.http.post(url.replace("/events?", "/cancel?")).status_code == 401
    guarded.start(job)
    guarded.finish(job)
    urls = http.get(f"/jobs/{job}").json()["urls"]
    assert {part: followed(part_url) for part, part_url in urls.items()} == dict.fromkeys(urls, 200) | {"plan": 409}
    with monkeypatch.context() as patch:
        patch.setattr(auth, "TICKET_SECONDS", -1)
        assert followed(http.get(f"/jobs/{job}").json()["events_url"]) == 401
    assert http_of("a", Scope.SUBMIT).post("/jobs", json=JOB).json()["events_url"] is None
    keys.revoke(info.id)
    assert followed(url) == 401


def test_bearer_may_be_written_as_one_likes(guarded, keys):
    key = keys.create("a", [Scope.READ])
    assert guarded.http.get("/jobs", headers={"authorization": f"bearer {key.text}"}).status_code == 200


def test_a_refusal_comes_before_a_look_at_the_request(guarded, problem):
    problem(guarded.http.post("/jobs", json={"promt": 1}), 401, "unauthenticated")
    problem(guarded.http.get("/jobs/1"), 401, "unauthenticated")


def test_the_overview_is_everybodys_jobs_and_so_for_admins(http_of, problem):
    assert http_of("a", Scope.ADMIN).get("/overview").status_code == 200
    problem(http_of("a", Scope.READ).get("/overview"), 403, "forbidden")


def test_the_secret_of_webhooks_is_for_those_who_submit(http_of, problem):
    problem(http_of("a", Scope.READ).get("/webhooks/secret"), 403, "forbidden")
    assert http_of("a", Scope.SUBMIT, Scope.READ).get("/webhooks/secret").status_code == 404  # there are none here


@pytest.mark.parametrize(("method", "path"), [route for route in GUARDED if route[1] not in SPECIAL])
def test_scopes(http_of, problem, method, path):
    """`read` is for GET alone, `submit` for everything else; `admin` is for both."""
    readable = method == "GET"
    allowed, refused = (Scope.READ, Scope.SUBMIT) if readable else (Scope.SUBMIT, Scope.READ)
    for scope in (allowed, Scope.ADMIN):
        assert asked(http_of("a", scope), method, path).status_code in (
            200,
            201,
            202,
            404,
            503,
        )  # the planner here makes none
    answer = asked(http_of("a", refused), method, path)
    assert f"'{allowed}'" in problem(answer, 403, "forbidden").detail
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize(("method", "path"), OF_ONE_JOB)
def test_anothers_job_is_one_that_does_not_exist(guarded, http_of, problem, method, path):
    mine, other = http_of("a"), http_of("b")
    job = submitted(mine)
    foreign = problem(asked(other, method, path, job), 404, "not_found")
    unknown = problem(asked(other, method, path), 404, "not_found")
    assert foreign.detail == unknown.detail.replace("0" * 32, job)
    assert guarded.parts.store.get(job).status is JobStatus.QUEUED


@pytest.mark.parametrize(("method", "path"), [route for route in OF_ONE_JOB if "events" not in route[1]])
def test_the_owner_and_an_admin_reach_it(guarded, http_of, method, path):
    for http in (http_of("a"), http_of("ops", Scope.ADMIN)):
        job = submitted(http_of("a"))
        guarded.start(job)
        guarded.finish(job)
        assert asked(http, method, path, job).status_code in (200, 204, 409), method + path


def test_links_are_for_those_who_may_read(guarded, http_of):
    """A signed one is all it takes to fetch the video."""
    submitter, both = http_of("a", Scope.SUBMIT), http_of("a")
    once = {"Idempotency-Key": "once"}
    job = submitter.post("/jobs", json=JOB, headers=once).json()["id"]
    guarded.start(job)
    guarded.finish(job)
    for http, told in ((submitter, False), (both, True)):
        answers = (http.post(f"/jobs/{job}/cancel"), http.post("/jobs", json=JOB, headers=once))
        assert [(answer.json()["id"], answer.json()["urls"] is not None) for answer in answers] == [(job, told)] * 2


def test_events_are_the_owners(http_of):
    mine = http_of("a")
    job = submitted(mine)
    assert mine.post(f"/jobs/{job}/cancel").json()["status"] == "canceled"
    assert job in mine.get(f"/jobs/{job}/events").text


def test_each_lists_its_own_and_an_admin_lists_all(http_of):
    a, b, admin = http_of("a"), http_of("b"), http_of("ops", Scope.ADMIN)
    jobs = [submitted(http) for http in (a, b, a, a, b)]
    newest_first = jobs[::-1]
    assert listed(a, limit=2) == [newest_first[1], newest_first[2], newest_first[4]]
    assert listed(b, limit=1) == [newest_first[0], newest_first[3]]
    assert listed(admin, limit=2) == newest_first
    a.post(f"/jobs/{jobs[2]}/cancel")
    b.post(f"/jobs/{jobs[4]}/cancel")
    assert listed(a, status="canceled") == [jobs[2]]
    assert listed(a, status="queued", limit=1) == [jobs[3], jobs[0]]


def test_a_page_cannot_begin_after_anothers_job(http_of, problem):
    a, b = http_of("a"), http_of("b")
    submitted(a)
    problem(a.get("/jobs", params={"after": submitted(b)}), 404, "not_found")


def test_a_page_of_ones_own_is_as_quick_however_many_jobs_others_have(http_of, text_client):
    a, b = http_of("a"), http_of("b")
    mine = [submitted(a) for _ in range(2)]
    for _ in range(30):
        submitted(b)

    def read() -> int:
        return text_client.info("commandstats")["cmdstat_hgetall"]["calls"]

    begin = read()
    assert listed(a, limit=20) == mine[::-1]
    assert read() - begin == 2  # one for each record on the page


def test_a_deleted_job_leaves_no_index_behind(text_client, http_of):
    a = http_of("a")
    job = submitted(a)
    a.post(f"/jobs/{job}/cancel")
    assert a.delete(f"/jobs/{job}").status_code == 204
    left = set(text_client.keys())
    assert {
        name
        for name in left
        if not name.startswith(("key", "rate:", "jobs:stored", "jobs:owners", "jobs:bytes", "jobs:round:", "rq:"))
    } == set()


def test_a_rotated_key_sees_the_same_jobs(guarded, keys, http_of):
    job = submitted(http_of("a"))
    (old,) = (info.id for info in keys.all())
    with Client(guarded.url, keys.rotate(old, timedelta(0)).text) as client:
        assert client.get(job).owner == "a"


def test_a_revoked_key_is_refused_at_once(keys, http_of, problem):
    http = http_of("a")
    assert http.get("/jobs").status_code == 200
    keys.revoke(keys.all()[0].id)
    problem(http.get("/jobs"), 401, "unauthenticated")


def test_without_redis_nobody_is_let_in(serve, problem):
    with serve(redis_url=f"redis://{LOOPBACK}:{free_ports(1)[0]}/0", require_keys=True) as api:
        answer = api.http.get("/backbones", headers={"Authorization": f"Bearer {ApiKey.new().text}"})
        problem(answer, 503, "unavailable")


def test_the_document_names_the_scheme_wherever_a_key_is_needed(guarded):
    document = guarded.http.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if path in OPEN:
                assert "security" not in operation
                assert not {"401", "403"} & set(operation["responses"])
            else:
                assert operation["security"] == [{"key": []}]
                assert {"401", "403"} <= set(operation["responses"])


def test_where_no_keys_are_asked_for_the_document_says_so(api):
    operation = api.http.get("/openapi.json").json()["paths"]["/jobs"]["post"]
    assert operation["security"] == [{}, {"key": []}]


def test_where_no_keys_are_asked_for_none_is_looked_at(api, keys):
    for header in ("Bearer nonsense", f"Bearer {keys.create('a', [Scope.READ]).text}"):
        answer = api.http.post("/jobs", json=JOB, headers={"Authorization": header})
        assert (answer.status_code, answer.json()["owner"]) == (202, "anyone")


# the client and the command line


def test_the_client_gives_its_key(guarded, keys):
    with Client(guarded.url, keys.create("a", [Scope.SUBMIT]).text) as client:
        job = client.submit(**JOB)
        assert job.owner == "a"
        with pytest.raises(Forbidden, match="'read'"):
            client.get(job.id)
    with Client(guarded.url, keys.create("b", [Scope.READ]).text) as client, pytest.raises(NotFound):
        client.get(job.id)
    with Client(guarded.url) as client, pytest.raises(Unauthenticated, match="Authorization: Bearer"):
        client.jobs()


@pytest.mark.parametrize("nonsense", ["hunter2", "mfv_0123456789ab_hunter2\n", "hünter2"])
def test_the_client_refuses_what_cannot_be_a_key_without_repeating_it(nonsense):
    with pytest.raises(Unauthenticated) as refusal, closing(Client("http://127.0.0.1:9", nonsense)):
        pass
    assert "unter2" not in refusal.value.detail


def test_the_storage_never_sees_the_key(serve, valkey, redis_url, s3: S3Server, keys, tmp_path, monkeypatch):
    """It would also refuse: S3 takes one kind of credentials in a request, not two."""
    seen: list[httpx.Request] = []
    send = httpx.Client._send_single_request
    monkeypatch.setattr(
        httpx.Client, "_send_single_request", lambda self, request: seen.append(request) or send(self, request)
    )
    storage = StorageSettings(
        url=f"s3://{s3.bucket}/{tmp_path.name}",
        endpoint=s3.endpoint,
        access_key=S3_ACCESS_KEY,
        secret_key=S3_SECRET_KEY,
    )
    key = keys.create("a", [Scope.SUBMIT, Scope.READ]).text
    with serve(redis_url=valkey.url, require_keys=True, storage=storage) as api, Client(api.url, key) as client:
        job = client.submit(**JOB).id
        api.start(job)
        api.finish(job)
        seen.clear()
        client.download(job, tmp_path / "video.mp4")
    assert [(str(request.url).startswith(s3.endpoint), "authorization" in request.headers) for request in seen] == [
        (False, True),
        (True, False),
    ]
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_commands_take_the_key_from_an_option_or_the_environment(guarded, keys, http_of, monkeypatch):
    monkeypatch.setenv("GENERATOR_URL", guarded.url)
    job = submitted(http_of("a"))
    key = keys.create("a", [Scope.READ, Scope.SUBMIT]).text

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(command_line, list(arguments))

    refused = run("jobs")
    assert refused.exit_code == 1
    assert "A good key is needed" in refused.output
    assert job in run("jobs", "--key", key).stdout
    monkeypatch.setenv("GENERATOR_API_KEY", key)
    for command in (("jobs",), ("status", job), ("cancel", job), ("deliveries", job), ("backbones",)):
        assert run(*command).exit_code == 0, command
    assert "this service sends no webhooks" in run("webhook-secret").output  # and not that there is no key
    assert key not in run("jobs", "--help").output
