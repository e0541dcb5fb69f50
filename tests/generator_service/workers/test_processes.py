"""The workers as processes of their own, as they are deployed: from the first heartbeat to SIGTERM."""

import json
import signal
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import av
import pytest

from deploy.servers import S3_SECRET_KEY
from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.request import RenderSettings
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.workers import WorkerRegistry
from generator_service.settings import BadSettings, Settings, WorkerSettings
from generator_service.storage import ObjectStore
from generator_service.workers.render_worker import render_worker
from shared.plan import Plan

Submit = Callable[..., JobRecord]
WaitUntil = Callable[..., None]

RunWorker = Callable[..., AbstractContextManager[subprocess.Popen[bytes]]]

START_SECONDS = 90.0
"""On a machine that is busy with other things, importing torch and diffusers may take this long."""


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_plan_worker(
    tmp_path: Path,
    redis_url: str,
    run_worker: RunWorker,
    planner: Any,
    store: JobStore,
    registry: WorkerRegistry,
    submit: Submit,
    wait_until: WaitUntil,
) -> None:
    log = tmp_path / "log"
    with run_worker("plan", log, redis_url, GENERATOR_PLANNER_URL=planner.url) as process:
        wait_until(lambda: bool(registry.alive()), START_SECONDS)
        (info,) = registry.alive()
        assert (info.kind, info.backbone, info.device, info.job) == ("plan", None, None, None)
        assert str(process.pid) in info.name

        job = submit().id
        wait_until(lambda: store.get(job).stage is Stage.SAMPLING)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert registry.alive() == ()
    assert [event["event"] for event in events(log)] == [
        "worker_started",
        "job_started",
        "job_planned",
        "worker_stopped",
    ]
    assert [event.get("job_id") for event in events(log)] == [None, job, job, None]


def test_a_render_worker(
    tmp_path: Path,
    redis_url: str,
    run_worker: RunWorker,
    render_environment: dict[str, str],
    objects_of_processes: ObjectStore,
    store: JobStore,
    registry: WorkerRegistry,
    submit: Submit,
    settings: RenderSettings,
    plan: Plan,
    wait_until: WaitUntil,
) -> None:
    """It renders one job, lets go of one, and releases the one in hand when it is told to stop."""
    log = tmp_path / "log"
    small = settings.model_copy(update={"backbone": "cogvideox-2b", "width": 48, "height": 32})

    def submit_render(steps: int) -> str:
        return submit(Stage.SAMPLING, settings=small.model_copy(update={"steps": steps})).id

    with run_worker("render", log, redis_url, **render_environment) as process:
        wait_until(lambda: bool(registry.alive()), START_SECONDS)
        (info,) = registry.alive()
        assert (info.kind, info.backbone, info.device) == ("render", "cogvideox-2b", "cpu")

        done = submit_render(steps=2)
        wait_until(lambda: store.get(done).status.is_terminal, 60)
        record = store.get(done)
        assert (record.status, record.error) == (JobStatus.SUCCEEDED, None)
        assert record.results is not None
        (tmp_path / "video.mp4").write_bytes(objects_of_processes.get(record.results.video))
        with av.open(str(tmp_path / "video.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == small.frames

        canceled = submit_render(steps=900)
        wait_until(lambda: store.get(canceled).step > 0)
        store.cancel(canceled)
        wait_until(lambda: store.get(canceled).status is JobStatus.CANCELED)

        last = submit_render(steps=900)
        wait_until(lambda: store.get(last).step > 0)
        process.send_signal(signal.SIGTERM)
        waiting = submit_render(steps=2)
        assert process.wait(10) == 0
    released = store.get(last)
    assert (released.status, released.attempt, released.worker) == (JobStatus.QUEUED, 1, None)
    (saved,) = [event["step"] for event in events(log) if event["event"] == "checkpoint_saved"]
    assert saved == released.step
    assert store.get(waiting).status is JobStatus.QUEUED
    assert registry.alive() == ()
    assert "job_canceled" in [event["event"] for event in events(log) if event.get("job_id") == canceled]
    assert S3_SECRET_KEY not in log.read_text()


def test_an_unknown_backbone_is_refused_before_anything_is_loaded() -> None:
    settings = Settings(render=WorkerSettings(backbone="no-such-model"))
    refused = pytest.raises(BadSettings, match="'no-such-model' but expected one of: emoji-world, cogvideox-2b")
    with refused, render_worker(settings):
        pass
