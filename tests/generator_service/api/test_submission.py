"""POST /jobs, once for each Idempotency-Key and within the limits, at real API processes and the real Valkey."""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Barrier

import httpx
import pytest

from deploy.servers import LOOPBACK, answers, free_ports
from generator_service.client import Client
from generator_service.contract.job import JobStatus
from shared.errors import KeyReused, QueueFull, Unavailable

CAT, DOG = {"prompt": "a yellow cat", "seed": 7}, {"prompt": "a brown dog"}
KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
JSON = {"Content-Type": "application/json"}
START_SECONDS = 60


@contextmanager
def api_process(redis_url: str, **environment: str) -> Iterator[str]:
    """Its address."""
    port = free_ports(1)[0]
    variables = {
        "GENERATOR_REDIS_URL": redis_url,
        "GENERATOR_PORT": str(port),
        "GENERATOR_STORAGE_URL": "memory://",
        "GENERATOR_HEARTBEAT_SECONDS": "3600",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "generator_service", "serve"], env=os.environ | variables | environment
    )
    url = f"http://{LOOPBACK}:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{url}/health"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


def test_fifty_at_once_at_two_processes_make_one_job(redis_url, api):
    with ExitStack() as stack:
        urls = [stack.enter_context(api_process(redis_url)) for _ in range(2)]
        barrier = Barrier(50)

        def post(number: int) -> httpx.Response:
            with httpx.Client(base_url=urls[number % 2], trust_env=False, timeout=30) as http:
                http.get("/health")  # connected
                barrier.wait()
                return http.post("/jobs", json=CAT, headers=KEY)

        with ThreadPoolExecutor(50) as pool:
            answered = list(pool.map(post, range(50)))
    kinds = Counter((answer.status_code, answer.headers.get("Idempotency-Replayed")) for answer in answered)
    assert kinds[202, None] == 1
    assert kinds[202, "true"] == 49
    assert len({answer.json()["id"] for answer in answered if answer.status_code == 202}) == 1
    assert api.parts.store.counts()[JobStatus.QUEUED] == 1
    assert api.parts.store.count_waiting()["plan"] == 1
    assert api.http.post("/jobs", json=CAT, headers=KEY).headers["Idempotency-Replayed"] == "true"


def test_the_job_as_it_is_now_is_answered_again(api):
    first = api.http.post("/jobs", json=CAT, headers=KEY)
    job = first.json()["id"]
    assert "Idempotency-Replayed" not in first.headers
    api.start(job)
    again = api.http.post("/jobs", json=dict(reversed(CAT.items())), headers=KEY)
    assert (again.status_code, again.headers["Location"]) == (202, f"/jobs/{job}")
    assert (again.json()["id"], again.json()["status"]) == (job, "running")
    assert api.http.post("/jobs", json=CAT).json()["id"] != job  # no key, no memory


def test_the_key_of_another_request_is_refused(api, problem):
    api.http.post("/jobs", json=CAT, headers=KEY)
    problem(api.http.post("/jobs", json=DOG, headers=KEY), 422, "idempotency_key_reused")
    assert api.parts.store.counts()[JobStatus.QUEUED] == 1


def test_whoever_refuses_it_before_it_is_made_leaves_the_key_free(api, problem, monkeypatch):
    def refuse(*_) -> None:
        raise Unavailable("too many names", retry_after=3)

    hooked = CAT | {"webhook": {"url": "https://example.com/hooks"}}
    with monkeypatch.context() as patch:
        patch.setattr(api.parts.webhooks, "accept", refuse)
        answer = api.http.post("/jobs", json=hooked, headers=KEY)
        problem(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "3"
        patch.setattr(api.parts.webhooks, "accept", lambda *_: None)
        assert api.http.post("/jobs", json=hooked, headers=KEY).status_code == 202


def test_an_api_that_died_after_the_job_was_made_has_made_it(serve, redis_url, monkeypatch):
    made: list[str] = []
    with serve(redis_url=redis_url, owner_unfinished=1) as api:  # there is no room for another one
        submit = api.parts.submissions.submit

        async def killed(record, *arguments, **options):
            await submit(record, *arguments, **options)
            made.append(record.id)
            raise Unavailable("killed")

        with monkeypatch.context() as patch:
            patch.setattr(api.parts.submissions, "submit", killed)
            assert api.http.post("/jobs", json=CAT, headers=KEY).status_code == 503
        again = api.http.post("/jobs", json=CAT, headers=KEY)
        assert ([again.json()["id"]], again.headers["Idempotency-Replayed"]) == (made, "true")
        assert sum(api.parts.store.counts().values()) == 1


def test_the_webhook_of_a_request_that_is_refused_is_not_looked_up(serve, problem, redis_url, monkeypatch):
    hooked = CAT | {"webhook": {"url": "https://example.com/hooks"}}
    with serve(redis_url=redis_url, owner_kept=1) as api:
        looked_up: list[object] = []
        monkeypatch.setattr(api.parts.webhooks, "accept", lambda *_: looked_up.append(1))
        first = api.http.post("/jobs", json=hooked, headers=KEY)
        problem(api.http.post("/jobs", json=hooked), 429, "too_much_kept")
        assert api.http.post("/jobs", json=hooked, headers=KEY).json()["id"] == first.json()["id"]
        assert looked_up == [1]


def test_the_key_of_a_deleted_job_makes_no_other(api, problem):
    job = api.http.post("/jobs", json=CAT, headers=KEY).json()["id"]
    api.http.post(f"/jobs/{job}/cancel")
    api.http.delete(f"/jobs/{job}")
    problem(api.http.post("/jobs", json=CAT, headers=KEY), 410, "gone")


def test_a_job_that_this_version_cannot_read_is_not_deleted(api, problem, text_client):
    job = api.http.post("/jobs", json=CAT, headers=KEY).json()["id"]
    stage = text_client.hget(f"job:{job}", "stage")
    text_client.hset(f"job:{job}", "stage", '"of a newer version"')
    answer = api.http.post("/jobs", json=CAT, headers=KEY)
    assert problem(answer, 503, "unavailable").retryable
    assert problem(api.http.get(f"/jobs/{job}"), 404, "unreadable")
    text_client.hset(f"job:{job}", "stage", stage)
    assert api.http.post("/jobs", json=CAT, headers=KEY).json()["id"] == job


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"caf\xc3\xa9", b"a\tb"])
def test_a_key_is_some_printable_ascii(api, problem, key):
    found = problem(api.http.post("/jobs", json=CAT, headers={b"Idempotency-Key": key}), 422, "invalid_request")
    assert [violation.field for violation in found.violations] == ["header.Idempotency-Key"]


def test_the_longest_key(api):
    headers = {"Idempotency-Key": '"' + "~" * 254}
    assert len({api.http.post("/jobs", json=CAT, headers=headers).json()["id"] for _ in range(2)}) == 1


def test_the_client_gives_keys(api):
    with Client(api.url) as client:
        first = client.submit(**CAT, idempotency_key="k")
        assert client.submit(**CAT, idempotency_key="k").id == first.id
        with pytest.raises(KeyReused):
            client.submit(**DOG, idempotency_key="k")


# limits


def test_a_full_queue_is_429_until_there_is_room(serve, problem, redis_url):
    with serve(redis_url=redis_url, queue_limit=2) as api:
        api.submit(), api.submit()
        answer = api.http.post("/jobs", json=CAT, headers=KEY)
        assert "holds 2 jobs" in problem(answer, 429, "queue_full").detail
        assert answer.headers["Retry-After"] == "60"  # nothing was ever taken from it
        api.parts.store.start("plan", worker="w1")
        assert api.http.post("/jobs", json=DOG, headers=KEY).status_code == 202  # a refused request leaves its key free


def test_the_client_hears_when_to_try_again(serve, redis_url):
    with serve(redis_url=redis_url, queue_limit=1) as api, Client(api.url) as client:
        api.submit()
        with pytest.raises(QueueFull) as caught:
            client.submit(**CAT)
        assert caught.value.retry_after == 60


def test_an_owners_unfinished_jobs_and_rate(serve, problem, redis_url):
    with serve(redis_url=redis_url, owner_unfinished=1, owner_rate=0.001, owner_burst=3) as api:
        first = api.http.post("/jobs", json=CAT, headers=KEY)
        assert first.headers["RateLimit-Policy"] == '"submissions";q=3;w=3000'
        assert first.headers["RateLimit"] == '"submissions";r=2'
        again = api.http.post("/jobs", json=CAT, headers=KEY)
        assert (again.status_code, again.headers["RateLimit"]) == (202, '"submissions";r=1')
        assert "of 1 it may have" in problem(api.http.post("/jobs", json=CAT), 429, "too_many_unfinished").detail
        answer = api.http.post("/jobs", json=CAT, headers=KEY)
        assert "3 at once" in problem(answer, 429, "too_fast").detail
        assert int(answer.headers["Retry-After"]) in (999, 1000)


def test_the_rate_counts_what_nobody_has_read_yet(serve, problem, redis_url):
    with serve(redis_url=redis_url, owner_rate=0.001, owner_burst=2) as api:
        for body in (b"{", b'{"plan": 1}'):
            assert api.http.post("/jobs", content=body, headers=JSON).status_code == 422
        problem(api.http.post("/jobs", content=b"{", headers=JSON), 429, "too_fast")


# order


def test_priorities_and_places(api):
    ids = {priority: api.submit(priority=priority) for priority in ("low", "normal", "high")}
    views = {priority: api.http.get(f"/jobs/{job}").json() for priority, job in ids.items()}
    assert {priority: view["queue_position"] for priority, view in views.items()} == {"high": 0, "normal": 1, "low": 2}
    assert all(view["priority"] == priority for priority, view in views.items())
    api.http.post(f"/jobs/{ids['high']}/cancel")
    assert api.http.get(f"/jobs/{ids['normal']}").json()["queue_position"] == 0


def test_an_unknown_priority(api, problem):
    found = problem(api.http.post("/jobs", json=CAT | {"priority": "urgent"}), 422, "invalid_request")
    assert found.violations[0].field == "priority"
