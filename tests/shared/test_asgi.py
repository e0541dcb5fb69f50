"""The limit on bodies, called as a server would call it."""

import asyncio
import json
from typing import Any

import pytest

from shared.asgi import BodyLimit, Message, Receive, Scope, Send


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads all of the body and answers with its length, as careless about exceptions as frameworks are."""
    length, more = 0, True
    try:
        while more:
            message = await receive()
            length += len(message["body"])
            more = message["more_body"]
    except Exception:
        length = -1
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(length).encode()})


def call(chunks: list[bytes], declared: str | None) -> tuple[int, bytes]:
    sent: list[Message] = []
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    waiting[-1]["more_body"] = False
    messages = iter(waiting)

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [] if declared is None else [(b"content-length", declared.encode())]
    scope: dict[str, Any] = {"type": "http", "headers": headers}
    asyncio.run(BodyLimit(echo, maximum_bytes=10)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize("declared", ["10", None])
def test_a_body_of_just_the_limit_passes(declared: str | None) -> None:
    assert call([b"12345", b"67890"], declared) == (200, b"10")


@pytest.mark.parametrize("declared", ["11", None, "3", "nonsense"])
def test_a_larger_body_is_refused_whatever_length_it_declares(declared: str | None) -> None:
    status, body = call([b"12345", b"678901"], declared)
    assert status == 413
    assert json.loads(body)["code"] == "body_too_large"
    assert "10 bytes" in json.loads(body)["detail"]
