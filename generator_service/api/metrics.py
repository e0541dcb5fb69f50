"""What Prometheus asks for: counted here, requests; looked up when asked, jobs, queues and workers.

What is looked up is the same in every API process: take its maximum over them, not its sum.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from generator_service.api.parts import Parts, UseParts
from generator_service.jobs.queue_load import queue_loads
from generator_service.jobs.workers import WorkerInfo
from shared.errors import Unavailable

router = APIRouter(tags=["operations"])


def combined_registry(folder: str) -> CollectorRegistry:
    """What all processes that share a port have counted in that folder."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)
    return registry


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
