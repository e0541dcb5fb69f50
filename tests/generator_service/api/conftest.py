"""A live API on a loopback port, and a worker's hands: tests move jobs through the store as workers would."""

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
import structlog
import uvicorn

from deploy.servers import LOOPBACK, RedisServer
from generator_service.api.app import create_app
from generator_service.api.parts import Parts
from generator_service.api.server import options
from generator_service.contract.report import Diagnostics
from generator_service.jobs.keyspace import waiting_key
from generator_service.jobs.queues import queue_of
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.workers import WorkerInfo
from generator_service.settings import Settings, StorageSettings
from generator_service.storage import JSON_TYPE, PREVIEW_TYPE, VIDEO_TYPE, JobKeys
from shared.errors import PROBLEM_MEDIA_TYPE, Problem

Served = Callable[[type[BaseHTTPRequestHandler]], AbstractContextManager[str]]

VIDEO = b"\x00\x00\x00\x18ftypmp42" + bytes(100_000)


@dataclass
class FakePlanner:
    """Says whether it is ready, counts how often it was asked, and answers orders of plans."""

    url: str = ""
    ready: bool = True
    asked: int = 0
    answer: Callable[[str], tuple[int, bytes]] = lambda _: (503, b"")
    """Of the path with its query: status and body."""
    orders: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def _planner(served: Served) -> Iterator[FakePlanner]:
    planner = FakePlanner()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            planner.asked += self.path == "/ready"
            self.send_response(200 if planner.ready else 503)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            planner.orders.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            status, body = planner.answer(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as planner.url:
        yield planner


@dataclass(frozen=True)
class LiveApi:
    url: str
    http: httpx.Client
    parts: Parts
    server: uvicorn.Server
    planner: FakePlanner

    def submit(self, **fields: Any) -> str:
        """A new job's id."""
        answer = self.http.post("/jobs", json={"prompt": "a red car"} | fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def start(self, job_id: str) -> JobRecord:
        """The next stage begins, whoever waits before this job."""
        store = self.parts.store
        queue = queue_of(store.get(job_id))
        store._redis.zadd(waiting_key(queue), {job_id: float("-inf")}, xx=True)
        started = store.start(queue, worker="w1")
        assert started is not None
        assert started.id == job_id
        return started

    def finish(self, job_id: str, *, with_plan: bool = True, notes: tuple[str, ...] = ()) -> JobRecord:
        """The end of a running job: its files, then its record."""
        keys = JobKeys(job_id)
        self.parts.objects.put(keys.video, VIDEO, VIDEO_TYPE)
        self.parts.objects.put(keys.preview, b"\x89PNG strip", PREVIEW_TYPE)
        self.parts.objects.put(keys.manifest, b'{"seed": 7}', JSON_TYPE)
        self.parts.objects.put(keys.report, b'{"notes": []}', JSON_TYPE)
        if with_plan:
            self.parts.objects.put(keys.plan, b"{}", JSON_TYPE)
        plan = keys.plan if with_plan else None
        results = Results(video=keys.video, plan=plan, preview=keys.preview, manifest=keys.manifest, report=keys.report)
        return self.parts.store.succeed(job_id, worker="w1", results=results, diagnostics=Diagnostics(notes=notes))

    def beat(self, kind: str, backbone: str | None = None) -> None:
        """A worker is heard."""
        info = WorkerInfo.model_validate(
            {"name": f"{kind}-1", "kind": kind, "backbone": backbone, "started_at": datetime.now(UTC)}
        )
        self.parts.workers.beat(info)


@pytest.fixture(scope="session", autouse=True)
def _logs_apart() -> Iterator[None]:
    """The API runs in this process, and so do the commands, whose stdout is looked at."""
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)  # pretty ones take seconds
    structlog.configure([plain], logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    yield
    structlog.reset_defaults()


Serve = Callable[..., AbstractContextManager[LiveApi]]


@contextmanager
def _serve(served: Served, **changes: Any) -> Iterator[LiveApi]:
    # asyncio sets TCP_NODELAY only where the protocol is named; without it every answer takes 40 ms.
    with socket.socket(proto=socket.IPPROTO_TCP) as listening, _planner(served) as planner:
        listening.bind((LOOPBACK, 0))
        listening.listen()  # what asks before the server runs is kept waiting
        url = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
        # Beats that nobody waits for: the tests' worker "w1" is one that never beats.
        defaults = {"planner_url": planner.url, "storage": StorageSettings(url="memory://"), "heartbeat_seconds": 3600}
        settings = Settings(**(defaults | changes))
        app = create_app(settings)
        server = uvicorn.Server(uvicorn.Config(app, **options(settings), timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with httpx.Client(base_url=url, timeout=20.0, trust_env=False) as http:
                assert http.get("/health").status_code == 200
                yield LiveApi(url, http, app.state.parts, server, planner)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def serve(served: Served) -> Serve:
    """A live API with settings of one's own."""
    return partial(_serve, served)


@pytest.fixture(scope="session")
def _shared_api(valkey: RedisServer, serve: Serve) -> Iterator[LiveApi]:
    with serve(redis_url=valkey.url) as api:
        yield api


@pytest.fixture
def api(_shared_api: LiveApi, redis_url: str) -> LiveApi:
    """A live API without any job."""
    return _shared_api


def _problem(answer: httpx.Response, status: int, code: str) -> Problem:
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE, answer.text
    problem = Problem.model_validate_json(answer.content)
    assert (answer.status_code, problem.status, problem.code) == (status, status, code), answer.text
    return problem


@pytest.fixture(scope="session")
def problem() -> Callable[[httpx.Response, int, str], Problem]:
    """The problem+json of an answer, after a look at its status and code."""
    return _problem
