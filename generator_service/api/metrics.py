"""What Prometheus asks for: counted here, requests; looked up when asked, jobs, queues and workers.

What is looked up is the same in every API process: take its maximum over them, not its sum.
"""

import time
from collections import Counter as Tally
from collections.abc import Iterable, Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from generator_service.api.parts import Parts, UseParts
from generator_service.jobs.queue_load import queue_loads
from generator_service.jobs.workers import WorkerInfo
from shared.errors import Unavailable

SECONDS_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

router = APIRouter(tags=["operations"])


class RequestMetrics:
    """ASGI middleware that counts every answer, and how long it took to begin: an event stream never ends early."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        self._requests = Counter(
            "generator_http_requests", "Answers.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "generator_http_request_seconds",
            "Until an answer begins.",
            ["method", "route"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = time.perf_counter()
        status: int | None = None

        def count(answered: int) -> None:
            route = getattr(scope.get("route"), "path", "unknown")  # the template: no ids among the labels
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._requests.labels(method, route, answered).inc()
            self._seconds.labels(method, route).observe(time.perf_counter() - begin)

        async def counting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                count(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, counting_send)
        except Exception:
            if status is None:
                count(500)
            raise


def combined_registry(folder: str) -> CollectorRegistry:
    """What all processes that share a port have counted in that folder."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    return registry


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _ServiceState(Collector):
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            yield from self._gauges()
            up = 1
        except Unavailable:
            up = 0
        yield GaugeMetricFamily("generator_redis_up", "1 where Redis answers.", value=up)

    def _gauges(self) -> list[GaugeMetricFamily]:
        store = self._parts.store
        workers = self._parts.workers.alive()
        counts, queues, webhooks = store.counts(), queue_loads(store), self._parts.outbox.overdue(store.now())

        by_status = GaugeMetricFamily("generator_jobs", "Jobs that are kept.", labels=["status"])
        for status, count in counts.items():
            by_status.add_metric([status.value], count)
        waiting = GaugeMetricFamily(
            "generator_queue_length", "Jobs that wait for a worker, those put aside included.", labels=["queue"]
        )
        running = GaugeMetricFamily("generator_queue_running", "Jobs that a worker has.", labels=["queue"])
        oldest = GaugeMetricFamily(
            "generator_queue_oldest_seconds", "How long the job has waited that has waited longest.", labels=["queue"]
        )
        for name, load in queues.items():
            waiting.add_metric([name], load.waiting + load.put_aside)
            running.add_metric([name], load.running)
            oldest.add_metric([name], load.oldest_seconds or 0.0)
        alive = _by_kind("generator_workers", "Workers that were heard lately.", workers)
        at_work = [info for info in workers if info.job is not None]
        busy = _by_kind("generator_workers_busy", "Of these, those that have a job.", at_work)
        overdue = GaugeMetricFamily(
            "generator_webhooks_overdue", "Events that are due, and which nobody sends now.", value=webhooks.events
        )
        since = GaugeMetricFamily(
            "generator_webhooks_overdue_seconds",
            "How long the event has been due that waits longest.",
            value=webhooks.oldest_seconds or 0.0,
        )
        return [by_status, waiting, running, oldest, alive, busy, overdue, since]


def _by_kind(name: str, meaning: str, workers: Iterable[WorkerInfo]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=["kind", "backbone"])
    for labels, number in Tally((info.kind, info.backbone or "") for info in workers).items():
        family.add_metric(labels, number)
    return family


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
def metrics(request: Request, parts: UseParts) -> Response:
    """Text format.  Where Redis does not answer, `generator_redis_up` is 0 and jobs, queues and workers are missing."""
    lookup = CollectorRegistry()
    lookup.register(_ServiceState(parts))
    counted: CollectorRegistry = request.app.state.counted
    return Response(generate_latest(counted) + generate_latest(lookup), media_type=CONTENT_TYPE_LATEST)
