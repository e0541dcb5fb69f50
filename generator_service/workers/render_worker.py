"""The render worker: one backbone in memory, one job at a time, from plan to stored video."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import structlog
import torch

from generator_service import rendering
from generator_service.backbones.base import AnyBackbone
from generator_service.contract.backbones import BACKBONES
from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.report import Diagnostics
from generator_service.jobs.cleanup import Cleanup
from generator_service.jobs.connection import connect
from generator_service.jobs.queues import render_queue
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.recovery import Recovery
from generator_service.jobs.store import JobStore
from generator_service.jobs.tickets import Tickets
from generator_service.jobs.workers import Heartbeat, WorkerInfo, WorkerRegistry
from generator_service.media.first_frame import FirstFrame
from generator_service.rendering import Rendered
from generator_service.sampling.state import Cancelled, Progress
from generator_service.settings import BadSettings, Settings
from generator_service.storage import JSON_TYPE, PREVIEW_TYPE, VIDEO_TYPE, JobKeys, ObjectStore, image_key
from generator_service.workers.attempt import Attempts, Stopped
from generator_service.workers.checkpoint import Checkpoint
from generator_service.workers.gpu_memory import GpuMemory
from generator_service.workers.loop import WorkerUnfit, work_until_stopped, worker_name
from generator_service.workers.metrics import WorkerMetrics, exposing
from generator_service.workers.progress import Pace, progress_at
from generator_service.workers.ranks import Group, join_ranks
from shared.errors import Conflict, NotFound, RenderingFailed, StorageUnavailable, Unavailable
from shared.plan import Plan
from telemetry.logging import set_up_logging
from telemetry.tracing import consecutive_spans, set_up_tracing

STORAGE_PAUSE_SECONDS: Final = 2.0
"""Between two attempts to reach storage that a job needs."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RenderWorker:
    store: JobStore
    objects: ObjectStore
    backbone: AnyBackbone
    attempts: Attempts
    checkpoint_seconds: float
    stopping: threading.Event
    """Set when this worker is to let go of its job."""
    render: Callable[..., Rendered] = rendering.render
    metrics: WorkerMetrics = field(default_factory=lambda: WorkerMetrics(Stage.SAMPLING))
    is_fit: Callable[[], bool] = lambda: True
    """Whether it can take another job."""

    def take_turn(self) -> None:
        self.attempts.take_turn(self._render_traced)
        if not self.is_fit():
            raise WorkerUnfit

    def _render_traced(self, record: JobRecord) -> None:
        with consecutive_spans() as begin_span:
            self._render(record, begin_span)

    def _render(self, record: JobRecord, begin_span: Callable[[str], None]) -> None:
        """A wish to cancel is seen after every denoising step, as each stage begins, and at the very end.

        A wish to stop is seen after every denoising step too; what is being decoded is stored, if time allows.
        """
        plan = self.store.plan(record.id)
        checkpoint = Checkpoint(self.store, self.objects, self.backbone, record, plan, self.checkpoint_seconds)
        start = checkpoint.load()
        job = _Reporter(
            self.store, record, self.attempts.worker, checkpoint, start, self.stopping, begin_span, self.metrics.step
        )
        try:
            rendered = self.render(
                self.backbone,
                record.prompt,
                plan,
                record.settings,
                image=self._image(record, job),
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
            results = self._keep(rendered, plan, keys, job)
            seconds = rendered.diagnostics.seconds | {Stage.STORING.value: round(time.perf_counter() - begin, 3)}
            diagnostics = rendered.diagnostics.model_copy(update={"seconds": seconds})
            self.attempts.retry_while_unavailable(lambda: self._succeed(record.id, results, diagnostics))
        except (Cancelled, Conflict, NotFound):
            # Not on any other error: where Redis falls silent, the job may have succeeded all the same.
            # And only this attempt's: another may have won meanwhile.
            self._discard(keys)
            raise
        self.metrics.stages(seconds)
        log.info("job_succeeded", seconds=seconds)

    def _image(self, record: JobRecord, job: "_Reporter") -> FirstFrame | None:
        """What the video begins with.  Raises RenderingFailed where it is gone."""
        if record.image is None:
            return None
        key = image_key(record.owner, record.image)
        try:
            return FirstFrame.read(self._wait_for_storage(lambda: self.objects.get(key), job, Stage.SAMPLING))
        except NotFound as error:
            raise RenderingFailed(f"the image '{record.image}' is no longer there") from error

    def _succeed(self, job_id: str, results: Results, diagnostics: Diagnostics) -> None:
        try:
            self.store.succeed(job_id, worker=self.attempts.worker, results=results, diagnostics=diagnostics)
        except Conflict:
            if self.store.get(job_id).results != results:  # else an earlier call has done it, and its answer was lost
                raise

    def _keep(self, rendered: Rendered, plan: Plan | None, keys: JobKeys, job: "_Reporter") -> Results:
        self.attempts.retry_while_unavailable(lambda: self.store.note_objects(keys.job_id))
        return self._wait_for_storage(lambda: self._store(rendered, plan, keys), job, Stage.STORING)

    def _wait_for_storage(self, ask: Callable[[], T], job: "_Reporter", stage: Stage) -> T:
        """Where it is gone, until it is back, the job is canceled, or this worker is to stop."""
        while True:
            try:
                return ask()
            except StorageUnavailable as outage:
                log.warning("storage_waited_for", reason=outage.detail)
            if self.stopping.wait(STORAGE_PAUSE_SECONDS):
                raise Stopped
            job.on_stage(stage)

    def _store(self, rendered: Rendered, plan: Plan | None, keys: JobKeys) -> Results:
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
        start: Progress | None,
        stopping: threading.Event,
        begin_span: Callable[[str], None],
        time_step: Callable[[float], None],
    ) -> None:
        self._store = store
        self._worker = worker
        self._job_id = record.id
        self._steps = record.settings.steps_in_all
        self._checkpoint = checkpoint
        self._stopping = stopping
        self._step = 0 if start is None else start.step
        self._resumable = start
        self._begin_span = begin_span
        self._time_step = time_step
        self._step_began: float | None = None
        self._pace = Pace()

    def on_step(self, progress: Progress) -> None:
        if self._step_began is not None:  # the first has the text encoder's time in it
            self._time_step(time.perf_counter() - self._step_began)
        self._step = progress.step
        self._report(Stage.SAMPLING, self._share())
        if progress.is_resumable:
            self._resumable = progress
        if self._stopping.is_set():
            raise Stopped
        self._checkpoint.save_if_due(progress)
        self._step_began = time.perf_counter()

    def on_stage(self, stage: Stage) -> None:
        self._begin_span(stage.value)
        if stage is Stage.SAMPLING:
            self._pace.begin(progress_at(stage, self._share()), datetime.now(UTC))
        self._report(stage, self._share() if stage is Stage.SAMPLING else 0.0)
        if self._stopping.is_set() and stage is Stage.SAMPLING:
            raise Stopped

    def save(self) -> None:
        """Once the work is interrupted: no finished step is lost."""
        if self._resumable is not None:
            self._checkpoint.save(self._resumable)

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


def is_sick(device: torch.device, error: Exception) -> bool:
    """Whether an unexpected error tells of this process or its device, which would fail every other job as well."""
    if isinstance(error, MemoryError | torch.AcceleratorError):
        return True
    try:
        torch.ones(2, device=device).sum().item()
    except Exception:  # whatever it is, the device cannot add two numbers
        return True
    return False


@contextmanager
def render_worker(settings: Settings) -> Iterator[Callable[[], None]]:
    """Load the backbone, then say that this worker is there; it works when it is called, until SIGTERM or SIGINT.

    Raises WeightsMissing and RenderingFailed; BadSettings, and OSError, for an unknown backbone or storage settings
    that make no sense; Unavailable where Redis cannot be reached at the start.
    """
    spec = BACKBONES.get(settings.render.backbone)
    if spec is None:
        raise BadSettings(f"Got the backbone {settings.render.backbone!r} but expected one of: {', '.join(BACKBONES)}")
    objects = ObjectStore.open(settings.storage)
    set_up_logging(settings.log_format)
    set_up_tracing("render-worker")
    log.info("backbone_loading", backbone=spec.name)
    begin = time.perf_counter()
    with join_ranks(settings.render) as group:
        backbone = group.load(spec, settings.render)
        log.info("backbone_loaded", seconds=round(time.perf_counter() - begin, 1), device=backbone.setup.device)
        if group.ranks.rank > 0:
            yield partial(group.follow, backbone)
            return
        with _serving(settings, objects, backbone, group) as work:
            yield work
        group.dismiss()


@contextmanager
def _serving(
    settings: Settings, objects: ObjectStore, backbone: AnyBackbone, group: Group
) -> Iterator[Callable[[], None]]:
    name, spec = worker_name("render"), backbone.spec
    metrics = WorkerMetrics(Stage.SAMPLING, spec.name)
    if backbone.device.type == "cuda":
        metrics.registry.register(GpuMemory(backbone.device))
    info = WorkerInfo(
        name=name,
        kind="render",
        backbone=spec.name,
        device=backbone.setup.device,
        host=socket.gethostname(),
        started_at=datetime.now(UTC),
    )
    with (
        connect(settings.redis_url, decode=True) as text,
        connect(settings.redis_url, decode=False) as raw,
        Heartbeat(registry := WorkerRegistry(text, settings.heartbeat_seconds), info) as heartbeat,
        exposing(metrics.registry, heartbeat.is_heard, settings.host, settings.metrics_port),
    ):
        store, tickets, queue = JobStore(text), Tickets(raw), render_queue(spec.name)
        attempts = Attempts(
            store,
            tickets,
            heartbeat,
            name,
            queue,
            maximum=settings.maximum_attempts,
            count=metrics.attempt,
            is_unfit=lambda error: not group.is_together or is_sick(backbone.device, error),
        )
        stopping = threading.Event()
        worker = RenderWorker(
            store,
            objects,
            backbone,
            attempts,
            settings.render.checkpoint_seconds,
            stopping,
            render=group.render,
            metrics=metrics,
            is_fit=lambda: group.is_together,
        )
        retention = timedelta(days=settings.retention_days)
        with (
            Recovery(store, tickets, registry, settings.maximum_attempts, on_reclaimed=metrics.reclaimed),
            Cleanup(store, objects, retention, settings.heartbeat_seconds),
        ):
            log.info("worker_started", worker=name)
            yield lambda: work_until_stopped(
                tickets.queue(queue), name, worker.take_turn, settings.job_seconds, stopping
            )
    log.info("worker_stopped", worker=name)
