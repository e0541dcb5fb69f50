"""The real parser, and a scripted OpenAI-compatible server on loopback."""

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from planner_service.language_model.client import LanguageModel
from planner_service.parser.planner import Parser

GOOD_SCENE: dict[str, Any] = {
    "thoughts": "A car drives to the right, a tree stands.",
    "instances": [
        {
            "words": "a red car drives past",
            "why": "a vehicle keeps its shape",
            "node": {"id": "car", "name": "red car", "description": "a red car driving", "label": "rigid"},
        },
        {
            "words": "a tree",
            "why": "it stands",
            "node": {"id": "tree", "name": "tree", "description": "a tree", "label": "motionless"},
        },
    ],
    "relations": [{"source": "car", "target": "tree", "kind": "dynamic", "phrase": "passes"}],
    "background": "a road",
    "depth_order": ["car", "tree"],
}
GOOD_MOVEMENTS: dict[str, Any] = {
    "thoughts": "The car crosses in front of the tree.",
    "movements": [
        {
            "why": "it drives past, to the right",
            "cues": {"instance": "car", "phases": [{"label": "rigid", "direction": "right"}]},
        },
        {"why": "it stands", "cues": {"instance": "tree", "place": "right", "phases": [{"label": "motionless"}]}},
    ],
}


@dataclass(frozen=True)
class Reply:
    """What the scripted server does with one request."""

    content: Any = ""
    finish_reason: str = "stop"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    message: Mapping[str, Any] = field(default_factory=dict)
    """What else the message has."""
    body: bytes | None = None
    """The raw body, in place of a completion."""
    delay: float = 0.0
    dribble: float = 0.0
    """Seconds between one byte and the next, of header and body alike."""
    breaks_off: bool = False
    """After half of the body."""

    def payload(self) -> bytes:
        if self.body is not None:
            return self.body
        if self.status != 200:
            return json.dumps({"error": {"message": f"scripted {self.status}"}}).encode()
        message = {"role": "assistant", "content": self.content, **self.message}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return json.dumps({"object": "chat.completion", "choices": [choice]}).encode()


@dataclass
class ScriptedServer:
    """Answers with its replies in order, the last one again and again, and remembers what it was asked.

    Asked whether it is ready it says so, as it is scripted for that, and this is remembered apart.
    """

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    """When, by the monotonic clock."""
    ready: Reply = field(default_factory=lambda: Reply('{"state": "ready"}'))
    checks: list[dict[str, Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    arrived: threading.Condition = field(default_factory=threading.Condition)

    def take(self, request: dict[str, Any]) -> Reply:
        with self.arrived:
            if request["response_format"]["json_schema"]["name"] == "ready":
                self.checks.append(request)
                return self.ready
            self.requests.append(request)
            self.moments.append(time.monotonic())
            self.arrived.notify_all()
            return self.replies[min(len(self.requests), len(self.replies)) - 1]

    def asked(self, times: int, seconds: float = 10.0) -> bool:
        """Whether it has been asked so often, now or within so many seconds."""
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.requests) >= times, seconds)


@pytest.fixture
def server(served: Any) -> Iterator[ScriptedServer]:
    script = ScriptedServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            asked = {"path": self.path, "key": self.headers.get("authorization")}
            reply = script.take(json.loads(body) | asked)
            if reply.delay:
                script.released.wait(reply.delay)
            payload = reply.payload()
            headers = {"content-length": str(len(payload)), **reply.headers}
            lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
            head = "\r\n".join([*lines, "", ""]).encode()
            if reply.breaks_off:
                payload = payload[: len(payload) // 2]
                self.close_connection = True
            try:
                if reply.dribble:
                    for byte in head + payload:
                        self.wfile.write(bytes((byte,)))
                        script.released.wait(reply.dribble)
                else:
                    self.wfile.write(head + payload)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client did not wait

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with served(Handler) as url:
        script.url = f"{url}/v1"
        try:
            yield script
        finally:
            script.released.set()


@pytest.fixture
def connect(server: ScriptedServer) -> Iterator[Callable[..., LanguageModel]]:
    """Makes clients of the scripted server that do not wait between retries."""
    clients: list[LanguageModel] = []

    def make(seconds: float = 5.0, url: str | None = None, key: str | None = None, **options: Any) -> LanguageModel:
        clients.append(LanguageModel(url or server.url, "test-model", key, seconds, retry_seconds=0.0, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def parser() -> Parser:
    return Parser()


@pytest.fixture
def scene() -> dict[str, Any]:
    """What a good model answers first to "a red car drives past a tree"; a copy to spoil."""
    return copy.deepcopy(GOOD_SCENE)


@pytest.fixture
def movements() -> dict[str, Any]:
    """And then."""
    return copy.deepcopy(GOOD_MOVEMENTS)


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def replies(reply: type[Reply]) -> Callable[..., list[Reply]]:
    """One reply for each answer."""
    return lambda *answers: [reply(json.dumps(answer)) for answer in answers]


@pytest.fixture
def stopwatch() -> Callable[[], float]:
    started = time.perf_counter()
    return lambda: time.perf_counter() - started
