"""What the routes work with, built once as the API starts and closed as it stops."""

import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Self

import httpx
from anyio import CapacityLimiter
from fastapi import Depends, FastAPI, Request

from generator_service.api.views import Viewer
from generator_service.api.watcher import JobWatcher
from generator_service.images import Images
from generator_service.jobs.cleanup import Cleanup
from generator_service.jobs.connection import connect_async, connect_serving
from generator_service.jobs.outbox import Outbox
from generator_service.jobs.rate import Rate
from generator_service.jobs.reading import Reader
from generator_service.jobs.recovery import Recovery
from generator_service.jobs.store import JobStore
from generator_service.jobs.submission import Limits, Submissions
from generator_service.jobs.tickets import Tickets
from generator_service.jobs.workers import WorkerRegistry
from generator_service.planner_client import PlannerClient
from generator_service.settings import Settings
from generator_service.storage import ObjectStore
from generator_service.webhooks.acceptance import WebhookAcceptance
from shared.errors import PlannerUnavailable

TIMEOUT: Final = httpx.Timeout(10.0, connect=2.0)
"""A completion of a few tokens takes seconds where the model is busy."""
READY_SECONDS: Final = 10.0
"""How long its word is taken."""
UNREADY_SECONDS: Final = 2.0
"""The same where it is not ready: whoever waits for it should not wait long."""

DECODERS: Final = 2
"""Images that one process decodes at a time."""


class PlannerProbe:
    """Thread-safe; those who ask at the same time share one answer.  Closes its connections at the end of `with`."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT, trust_env=False)  # no proxy between our own parts
        self._asking = threading.Lock()
        self._ready = False
        self._good_until = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def check(self) -> None:
        """Raises PlannerUnavailable."""
        with self._asking:
            if time.monotonic() >= self._good_until:
                self._ready = self._ask()
                self._good_until = time.monotonic() + (READY_SECONDS if self._ready else UNREADY_SECONDS)
            if not self._ready:
                raise PlannerUnavailable("does not say that it is ready")

    def _ask(self) -> bool:
        try:
            return self._http.get("/ready").is_success
        except httpx.HTTPError:
            return False


@dataclass(frozen=True)
class Parts:
    store: JobStore
    reader: Reader
    rate: Rate
    """Of submissions."""
    watcher: JobWatcher
    submissions: Submissions
    tickets: Tickets
    objects: ObjectStore
    images: Images
    decoders: CapacityLimiter
    """Who decodes an image waits for it: each may take 100 MiB."""
    workers: WorkerRegistry
    planner: PlannerProbe
    plans: PlannerClient
    maximum_work: int
    """Frames x pixels x steps of one job."""
    require_keys: bool
    webhooks: WebhookAcceptance
    outbox: Outbox


def lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """The app's lifespan.  Nothing is contacted: the API starts while others are down.

    Raises BadSettings and OSError, before the app starts, for addresses that make no sense.
    """
    text = connect_serving(settings.redis_url, decode=True)
    raw = connect_serving(settings.redis_url, decode=False)
    asynchronous = connect_async(settings.redis_url)
    rate = Rate(settings.owner_rate, settings.owner_burst)
    reader = Reader(asynchronous, rate)
    planner = PlannerProbe(settings.planner_url)
    limits = Limits(
        queued=settings.queue_limit,
        unfinished=settings.owner_unfinished,
        kept=settings.owner_kept,
        bytes=settings.owner_bytes,
    )
    objects = ObjectStore.open(settings.storage)
    retention = timedelta(days=settings.retention_days)
    parts = Parts(
        store=JobStore(text),
        reader=reader,
        rate=rate,
        watcher=JobWatcher(reader),
        submissions=Submissions(asynchronous, limits),
        tickets=Tickets(raw),
        objects=objects,
        images=Images(objects, settings.owner_images, retention),
        decoders=CapacityLimiter(DECODERS),
        workers=WorkerRegistry(text, settings.heartbeat_seconds),
        planner=planner,
        plans=PlannerClient(settings.planner_url, settings.planner_timeout, settings.planner_token),
        maximum_work=settings.maximum_work,
        require_keys=settings.require_keys,
        webhooks=WebhookAcceptance(settings.webhook),
        outbox=Outbox(text),
    )

    attempts = settings.maximum_attempts

    @asynccontextmanager
    async def wired(app: FastAPI) -> AsyncIterator[None]:
        recovery = Recovery(parts.store, parts.tickets, parts.workers, attempts, on_reclaimed=app.state.count_reclaimed)
        cleanup = Cleanup(parts.store, parts.objects, retention, settings.heartbeat_seconds)
        with text, raw, planner, parts.webhooks, recovery, cleanup:
            app.state.parts = parts
            async with asynchronous:
                yield

    return wired


# These two wait for nothing; as coroutines they cost no change of threads.
async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


UseParts = Annotated[Parts, Depends(_parts)]


async def viewer_for(request: Request) -> Viewer:
    parts: Parts = request.app.state.parts
    return Viewer(parts.objects, request)


UseViewer = Annotated[Viewer, Depends(viewer_for)]
