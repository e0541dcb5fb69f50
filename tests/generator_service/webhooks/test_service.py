"""The API and the webhook worker as they are deployed, and a receiver that checks events as the documentation says."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from generator_service.api.app import create_app
from generator_service.contract.answers import Deliveries
from generator_service.contract.job import JobView
from generator_service.jobs.outbox import Outbox
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.workers import WorkerRegistry
from generator_service.settings import Settings, StorageSettings, WebhookSettings

ENVIRONMENT = {
    "GENERATOR_WEBHOOK_SECRET": "0123456789abcdef0123456789abcdef",
    "GENERATOR_WEBHOOK_ALLOWED_NETWORKS": '["127.0.0.1/32"]',
    "GENERATOR_LOG_FORMAT": "json",
}
"""Those of the API of these tests."""
ANYONES_SECRET = "whsec_PD4cEwpePEkomT8YlRPk2FofeYO7h8VvNPN1XNEbmM8="


@pytest.fixture
def api(redis_url: str, webhook_settings: WebhookSettings) -> Iterator[TestClient]:
    settings = Settings.model_validate(
        {"redis_url": redis_url, "webhook": webhook_settings, "storage": StorageSettings(url="memory://")}
    )
    with TestClient(create_app(settings)) as client:
        yield client


def submit(api: TestClient, url: str, **webhook: Any) -> Any:
    return api.post("/jobs", json={"prompt": "a red car", "webhook": {"url": url, **webhook}})


def deliveries(api: TestClient, job: str) -> Deliveries:
    return Deliveries.model_validate_json(api.get(f"/jobs/{job}/deliveries").content)


@pytest.mark.parametrize(
    ("url", "field", "message"),
    [
        ("https://10.0.0.1/hook", "webhook.url", "not public"),
        ("https://[::1]/hook", "webhook.url", "not public"),
        ("https://169.254.169.254/latest/meta-data", "webhook.url", "not public"),
        ("http://93.184.216.34/hook", "webhook.url", "must be https"),
        ("https://93.184.216.34:22/hook", "webhook.url", "the ports 443, 8443 only"),
        ("https://anna:secret@93.184.216.34/hook", "webhook.url", "no user or password"),
        ("ftp://93.184.216.34/hook", "webhook.url", "'http' or 'https'"),
    ],
)
def test_a_refused_target_names_field_and_reason(url: str, field: str, message: str, api: TestClient) -> None:
    answer = submit(api, url)
    assert answer.status_code == 422
    (violation,) = answer.json()["violations"]
    assert violation["field"] == field
    assert message in violation["message"]
    assert api.get("/jobs").json()["jobs"] == []


def test_a_name_that_is_lost_meanwhile_keeps_nobody_from_the_job_that_was_made(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"example.com": ["93.184.216.34"]}
    policy = api.app.state.parts.webhooks._policy
    monkeypatch.setattr(policy, "_resolve", lambda host: names.get(host, []))
    body = {"prompt": "a red car", "webhook": {"url": "https://example.com/hook"}}
    key = {"Idempotency-Key": "k"}

    job = api.post("/jobs", json=body, headers=key).json()["id"]
    names.clear()
    again = api.post("/jobs", json=body, headers=key)
    assert (again.status_code, again.json().get("id")) == (202, job)

    other = {"Idempotency-Key": "l"}
    assert api.post("/jobs", json=body, headers=other).status_code == 422
    names["example.com"] = ["93.184.216.34"]
    assert api.post("/jobs", json=body, headers=other).status_code == 202  # a refused request leaves its key free


def test_an_unknown_event_is_refused(api: TestClient) -> None:
    answer = submit(api, "https://93.184.216.34/hook", events=["job.started"])
    assert answer.status_code == 422
    assert answer.json()["violations"][0]["field"] == "webhook.events.0"


def test_a_service_without_a_secret_says_so(redis_url: str) -> None:
    settings = Settings.model_validate({"redis_url": redis_url, "storage": StorageSettings(url="memory://")})
    with TestClient(create_app(settings)) as api:
        answer = submit(api, "https://93.184.216.34/hook")
        assert (answer.status_code, answer.json()["violations"][0]["field"]) == (422, "webhook")
        assert api.get("/webhooks/secret").status_code == 404


def test_before_there_is_anything_to_tell(api: TestClient) -> None:
    job = submit(api, "https://93.184.216.34/hook", events=["job.succeeded"]).json()
    assert JobView.model_validate(job).webhook is not None
    nothing = Deliveries(webhook_id=None, state="none", attempts=(), next_attempt_at=None)
    assert deliveries(api, job["id"]) == nothing
    api.post(f"/jobs/{job['id']}/cancel")
    assert deliveries(api, job["id"]) == nothing  # of that end nobody wishes to be told

    other = submit(api, "https://93.184.216.34/hook").json()["id"]
    finished_at = JobView.model_validate(api.post(f"/jobs/{other}/cancel").json()).finished_at
    assert deliveries(api, other) == Deliveries(
        webhook_id=f"end_{other}", state="pending", attempts=(), next_attempt_at=finished_at
    )
    assert api.get(f"/jobs/{'0' * 32}/deliveries").status_code == 404


@pytest.fixture
def verified(repository: Path) -> Callable[[str, dict[str, str], bytes], Any]:
    """The documentation's own way to check an event."""
    (snippet,) = re.findall(r"```python\n(.*?)```", (repository / "docs/webhooks.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102
    verified: Callable[[str, dict[str, str], bytes], Any] = names["verified"]
    return verified


def test_from_submission_to_a_receiver_that_checks(
    api: TestClient,
    redis_url: str,
    registry: WorkerRegistry,
    receiver: Any,
    answers: Any,
    verified: Callable[..., Any],
    wait_until: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = api.get("/webhooks/secret").json()["secret"]
    assert secret == ANYONES_SECRET
    receiver.answers = [answers(200), answers(410)]
    log = tmp_path / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "generator_service", "webhook-worker"],
            env=os.environ | ENVIRONMENT | {"GENERATOR_REDIS_URL": redis_url},
            stdout=output,
            stderr=output,
        ) as worker,
    ):
        try:
            wait_until(lambda: [info.kind for info in registry.alive()] == ["webhook"], 60)
            taken, refused = (submit(api, f"{receiver.url}?token=hunter2").json()["id"] for _ in range(2))
            for job in (taken, refused):
                api.post(f"/jobs/{job}/cancel")
                wait_until(lambda job=job: deliveries(api, job).state not in ("none", "pending"))
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(10) == 0
        finally:
            worker.kill()
    assert registry.alive() == ()
    assert [deliveries(api, job).state for job in (taken, refused)] == ["delivered", "given_up"]
    assert deliveries(api, refused).attempts[0].status == 410

    request = receiver.requests[0]
    assert verified(secret, request.headers, request.body)["data"]["id"] == taken
    with pytest.raises(ValueError, match="signature"):
        verified(secret, request.headers, request.body.replace(b"canceled", b"succeeded"))
    with pytest.raises(ValueError, match="signature"):
        verified("whsec_AAAA", request.headers, request.body)
    monkeypatch.setattr("time.time", lambda: int(request.headers["webhook-timestamp"]) + 301)
    with pytest.raises(ValueError, match="old"):
        verified(secret, request.headers, request.body)

    assert "webhook_delivered" in log.read_text()
    for secretive in ("hunter2", ENVIRONMENT["GENERATOR_WEBHOOK_SECRET"], ANYONES_SECRET):
        assert secretive not in log.read_text()


def test_one_trace_and_one_request_id_lead_to_the_receivers_door_and_no_further(
    redis_url: str,
    store: JobStore,
    outbox: Outbox,
    receiver: Any,
    make_job: Callable[..., JobRecord],
    collector: Any,
    wait_until: Callable[..., None],
    tmp_path: Path,
) -> None:
    trace, submission = "ab" * 16, "cd" * 8
    job = make_job(receiver.url, request_id="order.42", traceparent=f"00-{trace}-{submission}-01").id
    store.cancel(job)
    log = tmp_path / "log"
    own = {"GENERATOR_REDIS_URL": redis_url, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "generator_service", "webhook-worker"],
            env=os.environ | ENVIRONMENT | own,
            stdout=output,
            stderr=output,
        ) as worker,
    ):
        try:
            wait_until(lambda: bool(outbox.attempts(job)), 60)
        finally:
            worker.terminate()
    span = collector.wait_for("webhook-worker", "webhook", trace=trace, job_id=job, request_id="order.42")
    assert span.parent == submission
    (request,) = receiver.requests
    assert "traceparent" not in request.headers
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events if event.get("request_id") == "order.42"] == ["webhook_delivered"]


def test_a_worker_without_a_secret_does_not_start() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GENERATOR_WEBHOOK_SECRET"}
    ended = subprocess.run(
        [sys.executable, "-m", "generator_service", "webhook-worker"], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "GENERATOR_WEBHOOK_SECRET is not set" in ended.stderr
