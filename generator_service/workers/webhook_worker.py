"""The webhook worker: a process of its own, since it alone talks to strangers; their slowness is to delay no one."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import anyio
import structlog
from prometheus_client import CollectorRegistry

from generator_service.jobs.connection import connect
from generator_service.jobs.outbox import Outbox
from generator_service.jobs.store import JobStore
from generator_service.jobs.workers import Heartbeat, WorkerInfo, WorkerRegistry
from generator_service.settings import BadSettings, Settings
from generator_service.webhooks.deliverer import Deliverer
from generator_service.webhooks.event import Signer
from generator_service.webhooks.sending import Sender
from generator_service.webhooks.targets import TargetPolicy
from generator_service.workers.loop import worker_name
from generator_service.workers.metrics import exposing
from telemetry.logging import set_up_logging
from telemetry.tracing import set_up_tracing

log = structlog.get_logger(__name__)


@contextmanager
def webhook_worker(settings: Settings) -> Iterator[Callable[[], None]]:
    """Inside the block it is there, and works when it is called, until SIGTERM or SIGINT; what is under way then comes
    to its end, or to its deadline.

    Raises BadSettings where there is no secret or the port is taken, and Unavailable where Redis cannot be reached at
    the start.
    """
    if settings.webhook.secret is None:
        raise BadSettings("GENERATOR_WEBHOOK_SECRET is not set: without it there are no webhooks")
    set_up_logging(settings.log_format)
    set_up_tracing("webhook-worker")
    name = worker_name("webhook")
    info = WorkerInfo(name=name, kind="webhook", host=socket.gethostname(), started_at=datetime.now(UTC))
    with (
        connect(settings.redis_url, decode=True) as text,
        Heartbeat(WorkerRegistry(text, settings.heartbeat_seconds), info) as heartbeat,
        exposing(CollectorRegistry(), heartbeat.is_heard, settings.host, settings.metrics_port),
    ):
        store, signer = JobStore(text), Signer(settings.webhook.secret)
        sender = Sender(TargetPolicy(settings.webhook))
        deliverer = Deliverer(store, Outbox(text), signer, sender, now=store.now)
        log.info("worker_started", worker=name)
        yield lambda: anyio.run(_run, deliverer)
    log.info("worker_stopped", worker=name)


async def _run(deliverer: Deliverer) -> None:
    stopping = anyio.Event()

    async def stop_when_told() -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                stopping.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_when_told)
        await deliverer.run(stopping)
        tasks.cancel_scope.cancel()
