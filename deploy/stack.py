"""The whole service on this machine: six processes on loopback ports, wired to each other by their environment; and a
seventh for webhooks, where GENERATOR_WEBHOOK_SECRET is set."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import redis

from deploy.parts import POLL_SECONDS, Part, PartError, Stack, running
from deploy.servers import (
    LOOPBACK,
    S3_ACCESS_KEY,
    S3_SECRET_KEY,
    SEAWEEDFS,
    SEAWEEDFS_PORTS,
    VALKEY,
    VIDEO_BUCKET,
    answers,
    free_ports,
    redis_url,
    s3_endpoint,
    seaweedfs,
    valkey,
)
from deploy.signals import StopRequest
from generator_service.jobs.workers import WorkerRegistry
from generator_service.settings import Settings, WebhookSettings
from shared.errors import Unavailable

PLANNER: Final = "planner"
GENERATOR_API: Final = "generator API"
PLAN_WORKER: Final = "plan worker"
RENDER_WORKER: Final = "render worker"
WEBHOOK_WORKER: Final = "webhook worker"

LOADING_SECONDS: Final = 180.0
"""The longest a part that imports torch or a language's grammar may take, from a cold disk."""
FINISHING_SECONDS: Final = 60.0
"""How long a worker may take over the job in hand, and the API over its answers, once everything is to stop."""
READY_SECONDS: Final = 10.0
"""The longest the API may take to find all others once they are ready."""


@dataclass(frozen=True)
class Addresses:
    api: str
    planner: str
    s3: str
    redis: str
    plan_worker: str
    """Where it serves its metrics; likewise the next."""
    render_worker: str

    @property
    def with_metrics(self) -> tuple[str, ...]:
        """What Prometheus may ask for `/metrics`."""
        return (self.api, self.planner, self.plan_worker, self.render_worker)


def bypass_proxies() -> None:
    """Tell this process's clients, and by inheritance those of all parts, that loopback is behind no proxy."""
    for variable in ("NO_PROXY", "no_proxy"):
        os.environ[variable] = ",".join(filter(None, (os.environ.get(variable), LOOPBACK)))


class LocalStack:
    """The parts, ready for jobs."""

    def __init__(self, stack: Stack, addresses: Addresses, request: StopRequest) -> None:
        self.addresses = addresses
        self._stack = stack
        self._request = request

    def pid(self, name: str) -> int:
        """Of a part."""
        return self._stack.pid(name)

    def check(self) -> None:
        """Call between other work.  Raises PartError where a part has died, Stopped where a signal has come."""
        self._request.check()
        self._stack.advance()


@contextmanager
def local_stack(
    data: Path,
    *,
    port: int | None = None,
    request: StopRequest,
    show: Callable[[Stack], None] = lambda _: None,
    disposable: bool = False,
) -> Iterator[LocalStack]:
    """Yields once a job could be done; leaves no process behind.  `show` is called while parts start.

    `disposable`: nobody will read `data` again, so everything is dropped at once in the end.
    Raises PartError and Stopped.
    """
    api_port, planner_port, redis_port, *ports = free_ports(5 + SEAWEEDFS_PORTS)  # at once: so they differ
    plan_worker_port, render_worker_port, *s3_ports = ports
    addresses = Addresses(
        api=f"http://{LOOPBACK}:{port or api_port}",
        planner=f"http://{LOOPBACK}:{planner_port}",
        s3=s3_endpoint(s3_ports[0]),
        redis=redis_url(redis_port),
        plan_worker=f"http://{LOOPBACK}:{plan_worker_port}",
        render_worker=f"http://{LOOPBACK}:{render_worker_port}",
    )
    temporary = data.absolute() / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # what a killed worker left
    temporary.mkdir(parents=True)
    servers = [valkey(data / "valkey", redis_port), seaweedfs(data / "seaweedfs", s3_ports)]
    with running([*servers, *_services(addresses, temporary)], data / "logs", patient=not disposable) as stack:
        request.on_more = stack.hurry
        local = LocalStack(stack, addresses, request)
        while not stack.ready:
            local.check()
            show(stack)
            time.sleep(POLL_SECONDS)
        deadline = time.monotonic() + READY_SECONDS
        while not answers(f"{addresses.api}/ready"):
            local.check()
            if time.monotonic() > deadline:
                raise PartError(f"every part is up, yet {addresses.api}/ready does not say so")
            time.sleep(POLL_SECONDS)
        yield local


def _services(addresses: Addresses, temporary: Path) -> list[Part]:
    """In the order in which they are started: the render worker, which takes longest, first."""
    # OpenMP's threads wait for each other by spinning, unless told otherwise: where something else wants a core of a
    # small machine, that has made renders 100 times slower.
    common = {"PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary), "OMP_WAIT_POLICY": "PASSIVE"}
    planner_environment = common | _listens("PLANNER", addresses.planner)
    generator_environment = {
        **common,
        **_listens("GENERATOR", addresses.api),
        "GENERATOR_REDIS_URL": addresses.redis,
        "GENERATOR_PLANNER_URL": addresses.planner,
        "GENERATOR_STORAGE_URL": f"s3://{VIDEO_BUCKET}",
        "GENERATOR_STORAGE_ENDPOINT": addresses.s3,
        "GENERATOR_STORAGE_ACCESS_KEY": S3_ACCESS_KEY,
        "GENERATOR_STORAGE_SECRET_KEY": S3_SECRET_KEY,
    }

    def part(
        name: str,
        module: str,
        command: str,
        ready: Callable[[], bool],
        environment: Mapping[str, str],
        needs: tuple[str, ...] = (),
        uses: tuple[str, ...] = (),
    ) -> Part:
        return Part(
            name,
            [sys.executable, "-m", module, command],
            ready,
            environment,
            needs=needs,
            uses=uses,
            start_seconds=LOADING_SECONDS,
            stop_seconds=FINISHING_SECONDS,
        )

    def generator(name: str, command: str, ready: Callable[[], bool], *uses: str, metrics: str | None = None) -> Part:
        port = {} if metrics is None else {"GENERATOR_METRICS_PORT": _port(metrics)}
        return part(name, "generator_service", command, ready, generator_environment | port, (VALKEY,), uses)

    def beats(kind: Literal["plan", "render"]) -> Callable[[], bool]:
        return _beats(addresses.redis, kind)

    webhooks = [generator(WEBHOOK_WORKER, "webhook-worker", _beats(addresses.redis, "webhook"))]
    return [
        generator(RENDER_WORKER, "render-worker", beats("render"), SEAWEEDFS, metrics=addresses.render_worker),
        part(PLANNER, "planner_service", "serve", _answers(f"{addresses.planner}/ready"), planner_environment),
        generator(PLAN_WORKER, "plan-worker", beats("plan"), PLANNER, metrics=addresses.plan_worker),
        generator(GENERATOR_API, "serve", _answers(f"{addresses.api}/health"), SEAWEEDFS),
        *(webhooks if WebhookSettings().secret is not None else []),
    ]


def _listens(prefix: str, address: str) -> dict[str, str]:
    return {f"{prefix}_HOST": LOOPBACK, f"{prefix}_PORT": _port(address)}


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def _answers(url: str) -> Callable[[], bool]:
    return lambda: answers(url)


def _beats(url: str, kind: Literal["plan", "render", "webhook"]) -> Callable[[], bool]:
    """Whether a worker of this kind is alive that began after now: an earlier run's heartbeats may still be there."""
    since = datetime.now(UTC)

    def ready() -> bool:
        with redis.Redis.from_url(url, decode_responses=True) as client:
            try:
                workers = WorkerRegistry(client, Settings.model_fields["heartbeat_seconds"].default).alive()
            except Unavailable:
                return False
        return any(worker.kind == kind and worker.started_at >= since for worker in workers)

    return ready
