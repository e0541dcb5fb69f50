"""The whole service on free ports, for those who kill parts of it: `faults.py` and `outages.py`.

Real servers and workers; the language model is `one_scene.py`.
"""

import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from deploy.parts import Part
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
from deploy.stack import PLAN_WORKER, RENDER_WORKER
from shared.errors import Unavailable

API: Final = "API"
GENERATOR: Final = (API, PLAN_WORKER, RENDER_WORKER)
COMMANDS: Final = ("serve", "plan-worker", "render-worker")
PROMPT: Final = "a red car drives to the right while a tree stands still"
START_SECONDS: Final = 300.0
POLL_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Whole:
    api: str
    """Its URL."""
    redis: Part
    storage: Part
    planner: Part
    language_model: Part
    generator: dict[str, list[str]]
    """Of each of `GENERATOR` its command."""
    environment: dict[str, str]


def whole_service(folder: Path, thinking_seconds: float) -> Whole:
    """How to start each part; nothing is started yet.  thinking_seconds: of the language model, for each answer."""
    api_port, planner_port, model_port, redis_port, *s3_ports = free_ports(4 + SEAWEEDFS_PORTS)
    api, planner, model = (f"http://{LOOPBACK}:{port}" for port in (api_port, planner_port, model_port))
    generator = [sys.executable, "-m", "generator_service"]
    return Whole(
        api=api,
        redis=valkey(folder / "valkey", redis_port),
        storage=seaweedfs(folder / "seaweedfs", s3_ports),
        planner=Part(
            "planner",
            [sys.executable, "-m", "planner_service", "serve"],
            lambda: answers(f"{planner}/health"),
            start_seconds=START_SECONDS,
        ),
        language_model=Part(
            "language model",
            [sys.executable, "-m", "benchmarks.one_scene", str(model_port), str(thinking_seconds)],
            lambda: answers(model),
            start_seconds=START_SECONDS,
        ),
        generator={kind: [*generator, command] for kind, command in zip(GENERATOR, COMMANDS, strict=True)},
        environment={
            "PLANNER_PORT": str(planner_port),
            "PLANNER_LANGUAGE_MODEL_URL": f"{model}/v1",
            "GENERATOR_PORT": str(api_port),
            "GENERATOR_REDIS_URL": redis_url(redis_port),
            "GENERATOR_PLANNER_URL": planner,
            "GENERATOR_STORAGE_URL": f"s3://{VIDEO_BUCKET}",
            "GENERATOR_STORAGE_ENDPOINT": s3_endpoint(s3_ports[0]),
            "GENERATOR_STORAGE_ACCESS_KEY": S3_ACCESS_KEY,
            "GENERATOR_STORAGE_SECRET_KEY": S3_SECRET_KEY,
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": "1",
        },
    )


@dataclass
class Victims:
    """The processes that are killed, each of which has a successor."""

    commands: dict[str, list[str]]
    """By kind."""
    environment: dict[str, str]
    logs: Path
    folders: dict[str, Path] = field(default_factory=dict)
    """Where a kind works; this process's own folder where it is not named."""
    processes: dict[str, list[subprocess.Popen[bytes]]] = field(default_factory=lambda: defaultdict(list))
    begun: int = 0

    def start(self, kind: str) -> None:
        self.begun += 1
        with (self.logs / f"{kind.replace(' ', '-')}-{self.begun}.log").open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  (our own commands)
                self.commands[kind],
                env=os.environ | self.environment,
                cwd=self.folders.get(kind),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.processes[kind].append(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        for processes in self.processes.values():
            if process in processes:
                processes.remove(process)
        process.kill()
        process.wait()

    def kill_all(self) -> None:
        for server in self.servers():
            server.kill()
        for process in [each for processes in self.processes.values() for each in processes]:
            self.kill(process)

    def servers(self) -> list[psutil.Process]:
        """The API's own processes: those that answer."""
        return [
            child for api in self.processes[API] for child in _children(api.pid) if "spawn_main" in command_of(child)
        ]


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time; while somebody does not answer, it is not."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(Unavailable):
            if true():
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def command_of(process: psutil.Process) -> str:
    """ "" of a process that has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # or a zombie
        return ""
