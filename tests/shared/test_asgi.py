"""The body limit counts what arrives, whatever the header claims."""

import asyncio
import json

import pytest

from shared.asgi import BodyLimit


async def reads_everything(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(chunks, headers=()):
    """Status and body of a request whose body arrives in chunks."""
    waiting = list(chunks)
    sent = []

    async def receive():
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    asyncio.run(
        BodyLimit(reads_everything, 10)(
            {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}, receive, send
        )
    )
    return sent[0]["status"], sent[-1]["body"]


def test_a_small_body_passes_unchanged():
    assert ask([b"12345", b"67890"]) == (200, b"1234567890")


@pytest.mark.parametrize("headers", [(), ((b"content-length", b"3"),), ((b"content-length", b"many"),)])
def test_a_body_that_grows_too_large_is_refused(headers):
    status, body = ask([b"12345", b"678901"], headers)
    assert status == 413
    assert json.loads(body)["code"] == "body_too_large"
    assert "10 bytes" in json.loads(body)["detail"]


def test_a_body_declared_too_large_is_not_even_read():
    assert ask([], [(b"content-length", b"11")])[0] == 413


def test_other_than_http_is_passed_on():
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(BodyLimit(application, 10)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]
