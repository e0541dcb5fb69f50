"""The render worker: one backbone in memory, one job at a time, from plan to stored video."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from generator_service import rendering
from generator_service.backbones.base import AnyBackbone
from generator_service.backbones.load import load_backbone
from generator_service.backbones.specs import BACKBONES
from generator_service.jobs.connection import connect
from generator_service.jobs.delivery import Delivery, render_queue
from generator_service.jobs.heartbeat import Heartbeat, WorkerInfo, WorkerRegistry
from generator_service.jobs.janitor import Janitor
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.states import JobStatus, Stage
from generator_service.jobs.store import JobStore
from generator_service.jobs.watchdog import Watchdog
from generator_service.logging import set_up_logging
from generator_service.rendering import OnStage, Rendered
from generator_service.request import RenderSettings
from generator_service.sampling.state import Cancelled, OnStep, StepState
from generator_service.settings import Settings
from generator_service.storage.object_store import JSON_TYPE, PREVIEW_TYPE, VIDEO_TYPE, JobKeys, ObjectStore
from generator_service.workers.attempt import Attempts, Stopped
from generator_service.workers.checkpoint import Checkpoint
from generator_service.workers.progress import Pace, progress_at
from generator_service.workers.resident import work_until_stopped, worker_name
from shared.errors import Conflict, NotFound, StorageUnavailable, Unavailable
from shared.plan import Plan

log = structlog.get_logger(__name__)


class Render(Protocol):
    """`rendering.render`, as this worker uses it."""

    def __call__(
        self,
        backbone: AnyBackbone,
        prompt: str,
        plan: Plan | None,
        settings: RenderSettings,
        *,
        start: StepState | None,
        on_step: OnStep,
        on_stage: OnStage,
    ) -> Rendered: ...


@dataclass(frozen=True)
class RenderWorker:
    store: JobStore
    objects: ObjectStore
    backbone: AnyBackbone
    attempts: Attempts
    checkpoint_seconds: float
    stopping: threading.Event
    """Set when this worker is to let go of its job."""
    render: Render = rendering.render

    def run(self, job_id: str) -> None:
        self.attempts.run(job_id, self._render)

    def _render(self, record: JobRecord) -> None:
        """A wish to cancel is seen after every denoising step, as each stage begins, and at the very end.

        A wish to stop is seen after every denoising step too; what is being decoded is stored, if time allows.
        """
        plan = self.store.plan(record.id)
        checkpoint = Checkpoint(self.store, self.objects, self.backbone, record, plan, self.checkpoint_seconds)
        start = checkpoint.load() if record.delivery > 1 else None
        job = _Reporter(self.store, record, self.attempts.worker, checkpoint, start, self.stopping)
        try:
            rendered = self.render(
                self.backbone,
                record.prompt,
                plan,
                record.settings,
                start=start,
                on_step=job.on_step,
                on_stage=job.on_stage,
            )
        except (Stopped, SystemExit):
            job.save()
            raise
        job.on_stage(Stage.STORING)
        keys = JobKeys(record.id, record.attempt)
        try:
            begin = time.perf_counter()
            results = self._keep(rendered, plan, keys)
            seconds = rendered.diagnostics.seconds | {Stage.STORING.value: round(time.perf_counter() - begin, 3)}
            diagnostics = rendered.diagnostics.model_copy(update={"seconds": seconds})
            self.store.succeed(record.id, worker=self.attempts.worker, results=results, diagnostics=diagnostics)
        except (Conflict, NotFound, StorageUnavailable):
            # Not on any other error: where Redis falls silent, the job may have succeeded all the same.
            # And only this attempt's: another may have won meanwhile.
            self._discard(keys)
            raise
        log.info("job_succeeded", seconds=seconds)

    def _keep(self, rendered: Rendered, plan: Plan | None, keys: JobKeys) -> Results:
        self.store.note_objects(keys.job_id)
        self.objects.put(keys.video, rendered.video, VIDEO_TYPE)
        self.objects.put(keys.preview, rendered.preview, PREVIEW_TYPE)
        self.objects.put(keys.manifest, rendered.manifest.model_dump_json(indent=2).encode(), JSON_TYPE)
        self.objects.put(keys.report, rendered.diagnostics.model_dump_json(indent=2).encode(), JSON_TYPE)
        if plan is not None:
            self.objects.put(keys.plan, plan.model_dump_json().encode(), JSON_TYPE)
        return Results(
            video=keys.video,
            plan=None if plan is None else keys.plan,
            preview=keys.preview,
            manifest=keys.manifest,
            report=keys.report,
        )

    def _discard(self, keys: JobKeys) -> None:
        try:
            self.objects.delete_prefix(keys.attempt_prefix)
        except StorageUnavailable:
            log.warning("objects_left_behind", prefix=keys.attempt_prefix)


class _Reporter:
    """The callbacks of one job's rendering: progress out, checkpoints out, a wish to cancel or to stop in.

    They raise Cancelled and Stopped.  A report comes before everything else: it tells whether the job is still ours.
    """

    def __init__(
        self,
        store: JobStore,
        record: JobRecord,
        worker: str,
        checkpoint: Checkpoint,
        start: StepState | None,
        stopping: threading.Event,
    ) -> None:
        self._store = store
        self._worker = worker
        self._job_id = record.id
        self._steps = record.settings.steps
        self._checkpoint = checkpoint
        self._stopping = stopping
        self._step = 0 if start is None else start.step
        self._state = start
        self._pace = Pace()

    def on_step(self, state: StepState) -> None:
        self._step = state.step
        self._report(Stage.SAMPLING, self._share())
        self._state = state
        if self._stopping.is_set():
            raise Stopped
        self._checkpoint.save_if_due(state)

    def on_stage(self, stage: Stage) -> None:
        if stage is Stage.SAMPLING:
            self._pace.begin(progress_at(stage, self._share()), datetime.now(UTC))
        self._report(stage, self._share() if stage is Stage.SAMPLING else 0.0)
        if self._stopping.is_set() and stage is Stage.SAMPLING:
            raise Stopped

    def save(self) -> None:
        """Once the work is interrupted: no finished step is lost."""
        if self._state is not None:
            self._checkpoint.save(self._state)

    def _share(self) -> float:
        return self._step / self._steps

    def _report(self, stage: Stage, share: float) -> None:
        progress = progress_at(stage, share)
        try:
            status = self._store.report(
                self._job_id,
                worker=self._worker,
                stage=stage,
                progress=progress,
                step=self._step,
                expected_at=self._pace.expected_end(progress, datetime.now(UTC)),
            )
        except (Conflict, NotFound) as error:
            raise Cancelled from error
        except Unavailable:
            log.warning("progress_not_reported", stage=stage.value, step=self._step)  # no reason to lose the video
            return
        if status is not JobStatus.RUNNING:
            raise Cancelled


_SERVING: ContextVar[RenderWorker] = ContextVar("render_worker")


@contextmanager
def serving(worker: RenderWorker) -> Iterator[None]:
    """Inside the block, `render` is this worker's."""
    token = _SERVING.set(worker)
    try:
        yield
    finally:
        _SERVING.reset(token)


def render(job_id: str) -> None:
    """What RQ calls, by its dotted name."""
    _SERVING.get().run(job_id)


def run_render_worker(settings: Settings) -> None:
    """Load the backbone, then say that this worker is there, then work until SIGTERM or SIGINT.

    Raises WeightsMissing; ValueError for an unknown backbone or storage settings that make no sense; Unavailable
    where Redis cannot be reached at the start.
    """
    spec = BACKBONES.get(settings.render.backbone)
    if spec is None:
        raise ValueError(f"Got the backbone {settings.render.backbone!r} but expected one of: {', '.join(BACKBONES)}")
    objects = ObjectStore.open(settings.storage)
    set_up_logging(settings.log_format)
    name = worker_name("render")
    log.info("backbone_loading", backbone=spec.name)
    begin = time.perf_counter()
    backbone = load_backbone(spec, settings.render)
    log.info("backbone_loaded", seconds=round(time.perf_counter() - begin, 1), device=backbone.setup.device)
    info = WorkerInfo(
        name=name, kind="render", backbone=spec.name, device=backbone.setup.device, started_at=datetime.now(UTC)
    )
    with (
        connect(settings.redis_url, decode=True) as text,
        connect(settings.redis_url, decode=False) as raw,
        Heartbeat(registry := WorkerRegistry(text, settings.heartbeat_seconds), info) as heartbeat,
    ):
        store = JobStore(text)
        delivery = Delivery(raw, settings.job_seconds)
        attempts = Attempts(store, heartbeat, name, Stage.SAMPLING)
        watchdog = Watchdog(store, delivery, registry, settings.maximum_attempts)
        retention = timedelta(days=settings.retention_days)
        janitor = Janitor(store, delivery, objects.delete_leftovers, retention, settings.heartbeat_seconds)
        stopping = threading.Event()
        worker = RenderWorker(store, objects, backbone, attempts, settings.render.checkpoint_seconds, stopping)
        with serving(worker), watchdog, janitor:
            log.info("worker_started", worker=name)
            work_until_stopped(delivery.queue(render_queue(spec.name)), name, stopping)
    log.info("worker_stopped", worker=name)
