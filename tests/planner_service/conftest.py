"""The real parser, and a scripted OpenAI-compatible server on loopback."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from planner_service.language_model import LanguageModel
from planner_service.parser.planner import Parser

GOOD_ANSWER: dict[str, Any] = {
    "thoughts": "A car drives to the right, a tree stands.",
    "reading": {
        "graph": {
            "instances": [
                {"id": "car", "name": "red car", "description": "a red car driving", "label": "rigid"},
                {"id": "tree", "name": "tree", "description": "a tree", "label": "motionless"},
            ],
            "relations": [{"source": "car", "target": "tree", "kind": "dynamic", "phrase": "passes"}],
        },
        "background": "a road",
        "cues": [
            {"instance": "car", "phases": [{"label": "rigid", "direction": "right"}]},
            {"instance": "tree", "place": "right", "phases": [{"label": "motionless"}]},
        ],
        "depth_order": ["car", "tree"],
    },
}


@dataclass(frozen=True)
class Reply:
    """What the scripted server does with one request."""

    content: str = ""
    finish_reason: str = "stop"
    status: int = 200
    body: bytes | None = None
    """The raw body, in place of a completion."""
    delay: float = 0.0

    def payload(self) -> bytes:
        if self.body is not None:
            return self.body
        if self.status != 200:
            return json.dumps({"error": {"message": f"scripted {self.status}"}}).encode()
        message = {"role": "assistant", "content": self.content}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


@dataclass
class ScriptedServer:
    """Answers with its replies in order, the last one again and again, and remembers what it was asked."""

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def next_reply(self) -> Reply:
        return self.replies[min(len(self.requests), len(self.replies)) - 1]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    script = ScriptedServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            script.requests.append(json.loads(body) | {"path": self.path, "key": self.headers.get("authorization")})
            reply = script.next_reply()
            if reply.delay:
                script.released.wait(reply.delay)
            payload = reply.payload()
            try:
                self.send_response(reply.status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client did not wait

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        script.url = f"http://127.0.0.1:{http.server_port}/v1"
        try:
            yield script
        finally:
            script.released.set()
            http.shutdown()
            thread.join()


@pytest.fixture
def connect(server: ScriptedServer) -> Iterator[Callable[..., LanguageModel]]:
    """Makes clients of the scripted server that do not wait between retries."""
    clients: list[LanguageModel] = []

    def make(seconds: float = 5.0, url: str | None = None, key: str | None = None) -> LanguageModel:
        clients.append(LanguageModel(url or server.url, "test-model", key, seconds, retry_seconds=0.0))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def parser() -> Parser:
    return Parser()


@pytest.fixture
def good_answer() -> dict[str, Any]:
    return json.loads(json.dumps(GOOD_ANSWER))  # type: ignore[no-any-return]


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def stopwatch() -> Callable[[], float]:
    started = time.perf_counter()
    return lambda: time.perf_counter() - started
