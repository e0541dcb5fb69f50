"""Kill workers at random over a stream of jobs, and count what became of the jobs: `make faults KILLS=100`.

The real servers, services and workers, the model that ships, and the default settings, but for two: no job is given
up here, so every one must succeed; and checkpoints come often enough for these short videos.  The last line is one JSON
object:

    jobs                 acknowledged by the API
    kills                of plan workers and render workers, at any moment (kill -9), a new one in the place of each
    lost                 jobs that are gone, or ended otherwise than in success
    duplicated           jobs with more than one video in the storage
    stuck                jobs that have not ended `PATIENCE_SECONDS` after the last progress of any job
    notice_seconds_max   the longest from a kill until the job in the dead worker's hands was taken back; null if it
                         had none each time
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.parts import Part, started
from deploy.servers import (
    LOOPBACK,
    S3_ACCESS_KEY,
    S3_SECRET_KEY,
    SEAWEEDFS_PORTS,
    VIDEO_BUCKET,
    answers,
    free_ports,
    redis_url,
    s3_endpoint,
    seaweedfs,
    valkey,
)
from deploy.stack import bypass_proxies
from generator_service.client import Client
from generator_service.jobs.connection import connect
from generator_service.jobs.heartbeat import WorkerRegistry
from generator_service.jobs.states import JobStatus
from generator_service.jobs.store import JobStore
from generator_service.settings import Settings
from generator_service.storage.object_store import JobKeys, ObjectStore
from shared.errors import NotFound

PROMPT: Final = "a red car drives to the right while a tree stands still"
STEPS: Final = 25
WORKERS: Final = ("plan-worker", "render-worker", "render-worker")
AT_ONCE: Final = 6
"""Jobs that have not ended: enough to keep every worker busy."""
LONGEST_PAUSE: Final = 4.0
"""Between two kills, in seconds."""
PATIENCE_SECONDS: Final = 120.0
START_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.05


@dataclass
class Workers:
    """The processes that are killed, each of which has a successor."""

    environment: dict[str, str]
    logs: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    """By a name that says the kind."""
    begun: int = 0

    def start(self, kind: str) -> None:
        self.begun += 1
        with (self.logs / f"{kind}-{self.begun}.log").open("wb") as output:
            self.processes[f"{kind}-{self.begun}"] = subprocess.Popen(  # noqa: S603  (our own commands)
                [sys.executable, "-m", "generator_service", kind],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def kill(self, name: str) -> int:
        """Its process id."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()
        return process.pid

    def kill_all(self) -> None:
        for name in list(self.processes):
            self.kill(name)


@dataclass
class Service:
    client: Client
    store: JobStore
    registry: WorkerRegistry
    objects: ObjectStore
    workers: Workers

    def at_work(self) -> list[str]:
        """The names of the worker processes that beat."""
        names = [worker.name for worker in self.registry.workers()]
        processes = self.workers.processes.items()
        return [name for name, process in processes if any(f"-{process.pid}-" in worker for worker in names)]

    def held_by(self, pid: int) -> list[str]:
        """The jobs in the hands of this process; of a dead one, until they are taken back."""
        return [record.id for record in self.store.held() if f"-{pid}-" in str(record.worker)]


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    """Servers, planner and API, and the workers to be killed."""
    api_port, planner_port, redis_port, *s3_ports = free_ports(3 + SEAWEEDFS_PORTS)
    planner, api = f"http://{LOOPBACK}:{planner_port}", f"http://{LOOPBACK}:{api_port}"
    environment = {
        "PLANNER_PORT": str(planner_port),
        "GENERATOR_PORT": str(api_port),
        "GENERATOR_REDIS_URL": redis_url(redis_port),
        "GENERATOR_PLANNER_URL": planner,
        "GENERATOR_MAXIMUM_ATTEMPTS": "1000000",
        "GENERATOR_RENDER_CHECKPOINT_SECONDS": "0.5",
        "GENERATOR_RENDER_SPOOL": str(folder / "spool"),
        "GENERATOR_STORAGE_URL": f"s3://{VIDEO_BUCKET}",
        "GENERATOR_STORAGE_ENDPOINT": s3_endpoint(s3_ports[0]),
        "GENERATOR_STORAGE_ACCESS_KEY": S3_ACCESS_KEY,
        "GENERATOR_STORAGE_SECRET_KEY": S3_SECRET_KEY,
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": "1",
    }
    os.environ |= environment

    def part(name: str, module: str, url: str) -> Part:
        command = [sys.executable, "-m", module, "serve"]
        return Part(name, command, lambda: answers(f"{url}/health"), start_seconds=START_SECONDS)

    parts = [
        valkey(folder / "valkey", redis_port),
        seaweedfs(folder / "seaweedfs", s3_ports),
        part("planner", "planner_service", planner),
        part("API", "generator_service", api),
    ]
    settings = Settings()
    workers = Workers(environment, folder / "logs")
    with ExitStack() as stack:
        stack.enter_context(started(parts, folder / "logs"))
        stack.callback(workers.kill_all)
        text = stack.enter_context(connect(settings.redis_url, decode=True))
        client = stack.enter_context(Client(api))
        registry = WorkerRegistry(text, settings.heartbeat_seconds)
        yield Service(client, JobStore(text), registry, ObjectStore.open(settings.storage), workers)


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def faults(service: Service, kills: int, chance: random.Random) -> dict[str, int | float | None]:
    """The table of the module's docstring."""
    jobs: list[str] = []
    notices: list[float] = []

    def unended() -> list[str]:
        return [record.id for record in service.store.some(jobs) if not record.status.is_terminal]

    def submit(count: int) -> None:
        for _ in range(count):
            seed = chance.randrange(2**32)
            jobs.append(service.client.submit(prompt=PROMPT, planner="parser", steps=STEPS, seed=seed).id)

    for kind in WORKERS:
        service.workers.start(kind)
    for kill in range(1, kills + 1):
        submit(AT_ONCE - len(unended()))
        if not until(lambda: len(service.at_work()) == len(WORKERS), START_SECONDS):
            raise TimeoutError("the workers do not start")
        time.sleep(chance.uniform(0.0, LONGEST_PAUSE))
        name = chance.choice(sorted(service.workers.processes))
        pid = service.workers.kill(name)
        begin = time.monotonic()
        held = bool(service.held_by(pid))
        service.workers.start(name.rpartition("-")[0])
        if held:
            until(lambda pid=pid: not service.held_by(pid), PATIENCE_SECONDS)  # type: ignore[misc]
            notices.append(time.monotonic() - begin)
        noticed = f", its job taken back after {notices[-1]:.1f} s" if held else ", at no job"
        print(f"kill {kill} of {kills}: {name}{noticed}", flush=True)  # noqa: T201

    def progress() -> object:
        return [(record.status, record.stage, record.step, record.attempt) for record in service.store.some(jobs)]

    seen, since = progress(), time.monotonic()
    while unended() and time.monotonic() - since < PATIENCE_SECONDS:
        time.sleep(POLL_SECONDS)
        if (now := progress()) != seen:
            seen, since = now, time.monotonic()
    until(lambda: not service.store.leftovers(), PATIENCE_SECONDS)

    stuck = unended()
    return {
        "jobs": len(jobs),
        "kills": kills,
        "lost": sum(not succeeded(service, job) for job in jobs if job not in stuck),
        "duplicated": sum(videos(service, job) > 1 for job in jobs),
        "stuck": len(stuck),
        "notice_seconds_max": round(max(notices), 1) if notices else None,
    }


def succeeded(service: Service, job: str) -> bool:
    """And its video is there."""
    try:
        record = service.store.get(job)
        return record.status is JobStatus.SUCCEEDED and bool(service.objects.get(getattr(record.results, "video", "")))
    except NotFound:
        return False


def videos(service: Service, job: str) -> int:
    return sum(key.endswith(".mp4") for key in service.objects.keys(JobKeys(job).prefix))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="which workers are killed, and when")
    arguments = parser.parse_args()
    bypass_proxies()
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as running:
        table = faults(running, arguments.kills, random.Random(arguments.seed))  # noqa: S311  (no secret)
    print(json.dumps(table))  # noqa: T201


if __name__ == "__main__":
    main()
