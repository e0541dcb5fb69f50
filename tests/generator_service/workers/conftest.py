"""Jobs in a real Valkey, a planner that says what the test wants, and backbone-free rendering."""

import itertools
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal

import pytest
import redis

from deploy.servers import S3_ACCESS_KEY, S3_SECRET_KEY, S3Server
from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.request import RenderSettings
from generator_service.jobs.queues import PLAN_QUEUE, queue_of, render_queue
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from generator_service.jobs.workers import Heartbeat, WorkerInfo, WorkerRegistry
from generator_service.settings import StorageSettings
from generator_service.storage import ObjectStore
from generator_service.workers.attempt import Attempts
from shared.errors import PROBLEM_MEDIA_TYPE, ServiceError
from shared.plan import Plan

FRAMES = 9


@pytest.fixture
def registry(text_client: redis.Redis) -> WorkerRegistry:
    return WorkerRegistry(text_client, heartbeat_seconds=60)


@pytest.fixture
def heartbeat(registry: WorkerRegistry) -> Iterator[Heartbeat]:
    with Heartbeat(registry, WorkerInfo(name="w1", kind="plan", started_at=datetime.now(UTC))) as beating:
        yield beating


MakeAttempts = Callable[[Stage], Attempts]


@pytest.fixture
def attempts(store: JobStore, tickets: Tickets, heartbeat: Heartbeat) -> MakeAttempts:
    def attempts(stage: Stage) -> Attempts:
        queue = PLAN_QUEUE if stage is Stage.PLANNING else render_queue("emoji-world")
        return Attempts(store, tickets, heartbeat, "w1", queue, maximum=3, patience_seconds=1.0)

    return attempts


@pytest.fixture
def settings() -> RenderSettings:
    return RenderSettings(
        backbone="emoji-world", seed=7, steps=4, frames=FRAMES, width=96, height=64, fps=8, guidance_scale=3.0
    )


@pytest.fixture
def make_job(settings: RenderSettings, plan: Plan) -> Callable[..., JobRecord]:
    """A new record: of a job to be planned, or of one with its plan."""
    numbers = itertools.count(1)

    def make(stage: Stage = Stage.PLANNING, **changes: Any) -> JobRecord:
        now = datetime.now(UTC)
        values: dict[str, Any] = {
            "id": f"{next(numbers):032x}",
            "status": JobStatus.QUEUED,
            "stage": stage,
            "prompt": plan.prompt,
            "planner": "parser" if stage is Stage.PLANNING else None,
            "settings": settings,
            "metadata": {},
            "created_at": now,
            "updated_at": now,
        }
        return JobRecord.model_validate(values | changes)

    return make


@pytest.fixture
def submit(
    store: JobStore, tickets: Tickets, make_job: Callable[..., JobRecord], plan: Plan
) -> Callable[..., JobRecord]:
    """A job to be planned, or one with its plan, that waits and has a ticket."""

    def submit(stage: Stage = Stage.PLANNING, **changes: Any) -> JobRecord:
        record = make_job(stage, **changes)
        store.create(record, None if stage is Stage.PLANNING else plan)
        tickets.add(queue_of(record))
        return record

    return submit


# a planner


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    dribble: float = 0.0
    """Seconds between one byte and the next."""

    @classmethod
    def plan(cls, plan: Plan) -> "Answer":
        return cls(200, plan.model_dump_json().encode())

    @classmethod
    def problem(cls, error: ServiceError) -> "Answer":
        return cls(error.status, error.problem.model_dump_json().encode(), PROBLEM_MEDIA_TYPE)


@dataclass
class FakePlanner:
    """An HTTP server on loopback.  Gives the answers in order, the last one again and again."""

    answers: list[Answer]
    url: str = ""
    orders: list[dict[str, Any]] = field(default_factory=list)
    """The bodies it was sent."""
    before_answer: Callable[[], object] = lambda: None
    """Called between order and answer."""
    broken_off: int = 0
    """How often nobody waited for the answer any more."""

    def answer(self, path: str, body: bytes) -> Answer:
        if path != "/plans":
            return Answer(404, b"")
        self.orders.append(json.loads(body))
        self.before_answer()
        return self.answers[min(len(self.orders), len(self.answers)) - 1]


def serving_plans(planner: FakePlanner) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = planner.answer(self.path, self.rfile.read(int(self.headers["content-length"])))
            if select.select([self.connection], [], [], 0.0)[0]:  # all there is to read is the end
                planner.broken_off += 1
            try:
                self.send_response(answer.status)
                self.send_header("content-type", answer.media_type)
                self.send_header("content-length", str(len(answer.body)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                pieces = [bytes((byte,)) for byte in answer.body] if answer.dribble else [answer.body]
                for piece in pieces:
                    self.wfile.write(piece)
                    time.sleep(answer.dribble)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it did not wait

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def planner(plan: Plan, served: Any) -> Iterator[FakePlanner]:
    """Answers every order with `plan` unless told otherwise."""
    planner = FakePlanner([Answer.plan(plan)])
    with served(serving_plans(planner)) as planner.url:
        yield planner


@pytest.fixture
def answer() -> type[Answer]:
    return Answer


# processes

_CODE = {
    "plan": """
from generator_service.settings import Settings
from generator_service.workers.plan_worker import plan_worker
import sys
import time
with plan_worker(Settings()) as work:
    work()
assert "torch" not in sys.modules
""",
    "render": """
from generator_service.settings import Settings
from generator_service.workers.render_worker import render_worker
with render_worker(Settings()) as work:
    work()
""",
    "ranks": """
import sys
sys.argv = ["generator_service", "render-worker"]
from generator_service.__main__ import app
app()
""",
}


@contextmanager
def _run_worker(
    kind: Literal["plan", "render", "ranks"], log: Path, redis_url: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    variables = {
        "GENERATOR_REDIS_URL": redis_url,
        "GENERATOR_HEARTBEAT_SECONDS": "1",
        "GENERATOR_LOG_FORMAT": "json",
        "OMP_NUM_THREADS": "1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE[kind]],
            env=os.environ | variables | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def run_worker() -> Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]:
    """A worker in a process of its own, killed at the end of the block if it still runs."""
    return _run_worker


@pytest.fixture
def _storage(s3: S3Server, tmp_path: Path) -> dict[str, str]:
    url = f"s3://{s3.bucket}/{tmp_path.name}"
    return {"url": url, "endpoint": s3.endpoint, "access_key": S3_ACCESS_KEY, "secret_key": S3_SECRET_KEY}


@pytest.fixture
def objects_of_processes(_storage: dict[str, str]) -> ObjectStore:
    """Where the render workers of this test put what they make."""
    return ObjectStore.open(StorageSettings.model_validate(_storage))


@pytest.fixture
def render_environment(_storage: dict[str, str], tmp_path: Path, tiny_pipeline: Callable[..., Any]) -> dict[str, str]:
    """What a render worker process needs to know: a tiny CogVideoX, whose solver needs noise at every step and
    what the step before has found, and the storage."""
    weights = tmp_path / "weights"
    tiny_pipeline(scheduler="dpm").save_pretrained(weights)
    environment = {f"GENERATOR_STORAGE_{name.upper()}": value for name, value in _storage.items()}
    return environment | {
        "GENERATOR_RENDER_WEIGHTS": str(weights),
        "GENERATOR_RENDER_BACKBONE": "cogvideox-2b",
    }
