"""The plan worker: takes a job from the queue of plans to the queue of renders.  It needs no GPU, and no torch."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.connection import connect
from generator_service.jobs.delivery import PLAN_QUEUE, Delivery
from generator_service.jobs.heartbeat import Heartbeat, WorkerInfo, WorkerRegistry
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.watchdog import Watchdog
from generator_service.settings import Settings
from generator_service.workers.attempt import Attempts, Postponed
from generator_service.workers.metrics import WorkerMetrics, exposing
from generator_service.workers.planner_client import PlannerClient, PlannerGone
from generator_service.workers.progress import progress_at
from generator_service.workers.resident import work_until_stopped, worker_name
from shared.errors import Conflict, Unavailable
from shared.plan import Plan
from telemetry.logging import set_up_logging
from telemetry.tracing import set_up_tracing

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PlanWorker:
    store: JobStore
    delivery: Delivery
    planner: PlannerClient
    attempts: Attempts
    patience: timedelta
    """For how long a job is tried again whose planner is gone."""
    metrics: WorkerMetrics = field(default_factory=lambda: WorkerMetrics(Stage.PLANNING))

    def run(self, job_id: str) -> None:
        self.attempts.run(job_id, self._plan)

    def _plan(self, record: JobRecord) -> None:
        """A wish to cancel is seen while the planner thinks, and once it has answered: `hand_over` raises Conflict."""
        begin = time.perf_counter()
        plan = self._planned(record)
        seconds = round(time.perf_counter() - begin, 3)
        progress = progress_at(Stage.PLANNING, 1.0)
        worker = self.attempts.worker
        planned = self.attempts.insist(
            lambda: self.store.hand_over(record.id, plan, worker=worker, progress=progress, seconds=seconds)
        )
        try:
            self.delivery.enqueue(planned)
        except Unavailable:  # it is planned, and so it will be rendered: a watchdog puts it into its queue
            log.warning("job_not_enqueued")
        self.metrics.stages({Stage.PLANNING.value: seconds})
        log.info("job_planned", seconds=seconds, instances=len(plan.graph.instances))

    def _planned(self, record: JobRecord) -> Plan:
        """Raises Postponed where nobody can plan it now; and what was gone, where it was for too long."""
        try:
            return self.planner.plan(record, lambda: self._require_wanted(record))
        except PlannerGone as gone:
            waited = record.waited(datetime.now(UTC))
            if waited >= self.patience:
                seconds = waited.total_seconds()
                raise type(gone.reason)(f"{gone.reason.detail}; given up after {seconds:.0f} s") from gone
            raise Postponed(gone.reason, pause=gone.pause(waited, self.patience)) from gone

    def _require_wanted(self, record: JobRecord) -> None:
        """Raises Conflict and NotFound where the job is to be canceled, or is not this worker's any more."""
        try:
            now = self.store.get(record.id)
        except Unavailable:
            return  # no reason to lose the plan
        if (now.status, now.worker) != (JobStatus.RUNNING, self.attempts.worker):
            raise Conflict(f"job '{record.id}' is {now.status}: nobody waits for this plan")


_SERVING: ContextVar[PlanWorker] = ContextVar("plan_worker")


@contextmanager
def serving(worker: PlanWorker) -> Iterator[None]:
    """Inside the block, `plan` is this worker's."""
    token = _SERVING.set(worker)
    try:
        yield
    finally:
        _SERVING.reset(token)


def plan(job_id: str) -> None:
    """What RQ calls, by its dotted name."""
    _SERVING.get().run(job_id)


@contextmanager
def plan_worker(settings: Settings) -> Iterator[Callable[[], None]]:
    """Inside the block it is there, and works when it is called, until SIGTERM or SIGINT.

    Raises BadSettings, and Unavailable where Redis cannot be reached at the start.
    """
    set_up_logging(settings.log_format)
    name = worker_name("plan")
    set_up_tracing("plan-worker")
    metrics = WorkerMetrics(Stage.PLANNING)
    info = WorkerInfo(name=name, kind="plan", host=socket.gethostname(), started_at=datetime.now(UTC))
    with (
        exposing(metrics.registry, settings.host, settings.metrics_port),
        connect(settings.redis_url, decode=True) as text,
        connect(settings.redis_url, decode=False) as raw,
        Heartbeat(registry := WorkerRegistry(text, settings.heartbeat_seconds), info) as heartbeat,
    ):
        store = JobStore(text)
        planner = PlannerClient(settings.planner_url, settings.planner_timeout, settings.planner_token)
        patience = timedelta(seconds=settings.planner_patience)
        delivery = Delivery(raw, settings.job_seconds)
        attempts = Attempts(store, heartbeat, name, Stage.PLANNING, count=metrics.attempt)
        watchdog = Watchdog(store, delivery, registry, settings.maximum_attempts, on_taken_back=metrics.taken_back)
        with serving(PlanWorker(store, delivery, planner, attempts, patience, metrics)), watchdog:
            log.info("worker_started", worker=name)
            yield lambda: work_until_stopped(delivery.queue(PLAN_QUEUE), name, threading.Event())
    log.info("worker_stopped", worker=name)
