"""A render worker of two processes, from its first job to the death of one of them."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.request import RenderSettings
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.workers import WorkerRegistry
from generator_service.media.manifest import Manifest
from generator_service.storage import ObjectStore
from generator_service.workers.ranks import MEETING_PATIENCE

START_SECONDS = 150.0
SOON = MEETING_PATIENCE.total_seconds() / 2


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line[:1] + line[-1:] == "{}"]


def processes_of(torchrun: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split()]


@pytest.mark.timeout(400)
def test_two_processes_do_what_one_does(
    tmp_path: Path,
    redis_url: str,
    run_worker: Callable[..., AbstractContextManager[subprocess.Popen[bytes]]],
    render_environment: dict[str, str],
    objects_of_processes: ObjectStore,
    store: JobStore,
    registry: WorkerRegistry,
    submit: Callable[..., JobRecord],
    settings: RenderSettings,
    wait_until: Callable[..., None],
) -> None:
    """They render one job, fail one, let go of one, release one when they are told to stop, which two others resume;
    and when one of these dies, the job waits for a worker again, soon."""
    logs = (tmp_path / "first", tmp_path / "second")
    environment = render_environment | {"GENERATOR_RENDER_CONTEXT_PARALLEL": "2"}
    small = settings.model_copy(update={"backbone": "cogvideox-2b", "width": 48, "height": 32})

    def submit_render(steps: int, **changes: Any) -> str:
        return submit(Stage.SAMPLING, settings=small.model_copy(update={"steps": steps} | changes)).id

    with run_worker("ranks", logs[0], redis_url, **environment) as torchrun:
        wait_until(lambda: bool(registry.alive()), START_SECONDS)
        (info,) = registry.alive()
        assert info.device == "2 × cpu"

        done = submit_render(steps=2)
        wait_until(lambda: store.get(done).status.is_terminal, 60)
        record = store.get(done)
        assert (record.status, record.error) == (JobStatus.SUCCEEDED, None)
        assert record.results is not None
        manifest = Manifest.model_validate_json(objects_of_processes.get(record.results.manifest))
        assert manifest.device == "2 × cpu"

        failed = submit_render(steps=2, step_cache=0.5)
        wait_until(lambda: store.get(failed).status is JobStatus.FAILED)
        assert "runs on 2 GPUs" in str(store.get(failed).error)

        canceled = submit_render(steps=900)
        wait_until(lambda: store.get(canceled).step > 0, 60)
        store.cancel(canceled)
        wait_until(lambda: store.get(canceled).status is JobStatus.CANCELED)

        last = submit_render(steps=900)
        wait_until(lambda: store.get(last).step > 200, 120)
        torchrun.send_signal(signal.SIGTERM)
        torchrun.wait(SOON)
    released = store.get(last)
    assert (released.status, released.attempt, released.worker) == (JobStatus.QUEUED, 1, None)
    assert registry.alive() == ()
    assert "worker_stopped" in [event["event"] for event in events(logs[0])]

    with run_worker("ranks", logs[1], redis_url, **environment) as torchrun:
        wait_until(lambda: store.get(last).step > released.step, START_SECONDS)
        leader = store.get(last).worker
        assert leader is not None
        (follower,) = [pid for pid in processes_of(torchrun.pid) if f"-{pid}-" not in leader]
        os.kill(follower, signal.SIGKILL)
        assert torchrun.wait(SOON) != 0
    assert [event["step"] for event in events(logs[1]) if event["event"] == "resuming"] == [released.step]
    left = store.get(last)
    assert (left.status, left.worker) == (JobStatus.QUEUED, None)
