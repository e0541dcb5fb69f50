"""The plan worker: takes a job from the queue of plans to the queue of renders.  It needs no GPU, and no torch."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.connection import connect
from generator_service.jobs.queues import PLAN_QUEUE
from generator_service.jobs.record import JobRecord
from generator_service.jobs.recovery import Recovery
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from generator_service.jobs.workers import Heartbeat, WorkerInfo, WorkerRegistry
from generator_service.planner_client import PlannerClient, PlannerGone
from generator_service.settings import Settings
from generator_service.workers.attempt import Attempts, RetryLater
from generator_service.workers.loop import work_until_stopped, worker_name
from generator_service.workers.metrics import WorkerMetrics, exposing
from generator_service.workers.progress import progress_at
from shared.errors import Conflict, Unavailable
from shared.plan import Plan
from telemetry.logging import set_up_logging
from telemetry.tracing import set_up_tracing

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PlanWorker:
    store: JobStore
    planner: PlannerClient
    attempts: Attempts
    patience: timedelta
    """For how long a job is tried again whose planner is gone."""
    metrics: WorkerMetrics = field(default_factory=lambda: WorkerMetrics(Stage.PLANNING))

    def take_turn(self) -> None:
        self.attempts.take_turn(self._plan)

    def _plan(self, record: JobRecord) -> None:
        """A wish to cancel is seen while the planner thinks, and once it has answered: `hand_over` raises Conflict."""
        begin = time.perf_counter()
        plan = self._ask_planner(record)
        seconds = round(time.perf_counter() - begin, 3)
        progress = progress_at(Stage.PLANNING, 1.0)
        worker = self.attempts.worker
        self.attempts.retry_while_unavailable(
            lambda: self.store.hand_over(record.id, plan, worker=worker, progress=progress, seconds=seconds)
        )
        self.attempts.leave_tickets()
        self.metrics.stages({Stage.PLANNING.value: seconds})
        log.info("job_planned", seconds=seconds, instances=len(plan.graph.instances))

    def _ask_planner(self, record: JobRecord) -> Plan:
        """Raises RetryLater where nobody can plan it now; and what was gone, where it was for too long."""
        try:
            return self.planner.plan(record, lambda: self._require_wanted(record))
        except PlannerGone as gone:
            waited = record.waited_for_missing(self.store.now())
            if waited >= self.patience:
                seconds = waited.total_seconds()
                raise type(gone.reason)(f"{gone.reason.detail}; given up after {seconds:.0f} s") from gone
            raise RetryLater(gone.reason, pause=gone.pause(waited, self.patience)) from gone

    def _require_wanted(self, record: JobRecord) -> None:
        """Raises Conflict and NotFound where the job is to be canceled, or is not this worker's any more."""
        try:
            now = self.store.get(record.id)
        except Unavailable:
            return  # no reason to lose the plan
        if (now.status, now.worker) != (JobStatus.RUNNING, self.attempts.worker):
            raise Conflict(f"job '{record.id}' is {now.status}: nobody waits for this plan")


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
        connect(settings.redis_url, decode=True) as text,
        connect(settings.redis_url, decode=False) as raw,
        Heartbeat(registry := WorkerRegistry(text, settings.heartbeat_seconds), info) as heartbeat,
        exposing(metrics.registry, heartbeat.is_heard, settings.host, settings.metrics_port),
    ):
        store, tickets = JobStore(text), Tickets(raw)
        planner = PlannerClient(settings.planner_url, settings.planner_timeout, settings.planner_token)
        patience = timedelta(seconds=settings.planner_patience)
        attempts = Attempts(
            store, tickets, heartbeat, name, PLAN_QUEUE, maximum=settings.maximum_attempts, count=metrics.attempt
        )
        worker = PlanWorker(store, planner, attempts, patience, metrics)
        with Recovery(store, tickets, registry, settings.maximum_attempts, on_reclaimed=metrics.reclaimed):
            log.info("worker_started", worker=name)
            yield lambda: work_until_stopped(
                tickets.queue(PLAN_QUEUE), name, worker.take_turn, settings.job_seconds, threading.Event()
            )
    log.info("worker_stopped", worker=name)
