"""Which workers live: each process sends a heartbeat every few seconds, and is forgotten when it falls silent.

worker:{name}       a `WorkerInfo` as JSON; expires after three missed heartbeats
workers             set of names, the silent ones included until somebody looks
"""

import math
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal, Self, cast

import redis
import structlog
from pydantic import ValidationError

from generator_service.jobs.connection import redis_errors_as_unavailable
from shared.errors import Unavailable
from shared.wire import WireModel

_WORKERS = "workers"

BEATS_TO_EXPIRY = 3

log = structlog.get_logger(__name__)


class WorkerInfo(WireModel):
    """One worker process."""

    name: str
    kind: Literal["plan", "render", "webhook"]
    backbone: str | None = None
    """The one it keeps in memory; None for the other kinds."""
    device: str | None = None
    """Where it renders; None for the other kinds."""
    host: str | None = None
    job: str | None = None
    """The id of the job it works on."""
    since: datetime | None = None
    """When it took that job, or let go of the last one."""
    started_at: datetime


class WorkerRegistry:
    """`redis_client` must decode responses to text.  Every method raises Unavailable where Redis does not answer."""

    def __init__(self, redis_client: redis.Redis, heartbeat_seconds: float) -> None:
        self._redis = redis_client
        self.heartbeat_seconds = heartbeat_seconds

    def alive(self) -> tuple[WorkerInfo, ...]:
        """Workers whose heartbeat has not expired, by name; without those whose record cannot be read."""
        with redis_errors_as_unavailable():
            names = sorted(cast(set[str], self._redis.smembers(_WORKERS)))
            texts = cast(list[str | None], self._redis.mget([_key(name) for name in names])) if names else []
            silent = [name for name, text in zip(names, texts, strict=True) if text is None]
            if silent:
                self._redis.srem(_WORKERS, *silent)  # one that speaks again is back with its next heartbeat

        def readable() -> Iterator[WorkerInfo]:
            for name, text in zip(names, texts, strict=True):
                try:
                    if text is not None:
                        yield WorkerInfo.from_storage(text)
                except ValidationError:
                    log.warning("worker_unreadable", worker=name)

        return tuple(readable())

    def silence(self, names: Iterable[str]) -> dict[str, float]:
        """Seconds since the last heartbeat of each of these workers whose heartbeat has not expired."""
        wanted = tuple(names)
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for name in wanted:
                pipeline.pttl(_key(name))
            left = cast(list[int], pipeline.execute())
        whole = BEATS_TO_EXPIRY * self.heartbeat_seconds
        return {name: max(0.0, whole - ms / 1000) for name, ms in zip(wanted, left, strict=True) if ms >= 0}

    def beat(self, info: WorkerInfo) -> None:
        milliseconds = round(BEATS_TO_EXPIRY * self.heartbeat_seconds * 1000)
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.set(_key(info.name), info.model_dump_json(), px=milliseconds)
            pipeline.sadd(_WORKERS, info.name)
            pipeline.execute()

    def forget(self, name: str) -> None:
        """A worker that ends in good order says so."""
        with redis_errors_as_unavailable():
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.delete(_key(name))
            pipeline.srem(_WORKERS, name)
            pipeline.execute()


class Heartbeat:
    """Beats in a thread of its own while the `with` block runs, whatever the process's main thread is busy with.

    The first beat is sent before the block begins, so that an unreachable Redis (Unavailable) is noticed at the
    start; later outages are logged and outlived.
    """

    def __init__(self, registry: WorkerRegistry, info: WorkerInfo) -> None:
        self._registry = registry
        self._info = info
        self._heard_at = -math.inf
        self._sending = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        try:
            self._registry.forget(self._info.name)
        except Unavailable:
            log.warning("heartbeat_not_withdrawn", worker=self._info.name)

    def is_heard(self) -> bool:
        """Whether the registry counts this worker among the living."""
        return time.monotonic() - self._heard_at < BEATS_TO_EXPIRY * self._registry.heartbeat_seconds

    @contextmanager
    def working_on(self, job_id: str) -> Iterator[None]:
        """Say which job this worker is busy with during the block."""
        self._tell(job_id)
        try:
            yield
        finally:
            self._tell(None)

    def _tell(self, job_id: str | None) -> None:
        with self._sending:
            self._info = self._info.model_copy(update={"job": job_id, "since": datetime.now(UTC)})
            self._send()

    def _run(self) -> None:
        while not self._stopping.wait(self._registry.heartbeat_seconds):
            with self._sending:
                self._send()

    def _beat(self) -> None:
        self._registry.beat(self._info)
        self._heard_at = time.monotonic()

    def _send(self) -> None:
        try:
            self._beat()
        except Unavailable:
            log.warning("heartbeat_not_sent", worker=self._info.name)
        except Exception:  # whatever it is, a worker that is at work must not fall silent for good
            log.exception("heartbeat_not_sent", worker=self._info.name)


def _key(name: str) -> str:
    return f"worker:{name}"
