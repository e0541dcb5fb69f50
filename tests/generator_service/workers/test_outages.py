"""Parts that are gone in the middle of a job, for real: killed, and started again later.  No job is lost to that, none
is rendered twice, and none is counted as another attempt."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from pydantic import SecretStr

from deploy.parts import started
from deploy.servers import (
    LOOPBACK,
    SEAWEEDFS,
    SEAWEEDFS_PORTS,
    answers,
    embedded_valkey,
    free_ports,
    s3_endpoint,
    seaweedfs,
)
from generator_service.api.app import create_app
from generator_service.jobs.connection import connect
from generator_service.jobs.delivery import Delivery
from generator_service.jobs.heartbeat import WorkerRegistry
from generator_service.jobs.record import JobRecord
from generator_service.jobs.states import JobStatus, Stage
from generator_service.jobs.store import JobStore
from generator_service.request import RenderSettings
from generator_service.settings import Settings, StorageSettings
from generator_service.storage.object_store import ObjectStore
from shared.plan import Plan

Submit = Callable[..., JobRecord]
WaitUntil = Callable[..., None]
Process = subprocess.Popen[bytes]
RunWorker = Callable[..., AbstractContextManager[Process]]

START_SECONDS = 90.0
OUTAGE_SECONDS = 4.0
"""Longer than a worker's beats are good for."""


@pytest.fixture
def small(settings: RenderSettings) -> RenderSettings:
    return settings.model_copy(update={"backbone": "cogvideox-2b", "width": 48, "height": 32, "steps": 300})


def events(log: Path, job: str) -> list[dict[str, Any]]:
    """Of one job, as its worker has logged them."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("job_id") == job]


def happened(event: str, job: str, *logs: Path) -> int:
    return sum(line["event"] == event for log in logs for line in events(log, job))


# storage


@contextmanager
def storage_on(folder: Path, ports: list[int]) -> Iterator[int]:
    """A SeaweedFS of one's own; its process id."""
    with started([seaweedfs(folder, ports)], logs=folder) as stack:
        yield stack.pid(SEAWEEDFS)


@pytest.mark.timeout(300)
def test_storage_dies_before_the_video_is_stored_and_then_a_worker_does(
    tmp_path: Path,
    redis_url: str,
    run_worker: RunWorker,
    render_environment: dict[str, str],
    store: JobStore,
    registry: WorkerRegistry,
    submit: Submit,
    small: RenderSettings,
    wait_until: WaitUntil,
) -> None:
    ports = free_ports(SEAWEEDFS_PORTS)
    endpoint = s3_endpoint(ports[0])
    environment = render_environment | {"GENERATOR_STORAGE_ENDPOINT": endpoint}
    variables = {name.removeprefix("GENERATOR_STORAGE_").lower(): value for name, value in environment.items()}
    objects = ObjectStore.open(StorageSettings.model_validate(variables))
    logs = [tmp_path / f"log{number}" for number in range(2)]
    spool = tmp_path / "spool"

    def waits_with_its_video(job: str) -> bool:
        return happened("storage_waited_for", job, *logs) > 0 and (spool / f"{job}.zip").exists()

    def video(job: str) -> bytes:
        wait_until(lambda: store.get(job).status.is_terminal, 60)
        record = store.get(job)
        assert record.results is not None, record
        return objects.get(record.results.video)

    with ExitStack() as workers:
        with storage_on(tmp_path / "s3", ports) as pid:
            processes = [workers.enter_context(run_worker("render", log, redis_url, **environment)) for log in logs]
            wait_until(lambda: len(registry.workers()) == 2, START_SECONDS)
            undisturbed = video(submit(Stage.SAMPLING, settings=small).id)

            job = submit(Stage.SAMPLING, settings=small).id
            wait_until(lambda: store.get(job).step > 0)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: waits_with_its_video(job), 60)
        assert (store.get(job).status, store.get(job).stage) == (JobStatus.RUNNING, Stage.STORING)
        with storage_on(tmp_path / "s3", ports) as pid:
            assert video(job) == undisturbed
            assert store.get(job).attempt == 1
            wait_until(lambda: list(spool.iterdir()) == [])

            # Again, and the worker that waits is killed: another one on this machine stores its video.
            job = submit(Stage.SAMPLING, settings=small).id
            wait_until(lambda: store.get(job).step > 0)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: waits_with_its_video(job), 60)
            worker = store.get(job).worker
            (dead,) = [process for process in processes if f"-{process.pid}-" in str(worker)]
            dead.send_signal(signal.SIGKILL)
            wait_until(lambda: happened("spooled_video_found", job, *logs) == 1, 30)
        with storage_on(tmp_path / "s3", ports):
            assert video(job) == undisturbed
            assert store.get(job).attempt == 2
            wait_until(lambda: list(spool.iterdir()) == [])


# Redis


@pytest.mark.timeout(200)
def test_redis_is_gone_as_a_render_ends(
    tmp_path: Path,
    run_worker: RunWorker,
    render_environment: dict[str, str],
    objects_of_processes: ObjectStore,
    make_job: Callable[..., JobRecord],
    plan: Plan,
    small: RenderSettings,
    wait_until: WaitUntil,
) -> None:
    port, log = free_ports(1)[0], tmp_path / "log"
    url = f"redis://{LOOPBACK}:{port}/0"
    with ExitStack() as stack:
        text = stack.enter_context(connect(SecretStr(url), decode=True))
        raw = stack.enter_context(connect(SecretStr(url), decode=False))
        store, delivery = JobStore(text), Delivery(raw, job_seconds=600)
        job = make_job(Stage.SAMPLING, settings=small)
        with embedded_valkey(tmp_path / "valkey", port) as server:
            stack.enter_context(run_worker("render", log, url, **render_environment))
            wait_until(lambda: bool(WorkerRegistry(text, 60).workers()), START_SECONDS)
            store.create(job, plan)
            delivery.enqueue(job)
            wait_until(lambda: store.get(job.id).step > 0)
            os.kill(server.pid, signal.SIGKILL)

        def ended_unheard() -> bool:
            return any(
                (line["event"], line.get("stage")) == ("progress_not_reported", "storing")
                for line in events(log, job.id)
            )

        wait_until(ended_unheard, 60)
        time.sleep(OUTAGE_SECONDS)
        with embedded_valkey(tmp_path / "valkey", port):
            wait_until(lambda: store.get(job.id).status.is_terminal, 60)
            record = store.get(job.id)
            assert (record.status, record.attempt, record.step) == (JobStatus.SUCCEEDED, 1, 300)
            assert record.results is not None
            assert objects_of_processes.get(record.results.video)
    assert happened("job_started", job.id, log) == 1


def test_the_api_while_redis_hangs_and_afterwards(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer is 503 and says what is missing and when to come back; nothing has to be started anew."""
    monkeypatch.setattr("generator_service.jobs.connection.SERVING_SECONDS", 0.5)
    with embedded_valkey(tmp_path) as server:
        settings = Settings.model_validate({"redis_url": server.url, "storage": StorageSettings(url="memory://")})
        with TestClient(create_app(settings)) as api:
            job = api.post("/jobs", json={"prompt": "a red car"}).json()["id"]
            os.kill(server.pid, signal.SIGSTOP)
            try:
                answers = [
                    api.post("/jobs", json={"prompt": "a red car"}),
                    api.get(f"/jobs/{job}"),
                    api.get(f"/jobs/{job}/deliveries"),
                    api.post(f"/jobs/{job}/cancel"),
                    api.get("/ready"),
                ]
            finally:
                os.kill(server.pid, signal.SIGCONT)
            for answer in answers:
                assert (answer.status_code, answer.json()["retryable"]) == (503, True)
                assert "Redis does not answer" in answer.json()["detail"]
                assert int(answer.headers["retry-after"]) > 0
            assert "redis" in [violation["field"] for violation in answers[-1].json()["violations"]]
            assert api.get(f"/jobs/{job}").status_code == 200
            assert api.post("/jobs", json={"prompt": "a red car"}).status_code == 202


# the planner and its language model


SCENE = {
    "thoughts": "A car drives, a tree stands.",
    "instances": [
        {
            "words": "a red car drives to the right",
            "why": "a vehicle keeps its shape",
            "node": {"id": "car", "name": "red car", "description": "a red car driving", "label": "rigid"},
        },
        {
            "words": "a tree",
            "why": "it stands",
            "node": {"id": "tree", "name": "tree", "description": "a tree", "label": "motionless"},
        },
    ],
    "relations": [{"source": "car", "target": "tree", "kind": "dynamic", "phrase": "past"}],
    "background": "a road",
    "depth_order": ["car", "tree"],
}
MOVEMENTS = {
    "thoughts": "The car crosses in front of the tree.",
    "movements": [
        {
            "why": "it drives to the right",
            "cues": {"instance": "car", "phases": [{"label": "rigid", "direction": "right"}]},
        },
        {"why": "it stands", "cues": {"instance": "tree", "place": "right", "phases": [{"label": "motionless"}]}},
    ],
}


@contextmanager
def language_model_on(port: int) -> Iterator[None]:
    """An OpenAI-compatible server that knows one scene."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            content = MOVEMENTS if "movements" in json.dumps(asked["response_format"]) else SCENE
            message = {"role": "assistant", "content": json.dumps(content)}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            body = json.dumps({"object": "chat.completion", "choices": choices}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer((LOOPBACK, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def planner_on(port: int, language_model: int) -> Iterator[None]:
    environment = {
        "PLANNER_HOST": LOOPBACK,
        "PLANNER_PORT": str(port),
        "PLANNER_LANGUAGE_MODEL_URL": f"http://{LOOPBACK}:{language_model}/v1",
    }
    command = [sys.executable, "-m", "planner_service", "serve"]
    with subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(f"http://{LOOPBACK}:{port}/health"):
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
            yield
        finally:
            process.kill()


@pytest.mark.timeout(300)
def test_the_planner_and_then_its_language_model_are_gone(
    tmp_path: Path,
    redis_url: str,
    run_worker: RunWorker,
    store: JobStore,
    submit: Submit,
    wait_until: WaitUntil,
) -> None:
    planner, language_model = free_ports(2)
    log = tmp_path / "log"

    def waits_for(what: str, job: str) -> bool:
        return any(line["event"] == "planner_waited_for" and what in line["reason"] for line in events(log, job))

    def planned(job: str) -> JobRecord:
        wait_until(lambda: store.get(job).stage is not Stage.PLANNING, 60)
        return store.get(job)

    url = f"http://{LOOPBACK}:{planner}"
    with run_worker("plan", log, redis_url, GENERATOR_PLANNER_URL=url):
        job = submit(planner="parser").id
        wait_until(lambda: log.exists() and waits_for("the planner does not answer", job), START_SECONDS)
        assert store.get(job).status is JobStatus.RUNNING
        with planner_on(planner, language_model):
            record = planned(job)
            assert (record.status, record.stage, record.attempt) == (JobStatus.QUEUED, Stage.SAMPLING, 1)

            job = submit(planner="language-model").id
            wait_until(lambda: waits_for("language model", job))
            assert store.get(job).status is JobStatus.RUNNING
            with language_model_on(language_model):
                record = planned(job)
                assert (record.status, record.stage, record.attempt) == (JobStatus.QUEUED, Stage.SAMPLING, 1)
                assert record.error is None


def test_a_worker_that_waits_for_the_planner_stops_when_it_is_told(
    tmp_path: Path,
    redis_url: str,
    run_worker: RunWorker,
    store: JobStore,
    submit: Submit,
    wait_until: WaitUntil,
    text_client: redis.Redis,
) -> None:
    log = tmp_path / "log"
    url = f"http://{LOOPBACK}:{free_ports(1)[0]}"
    with run_worker("plan", log, redis_url, GENERATOR_PLANNER_URL=url) as process:
        job = submit().id
        wait_until(lambda: log.exists() and happened("planner_waited_for", job, log) > 0, START_SECONDS)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    record = store.get(job)
    assert (record.status, record.stage, record.attempt) == (JobStatus.QUEUED, Stage.PLANNING, 1)
