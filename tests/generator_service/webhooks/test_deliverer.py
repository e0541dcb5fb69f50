"""From the end of a job to a receiver who checks what it gets, with code of its own."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from generator_service.contract.job import JobView
from generator_service.contract.report import Diagnostics
from generator_service.jobs.outbox import Outbox
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.store import JobStore
from generator_service.settings import WebhookSettings
from generator_service.webhooks.deliverer import JITTER, PAUSES, Deliverer, next_attempt
from generator_service.webhooks.event import Signer, event_body
from generator_service.webhooks.sending import Sender
from generator_service.webhooks.targets import TargetPolicy
from shared.errors import Unavailable

Ended = Callable[[str], str]
WaitUntil = Callable[..., None]

ANNAS_KEY = base64.b64decode("2gZuYh7dLcm3l2DMaeu2GtiI7JH/N3/mrhqHsf7Wxxg=")


class Clock:
    """The time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


Delivering = Callable[..., Any]


@pytest.fixture
def delivering(
    store: JobStore, outbox: Outbox, signer: Signer, webhook_settings: WebhookSettings, clock: Clock
) -> Delivering:
    """Inside the block, a deliverer runs; at its end what is under way has ended."""

    @contextmanager
    def delivering(deadline: float = 10.0, **changes: Any) -> Iterator[None]:
        sender = Sender(TargetPolicy(webhook_settings), deadline=deadline)
        deliverer = Deliverer(store, outbox, signer, sender, now=clock, **changes)
        stop = threading.Event()

        async def run() -> None:
            stopping = anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(deliverer.run, stopping)
                while not stop.is_set():
                    await anyio.sleep(0.01)
                stopping.set()

        thread = threading.Thread(target=anyio.run, args=(run,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    return delivering


def verify(request: Any, key: bytes = ANNAS_KEY) -> dict[str, Any]:
    """The event, if its signature is good: by the words of the specification."""
    headers = request.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    event: dict[str, Any] = json.loads(request.body)
    assert event["id"] == headers["webhook-id"]
    return event


def test_a_succeeded_job_is_told_as_get_answers_it_but_without_urls(
    delivering: Delivering, receiver: Any, store: JobStore, outbox: Outbox, make_job: Any, wait_until: WaitUntil
) -> None:
    job = make_job(receiver.url).id
    results = Results(video="secret-key-of-an-object", plan=None, preview="p", manifest="m", report="r")
    store.start("plan", worker="w1")
    store.succeed(job, worker="w1", results=results, diagnostics=Diagnostics(notes=("'puppy' is drawn as 'sheep'",)))
    with delivering():
        wait_until(lambda: bool(outbox.attempts(job)))

    (request,) = receiver.requests
    event = verify(request)
    assert (event["type"], event["id"]) == ("job.succeeded", f"end_{job}")
    record = store.get(job)
    assert datetime.fromisoformat(event["timestamp"]) == record.finished_at
    data = event["data"]
    assert set(JobView.model_fields) - set(data) == {"urls"}
    assert data.keys().isdisjoint({"results", "traceparent"})
    assert (data["id"], data["status"], data["metadata"]) == (job, "succeeded", {"order": "4711"})
    assert data["diagnostics"]["notes"] == ["'puppy' is drawn as 'sheep'"]
    assert data["links"]["self"] == f"/jobs/{job}"
    assert b"secret-key" not in request.body
    (attempt,) = outbox.attempts(job)
    assert (attempt.status, attempt.error, attempt.next_attempt_at) == (204, None, None)


def test_a_failure_is_tried_again_with_the_same_id_and_body(
    delivering: Delivering,
    receiver: Any,
    ended: Ended,
    outbox: Outbox,
    answers: Any,
    clock: Clock,
    wait_until: WaitUntil,
) -> None:
    receiver.answers = [answers(500), answers(200)]
    job = ended(receiver.url)
    with delivering():
        wait_until(lambda: len(outbox.attempts(job)) == 1)
        clock.ahead = timedelta(seconds=7)  # the pause is 5 s, and a fifth
        wait_until(lambda: len(outbox.attempts(job)) == 2)
        clock.ahead = timedelta(days=7)
    first, second = receiver.requests
    assert verify(first)["type"] == "job.canceled"
    assert verify(second) == verify(first)
    assert second.body == first.body
    assert second.headers["webhook-timestamp"] != first.headers["webhook-timestamp"]
    failed, taken = outbox.attempts(job)
    assert (failed.status, failed.error) == (500, "answered 500")
    assert failed.next_attempt_at is not None
    assert timedelta(seconds=4) <= failed.next_attempt_at - failed.at <= timedelta(seconds=7)
    assert (taken.status, taken.error, taken.next_attempt_at) == (200, None, None)


def test_nine_failures_are_the_end(
    delivering: Delivering,
    receiver: Any,
    ended: Ended,
    outbox: Outbox,
    answers: Any,
    clock: Clock,
    wait_until: WaitUntil,
) -> None:
    receiver.answers = [answers(500)]
    job = ended(receiver.url)
    with delivering():
        for number in range(1, 10):
            wait_until(lambda number=number: len(outbox.attempts(job)) == number)
            clock.ahead += timedelta(hours=15)
        other = ended(receiver.url)
        wait_until(lambda: bool(outbox.attempts(other)))
    assert len(outbox.attempts(job)) == 9
    assert len({request.headers["webhook-id"] for request in receiver.requests[:9]}) == 1


def test_one_who_says_gone_is_left_alone(
    delivering: Delivering, receiver: Any, ended: Ended, outbox: Outbox, answers: Any, wait_until: WaitUntil
) -> None:
    receiver.answers = [answers(410)]
    job = ended(receiver.url)
    with delivering():
        wait_until(lambda: bool(outbox.attempts(job)))
    assert outbox.attempts(job)[0].next_attempt_at is None


def test_a_target_that_hangs_delays_nobody_else(
    delivering: Delivering, receiver: Any, receiving: Any, ended: Ended, outbox: Outbox, wait_until: WaitUntil
) -> None:
    receiver.answers = [receiver.hang]
    with receiving() as good:
        slow = [ended(receiver.url) for _ in range(20)]
        with delivering(at_once=4, at_once_per_target=2, deadline=30.0):
            wait_until(lambda: len(receiver.requests) == 2)
            jobs = [ended(good.url) for _ in range(20)]
            wait_until(lambda: all(outbox.attempts(job) for job in jobs), 10)
            assert len(receiver.requests) == 2
            assert not any(outbox.attempts(job) for job in slow)
            receiver.closing.set()


def test_an_outage_of_redis_is_outlived(
    delivering: Delivering, receiver: Any, ended: Ended, outbox: Outbox, wait_until: WaitUntil, monkeypatch: Any
) -> None:
    lease = Outbox.lease
    asked: list[int] = []

    def flaky(*arguments: Any, **more: Any) -> Any:
        asked.append(1)
        if len(asked) == 1:
            raise Unavailable("Redis does not answer")
        return lease(*arguments, **more)

    monkeypatch.setattr(Outbox, "lease", flaky)
    job = ended(receiver.url)
    with delivering():
        wait_until(lambda: bool(outbox.attempts(job)))


def test_a_surprise_in_one_event_is_no_harm_to_the_others(
    delivering: Delivering, receiver: Any, ended: Ended, outbox: Outbox, wait_until: WaitUntil, monkeypatch: Any
) -> None:
    bad, good = ended(receiver.url), ended(receiver.url)

    def body(record: JobRecord) -> bytes:
        if record.id == bad:
            raise RuntimeError
        return event_body(record)

    monkeypatch.setattr("generator_service.webhooks.deliverer.event_body", body)
    with delivering():
        wait_until(lambda: bool(outbox.attempts(good)))
    assert outbox.attempts(bad) == ()


SENDER = """
import sys, anyio, redis
from generator_service.jobs.outbox import Outbox
from generator_service.jobs.store import JobStore
from generator_service.settings import WebhookSettings
from generator_service.webhooks.deliverer import Deliverer
from generator_service.webhooks.sending import Sender
from generator_service.webhooks.event import Signer
from generator_service.webhooks.targets import TargetPolicy
settings = WebhookSettings()
client = redis.Redis.from_url(sys.argv[1], decode_responses=True)
sender = Sender(TargetPolicy(settings), deadline=60)
deliverer = Deliverer(JobStore(client), Outbox(client), Signer(settings.secret), sender, lease_seconds=2)
async def main(): await deliverer.run(anyio.Event())
anyio.run(main)
"""


def test_what_a_killed_deliverer_had_in_hand_is_delivered_by_another(
    delivering: Delivering, redis_url: str, receiver: Any, ended: Ended, outbox: Outbox, wait_until: WaitUntil
) -> None:
    environment = os.environ | {
        "GENERATOR_WEBHOOK_SECRET": "0123456789abcdef0123456789abcdef",
        "GENERATOR_WEBHOOK_ALLOWED_NETWORKS": '["127.0.0.1/32"]',
    }
    receiver.answers = [receiver.hang, lambda handler: handler.send_response(200) or handler.end_headers()]
    job = ended(receiver.url)
    with subprocess.Popen([sys.executable, "-c", SENDER, redis_url], env=environment) as process:
        try:
            wait_until(lambda: len(receiver.requests) == 1, 60)
        finally:
            process.kill()
    with delivering():
        wait_until(lambda: bool(outbox.attempts(job)))
    first, second = receiver.requests
    assert verify(second) == verify(first)
    assert [attempt.status for attempt in outbox.attempts(job)] == [200]


# retries: nine attempts in about 22 hours

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 5), (2, 30), (3, 120), (4, 600), (5, 3600), (6, 10800), (7, 21600), (8, 43200)]
)
def test_pauses_grow_and_vary_by_a_fifth(attempts: int, seconds: int) -> None:
    assert next_attempt(attempts, NOW, lambda: 0.5) == NOW + timedelta(seconds=seconds)
    assert next_attempt(attempts, NOW, lambda: 0.0) == NOW + timedelta(seconds=0.8 * seconds)
    assert next_attempt(attempts, NOW, lambda: 1.0) == NOW + timedelta(seconds=1.2 * seconds)


def test_the_ninth_attempt_is_the_last() -> None:
    assert next_attempt(9, NOW) is None


def test_the_documentation_has_the_same_pauses(repository: Path) -> None:
    text = (repository / "docs" / "webhooks.md").read_text()
    assert "after 5 s, 30 s, 2 min, 10 min, 1 h, 3 h, 6 h and 12 h, each a fifth more or less" in text
    assert [pause.total_seconds() for pause in PAUSES] == [5, 30, 120, 600, 3600, 10800, 21600, 43200]
    assert JITTER == 1 / 5
