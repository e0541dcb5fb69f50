"""What the routes work with, built once as the API starts and closed as it stops."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from generator_service.api.planner_probe import PlannerProbe
from generator_service.api.views import Viewer
from generator_service.jobs.admission import Admission, Limits
from generator_service.jobs.connection import connect_async, connect_serving
from generator_service.jobs.delivery import Delivery
from generator_service.jobs.heartbeat import WorkerRegistry
from generator_service.jobs.idempotency import Idempotency
from generator_service.jobs.janitor import Janitor
from generator_service.jobs.outbox import Outbox
from generator_service.jobs.reading import Reader
from generator_service.jobs.store import JobStore
from generator_service.jobs.watchdog import Watchdog
from generator_service.settings import Settings
from generator_service.storage.object_store import ObjectStore
from generator_service.webhooks.acceptance import WebhookAcceptance


@dataclass(frozen=True)
class Parts:
    store: JobStore
    reader: Reader
    delivery: Delivery
    idempotency: Idempotency
    admission: Admission
    objects: ObjectStore
    workers: WorkerRegistry
    planner: PlannerProbe
    maximum_work: int
    """Frames x pixels x steps of one job."""
    require_keys: bool
    webhooks: WebhookAcceptance
    outbox: Outbox


def wiring(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """The app's lifespan.  Nothing is contacted: the API starts while others are down.

    Raises BadSettings and OSError, before the app starts, for addresses that make no sense.
    """
    text = connect_serving(settings.redis_url, decode=True)
    raw = connect_serving(settings.redis_url, decode=False)
    asynchronous = connect_async(settings.redis_url)
    planner = PlannerProbe(settings.planner_url)
    store, delivery = JobStore(text), Delivery(raw, settings.job_seconds)
    limits = Limits(settings.queue_limit, settings.owner_unfinished, settings.owner_rate, settings.owner_burst)
    parts = Parts(
        store=store,
        reader=Reader(asynchronous),
        delivery=delivery,
        idempotency=Idempotency(text),
        admission=Admission(text, store, delivery, limits),
        objects=ObjectStore.open(settings.storage),
        workers=WorkerRegistry(text, settings.heartbeat_seconds),
        planner=planner,
        maximum_work=settings.maximum_work,
        require_keys=settings.require_keys,
        webhooks=WebhookAcceptance(settings.webhook),
        outbox=Outbox(text),
    )

    attempts = settings.maximum_attempts
    retention = timedelta(days=settings.retention_days)

    @asynccontextmanager
    async def wired(app: FastAPI) -> AsyncIterator[None]:
        watchdog = Watchdog(
            parts.store, parts.delivery, parts.workers, attempts, on_taken_back=app.state.count_taken_back
        )
        janitor = Janitor(
            parts.store, parts.delivery, parts.objects.delete_leftovers, retention, settings.heartbeat_seconds
        )
        with text, raw, planner, parts.webhooks, watchdog, janitor:
            app.state.parts = parts
            async with asynchronous:
                yield

    return wired


# These two wait for nothing; as coroutines they cost no change of threads.
async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


UseParts = Annotated[Parts, Depends(_parts)]


async def _viewer(request: Request) -> Viewer:
    parts: Parts = request.app.state.parts
    return Viewer(parts.delivery, parts.objects, request)


UseViewer = Annotated[Viewer, Depends(_viewer)]
