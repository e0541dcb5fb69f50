"""One attempt, against real receivers: kind, broken, slow and hostile ones."""

import ssl
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import anyio
import pytest
import trustme
from pydantic import HttpUrl

from generator_service.settings import WebhookSettings
from generator_service.webhooks import sending
from generator_service.webhooks.sending import Outcome, Sender
from generator_service.webhooks.targets import Resolve, TargetPolicy, resolve_host

Receiving = Callable[..., AbstractContextManager[Any]]
Answers = Callable[..., Any]
Post = Callable[..., Outcome]


@pytest.fixture
def post(webhook_settings: WebhookSettings) -> Post:
    def post(
        url: str, *, resolve: Resolve = resolve_host, tls: ssl.SSLContext | None = None, deadline: float = 10.0
    ) -> Outcome:
        async def run() -> Outcome:
            sender = Sender(TargetPolicy(webhook_settings, resolve), tls, deadline)
            return await sender.post(HttpUrl(url), {"webhook-id": "end_0a"}, b'{"a": 1}')

        return anyio.run(run)

    return post


def test_it_is_a_post_with_headers_and_body(post: Post, receiver: Any) -> None:
    assert post(f"{receiver.url}?token=x") == Outcome(204, None)
    (request,) = receiver.requests
    assert (request.path, request.body) == ("/hook?token=x", b'{"a": 1}')
    assert request.headers["webhook-id"] == "end_0a"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize(("status", "final"), [(400, False), (404, False), (410, True), (429, False), (500, False)])
def test_anything_but_2xx_is_a_failure(status: int, final: bool, post: Post, receiver: Any, answers: Answers) -> None:
    receiver.answers = [answers(status)]
    outcome = post(receiver.url)
    assert (outcome, outcome.is_final) == (Outcome(status, f"answered {status}"), final)


def test_no_redirect_is_followed(post: Post, receiver: Any, receiving: Receiving, answers: Answers) -> None:
    with receiving() as private:
        for status in (301, 302, 303, 307, 308):
            receiver.answers = [answers(status, location=private.url)]
            outcome = post(receiver.url)
            assert outcome == Outcome(status, "redirected: redirects are not followed")
        assert private.requests == []


def test_nobody_there(post: Post) -> None:
    assert post("http://127.0.0.1:1/hook") == Outcome(None, "no connection")


@pytest.mark.parametrize("behaviour", ["hang", "trickle"])
def test_who_does_not_answer_is_given_up_at_the_deadline(behaviour: str, post: Post, receiver: Any) -> None:
    receiver.answers = [getattr(receiver, behaviour)]
    begin = time.monotonic()
    assert post(receiver.url, deadline=0.5) == Outcome(None, "no answer within 0.5 s")
    assert time.monotonic() - begin < 3


def test_a_slow_name_server_is_given_up_too(post: Post, receiver: Any) -> None:
    def slow(_: str) -> tuple[str, ...]:
        receiver.closing.wait(1.0)
        return ("127.0.0.1",)

    assert post(receiver.url, resolve=slow, deadline=0.2) == Outcome(None, "no answer within 0.2 s")
    assert receiver.requests == []


@pytest.mark.parametrize(("behaviour", "limit"), [("endless", "DRAIN_SECONDS"), ("dripping", "DRAIN_BYTES")])
def test_an_endless_answer_is_not_taken(
    behaviour: str, limit: str, post: Post, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is left of both limits is enough: bytes where they come fast, seconds where they come slowly."""
    monkeypatch.setattr(sending, limit, 1_000_000_000)
    receiver.answers = [getattr(receiver, behaviour)]
    begin = time.monotonic()
    assert post(receiver.url, deadline=60.0) == Outcome(200, None)
    assert time.monotonic() - begin < 10


def test_what_is_no_http_is_a_failure(post: Post, receiver: Any) -> None:
    receiver.answers = [lambda handler: handler.wfile.write(b"-ERR unknown command\r\n")]
    assert post(receiver.url) == Outcome(None, "no answer: RemoteProtocolError")


def test_the_address_that_was_looked_at_is_dialled(post: Post, receiver: Any, receiving: Receiving) -> None:
    """A name that leads elsewhere at a second look: there is no second look."""
    with receiving("127.0.0.2", receiver.port) as private:
        looks: list[str] = []

        def rebinding(host: str) -> tuple[str, ...]:
            looks.append(host)
            return ("127.0.0.1",) if len(looks) == 1 else ("127.0.0.2",)

        url = f"http://receiver.test:{receiver.port}/hook"
        assert post(url, resolve=rebinding) == Outcome(204, None)
        assert looks == ["receiver.test"]
        assert receiver.requests[0].headers["host"] == f"receiver.test:{receiver.port}"
        # At the next attempt it is looked at anew, and refused.
        assert post(url, resolve=rebinding) == Outcome(None, "the URL must be https")
        assert private.requests == []


def test_the_next_address_is_tried_where_one_does_not_connect(post: Post, receiving: Receiving) -> None:
    with receiving("127.0.0.1") as there:
        url = f"http://receiver.test:{there.port}/hook"
        settings = WebhookSettings.model_validate({"allowed_networks": ["127.0.0.0/8"]})

        async def run() -> Outcome:
            policy = TargetPolicy(settings, lambda _: ("127.0.0.3", "127.0.0.1"))
            return await Sender(policy).post(HttpUrl(url), {}, b"{}")

        assert anyio.run(run) == Outcome(204, None)


def test_over_tls_the_name_is_what_counts(post: Post, receiving: Receiving, authority: trustme.CA) -> None:
    """Dialled is an address, yet the certificate must be the name's."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    def served_as(name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        return context

    def ours(_: str) -> tuple[str, ...]:
        return ("127.0.0.1",)

    with receiving(tls=served_as("receiver.test")) as receiver:
        url = f"https://receiver.test:{receiver.port}/hook"
        assert post(url, resolve=ours, tls=trusting) == Outcome(204, None)
        assert receiver.names == ["receiver.test"]
        assert receiver.requests[0].headers["host"] == f"receiver.test:{receiver.port}"
        assert post(url, resolve=ours) == Outcome(None, "no connection")  # nobody knows this authority

    with receiving(tls=served_as("127.0.0.1")) as receiver:
        url = f"https://receiver.test:{receiver.port}/hook"
        assert post(url, resolve=ours, tls=trusting) == Outcome(None, "no connection")
        assert receiver.requests == []


def test_no_proxy_stands_between(post: Post, receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would resolve the name itself."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert post(receiver.url) == Outcome(204, None)
