"""A receiver of webhooks, over HTTP or HTTPS, that does what the test wants; and jobs that have ended."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import pytest
import redis
import trustme
from pydantic import SecretStr

from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.request import RenderSettings
from generator_service.jobs.outbox import Outbox
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.workers import WorkerRegistry
from generator_service.settings import WebhookSettings
from generator_service.webhooks.event import Signer

LOOPBACK = "127.0.0.1"


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    answers: list[Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=list)
    """One for each request, the last one again and again; 204 where there is none."""
    names: list[str | None] = field(default_factory=list)
    """Those that TLS was asked for."""
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/hook"

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append(Request(handler.path, headers, body))
        if self.answers:
            self.answers[min(len(self.requests), len(self.answers)) - 1](handler)
        else:
            answering(204)(handler)

    def hang(self, _: BaseHTTPRequestHandler) -> None:
        self.closing.wait(60)

    def endless(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not self.closing.is_set():
            handler.wfile.write(b"x" * 65536)

    def dripping(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not self.closing.wait(0.05):
            handler.wfile.write(b"x")

    def trickle(self, handler: BaseHTTPRequestHandler) -> None:
        """A header every moment, so that nobody who waits for the next byte gives up."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self.closing.wait(0.05):
            handler.wfile.write(b"X-More: x\r\n")


def answering(status: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", "0")
        handler.end_headers()

    return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Who is called hangs up as it likes."""


@contextmanager
def _receiving(address: str = LOOPBACK, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.handle(self)

        def log_message(self, *_: object) -> None:
            pass

    with _Server((address, port), Handler) as server:
        receiver.port = server.server_port
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: receiver.names.append(name)
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.closing.set()
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def receiving() -> Callable[..., AbstractContextManager[Receiver]]:
    """A receiver of one's own: its address, port and TLS."""
    return _receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Over HTTP, on loopback; answers 204 unless told otherwise."""
    with _receiving() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def answers() -> Callable[..., Callable[[BaseHTTPRequestHandler], None]]:
    """A status, and headers -> an answer for a receiver."""
    return answering


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


SECRET = SecretStr("0123456789abcdef0123456789abcdef")


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer(SECRET)


@pytest.fixture
def webhook_settings() -> WebhookSettings:
    """Receivers on 127.0.0.1 are allowed."""
    return WebhookSettings.model_validate({"secret": SECRET, "allowed_networks": ["127.0.0.1/32"]})


@pytest.fixture
def outbox(text_client: redis.Redis) -> Outbox:
    return Outbox(text_client)


MakeJob = Callable[..., JobRecord]


@pytest.fixture
def make_job(store: JobStore) -> MakeJob:
    """A queued job with a webhook."""
    numbers = count(1)

    def make(url: str, **changes: Any) -> JobRecord:
        now = datetime.now(UTC)
        settings = RenderSettings(
            backbone="emoji-world", seed=7, steps=4, frames=9, width=64, height=48, fps=8, guidance_scale=3.0
        )
        values: dict[str, Any] = {
            "id": f"{next(numbers):032x}",
            "owner": "anna",
            "status": JobStatus.QUEUED,
            "stage": Stage.PLANNING,
            "prompt": "a red car drives to the right",
            "planner": "auto",
            "settings": settings,
            "metadata": {"order": "4711"},
            "created_at": now,
            "updated_at": now,
            "webhook": {"url": url},
        }
        record = JobRecord.model_validate(values | changes)
        store.create(record, None)
        return record

    return make


@pytest.fixture
def ended(store: JobStore, make_job: MakeJob) -> Callable[[str], str]:
    """The id of a job that has been canceled, and whose end is to be told at this URL."""
    return lambda url: store.cancel(make_job(url).id).id


@pytest.fixture
def registry(text_client: redis.Redis) -> WorkerRegistry:
    return WorkerRegistry(text_client, heartbeat_seconds=60)
