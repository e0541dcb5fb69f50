"""Somebody can write to Redis, and would like a worker to run code of theirs: a worker takes their messages for broken,
and goes on."""

import json
import pickle
import subprocess
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import redis

from generator_service.contract.job import Stage
from generator_service.jobs.queues import PLAN_QUEUE
from generator_service.jobs.delivery import Delivery
from generator_service.jobs.workers import WorkerRegistry
from generator_service.jobs.message import PLAN_FUNCTION
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore

RunWorker = Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]


class Opening:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.fixture
def called(served: Any) -> Iterator[list[str]]:
    """The paths that an HTTP server was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        paths.append(url)
        yield paths


def forge(client: redis.Redis, name: str, data: bytes, **fields: str) -> None:
    """A message as RQ keeps it, among those that a worker of plans has begun: RQ ends them, by their callbacks."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    usual = {"created_at": now, "enqueued_at": now, "origin": PLAN_QUEUE, "status": "started", "timeout": "60"}
    client.hset(f"rq:job:{name}", mapping={**usual, "data": zlib.compress(data), **fields})
    client.zadd(f"rq:wip:{PLAN_QUEUE}", {f"{name}:1": 1})  # long overdue
    client.rpush(f"rq:queue:{PLAN_QUEUE}", name)  # where RQ's own workers would look


def test_no_message_makes_a_worker_run_code_of_its_choice(
    tmp_path: Path,
    redis_url: str,
    raw_client: redis.Redis,
    run_worker: RunWorker,
    planner: Any,
    registry: WorkerRegistry,
    store: JobStore,
    submit: Callable[..., JobRecord],
    wait_until: Callable[..., None],
    delivery: Delivery,
    called: list[str],
) -> None:
    (address,) = called
    victim = tmp_path / "victim"
    module = tmp_path / "evil.py"
    module.write_text(f"open({str(victim)!r}, 'w')\ndef run(*_): open({str(victim)!r}, 'w')\n")
    victim_pickle = pickle.dumps((PLAN_FUNCTION, None, [Opening(victim)], {}))

    def message(function: str, *arguments: object, instance: object = None) -> bytes:
        return json.dumps([function, instance, arguments, {}]).encode()

    webhooks = json.dumps([{"url": f"{address}/forged", "job_status": "finished", "method": "POST"}])
    callbacks = {f"{ending}_callback_name": "evil.run" for ending in ("success", "failure", "stopped")}
    forge(raw_client, "pickle", victim_pickle)
    forge(raw_client, "system", message("os.system", f"touch {victim}"))
    forge(raw_client, "open", message("builtins.open", str(victim), "w"))
    forge(raw_client, "import", message("evil.run"))
    forge(raw_client, "method", message("upper", instance="text"))
    forge(raw_client, "callbacks", message(PLAN_FUNCTION, "0" * 32), **callbacks)
    forge(raw_client, "failing", message(PLAN_FUNCTION), **callbacks)
    forge(raw_client, "webhooks", message(PLAN_FUNCTION, "0" * 32), webhooks=webhooks)
    forge(raw_client, "path", message(PLAN_FUNCTION, "../../etc/passwd"))
    job = submit().id
    queue = delivery.queue(PLAN_QUEUE)

    log = tmp_path / "log"
    with run_worker("plan", log, redis_url, GENERATOR_PLANNER_URL=planner.url, PYTHONPATH=str(tmp_path)) as process:
        wait_until(lambda: queue.count == 0 and store.get(job).stage is Stage.SAMPLING, 90)
        assert process.poll() is None
    assert len(planner.orders) == 1
    assert called == [address]
    assert not victim.exists()
