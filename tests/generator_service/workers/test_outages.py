"""Parts that are gone at the worst moments of a job, for real: killed, and started again later.

`benchmarks/outages.py` has each of them gone in the middle of one.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from deploy.parts import started
from deploy.servers import (
    LOOPBACK,
    SEAWEEDFS,
    SEAWEEDFS_PORTS,
    embedded_valkey,
    free_ports,
    s3_endpoint,
    seaweedfs,
)
from generator_service.api.app import create_app
from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.request import RenderSettings
from generator_service.jobs.connection import connect
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.workers import WorkerRegistry
from generator_service.settings import Settings, StorageSettings
from generator_service.storage import ObjectStore
from shared.plan import Plan

Submit = Callable[..., JobRecord]
WaitUntil = Callable[..., None]
Process = subprocess.Popen[bytes]
RunWorker = Callable[..., AbstractContextManager[Process]]

REPOSITORY = Path(__file__).parents[3]
START_SECONDS = 90.0
OUTAGE_SECONDS = 4.0
"""Longer than a worker's beats are good for."""


@pytest.fixture
def small(settings: RenderSettings) -> RenderSettings:
    return settings.model_copy(update={"backbone": "cogvideox-2b", "width": 48, "height": 32, "steps": 300})


def events(log: Path, job: str) -> list[dict[str, Any]]:
    """Of one job, as its worker has logged them, but for a line that is still being written."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line[:1] + line[-1:] == "{}"]
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

    def waits_with_its_video(job: str) -> bool:
        return happened("storage_waited_for", job, *logs) > 0

    def video(job: str) -> bytes:
        wait_until(lambda: store.get(job).status.is_terminal, 60)
        record = store.get(job)
        assert record.results is not None, record
        return objects.get(record.results.video)

    with ExitStack() as workers:
        with storage_on(tmp_path / "s3", ports) as pid:
            processes = [workers.enter_context(run_worker("render", log, redis_url, **environment)) for log in logs]
            wait_until(lambda: len(registry.alive()) == 2, START_SECONDS)
            undisturbed = video(submit(Stage.SAMPLING, settings=small).id)

            job = submit(Stage.SAMPLING, settings=small).id
            wait_until(lambda: store.get(job).step > 0)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: waits_with_its_video(job), 60)
            assert (store.get(job).status, store.get(job).stage) == (JobStatus.RUNNING, Stage.STORING)

            # The worker that waits is killed: another one makes its video anew, and waits as well.
            worker = store.get(job).worker
            (dead,) = [process for process in processes if f"-{process.pid}-" in str(worker)]
            dead.send_signal(signal.SIGKILL)
            wait_until(lambda: (store.get(job).attempt, store.get(job).stage) == (2, Stage.STORING), 120)
        with storage_on(tmp_path / "s3", ports):
            assert video(job) == undisturbed
            assert store.get(job).attempt == 2


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
        store = JobStore(text)
        job = make_job(Stage.SAMPLING, settings=small)
        with embedded_valkey(tmp_path / "valkey", port) as server:
            stack.enter_context(run_worker("render", log, url, **render_environment))
            wait_until(lambda: bool(WorkerRegistry(text, 60).alive()), START_SECONDS)
            store.create(job, plan)
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


@pytest.mark.timeout(300)
def test_a_planner_that_stays_away_fails_the_job_which_says_so(
    tmp_path: Path, redis_url: str, run_worker: RunWorker, store: JobStore, submit: Submit, wait_until: WaitUntil
) -> None:
    url = f"http://{LOOPBACK}:{free_ports(1)[0]}"
    with run_worker("plan", tmp_path / "log", redis_url, GENERATOR_PLANNER_URL=url, GENERATOR_PLANNER_PATIENCE="2"):
        job = submit().id
        wait_until(lambda: store.get(job).status.is_terminal, START_SECONDS)
    error = store.get(job).error
    assert error is not None
    assert (error.code, error.retryable, store.get(job).attempt) == ("planner_unavailable", True, 1)
    assert error.message.startswith("the planner does not answer; given up after ")
