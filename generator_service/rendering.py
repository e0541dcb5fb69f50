"""One video, top to bottom: scene, sample, decode, encode.  The render worker and the command line both call this."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from PIL.Image import Image

from generator_service.backbones.base import AnyBackbone, Frames, Scene
from generator_service.contract.job import Stage
from generator_service.contract.report import Adherence, CandidateReport, Diagnostics, GuidanceCost, GuidanceReport
from generator_service.contract.request import RenderSettings
from generator_service.media.first_frame import FirstFrame
from generator_service.media.manifest import Manifest
from generator_service.media.preview import draw_preview
from generator_service.media.video import encode_mp4
from generator_service.sampling.candidates import choose, sample_candidates
from generator_service.sampling.meter import StepMeter
from generator_service.sampling.state import OnStep, Progress
from shared.errors import InvalidRequest, OutOfMemory
from shared.plan import Plan

OnStage = Callable[[Stage], None]
"""Called when a stage begins; like `OnStep` it may raise `Cancelled`."""


@dataclass(frozen=True)
class Sampled:
    frames: Frames
    scene: Scene
    seed: int
    guidance: GuidanceReport | None
    cost: GuidanceCost | None
    adherence: tuple[Adherence, ...] | None
    """Where it was chosen among candidates."""
    candidates: tuple[CandidateReport, ...]
    seconds: dict[str, float]
    """Of each stage."""


@dataclass(frozen=True)
class Rendered:
    frames: Frames
    video: bytes
    """MP4."""
    preview: bytes
    """PNG."""
    manifest: Manifest
    diagnostics: Diagnostics


def render(
    backbone: AnyBackbone,
    prompt: str,
    plan: Plan | None,
    settings: RenderSettings,
    *,
    image: FirstFrame | None = None,
    start: Progress | None = None,
    on_step: OnStep,
    on_stage: OnStage,
) -> Rendered:
    """`sample`, and what a user is given of it: files, and what of the plan is seen.  Raises OutOfMemory."""
    sampled = sample(
        backbone,
        prompt,
        plan,
        settings,
        image=None if image is None else image.picture,
        start=start,
        on_step=on_step,
        on_stage=on_stage,
    )
    frames, scene, seconds = sampled.frames, sampled.scene, dict(sampled.seconds)
    with _time_stage("encoding", seconds):
        video, encoding = encode_mp4(frames, settings.fps)
        preview = draw_preview(frames, prompt, scene.plan)
    adherence = sampled.adherence
    if adherence is None and scene.plan is not None:
        with _deterministic_algorithms(), _memory_errors_as_out_of_memory(settings), _time_stage("measuring", seconds):
            adherence = backbone.adherence(frames, scene)
    setup = backbone.setup
    manifest = Manifest(
        prompt=prompt,
        caption=scene.caption,
        plan_hash=None if plan is None else plan.content_hash,
        image_sha256=None if image is None else image.sha256,
        settings=settings,
        seed=sampled.seed,
        weights_revision=setup.weights_revision,
        device=setup.device,
        dtype=setup.dtype,
        vae_tiling=setup.vae_tiling,
        encoding=encoding,
        seconds=seconds,
    )
    diagnostics = Diagnostics(
        caption=scene.caption if scene.caption != prompt else None,
        notes=scene.notes,
        seconds=seconds,
        guidance=sampled.guidance,
        cost=sampled.cost,
        adherence=adherence,
        candidates=sampled.candidates,
    )
    return Rendered(frames, video, preview, manifest, diagnostics)


def sample(
    backbone: AnyBackbone,
    prompt: str,
    plan: Plan | None,
    settings: RenderSettings,
    *,
    image: Image | None = None,
    start: Progress | None = None,
    on_step: OnStep,
    on_stage: OnStage,
) -> Sampled:
    """image: what it begins with, for backbones that can.

    The same arguments on the same device give the same frames to the bit, wherever it starts: at pure noise, or at
    any state of the same video that `on_step` was given.

    `settings` must be within the backbone's limits (`JobRequest.settings` sees to it).  Whatever a callback raises
    passes through.  Raises OutOfMemory, and InvalidRequest for candidates that there is no plan to judge by.
    """
    seconds: dict[str, float] = {}
    with _deterministic_algorithms(), _memory_errors_as_out_of_memory(settings):
        on_stage(Stage.SAMPLING)
        with _time_stage("sampling", seconds):
            scene = backbone.scene(prompt, plan)
            if image is not None:
                scene = replace(scene, image=image)
            if scene.plan is None and settings.candidates > 1:
                raise InvalidRequest("candidates: without a plan there is nothing to judge them by")
            conditioning = backbone.prepare(scene, settings)
            meter = StepMeter(backbone.device)
            begun = start or Progress(())
            sampled = sample_candidates(backbone, conditioning, scene, settings, begun, meter, on_step)
        on_stage(Stage.DECODING)
        with _time_stage("decoding", seconds):
            chosen = choose(backbone, scene, settings, sampled)
    report = chosen.state.report
    has_plain_steps = settings.step_cache == 0
    cost = meter.cost(report.steps) if report is not None and has_plain_steps else None
    return Sampled(chosen.frames, scene, chosen.seed, report, cost, chosen.adherence, chosen.reports, seconds)


@contextmanager
def _time_stage(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - begin, 3)


@contextmanager
def _deterministic_algorithms() -> Iterator[None]:
    """Only kernels that give the same bits every time; the process is left as it was."""
    before, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


@contextmanager
def _memory_errors_as_out_of_memory(settings: RenderSettings) -> Iterator[None]:
    """torch's own words, which tell of the machine and its other work, are for the log."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # On a CPU, torch has no class for it.
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        size = f"{settings.frames} frames of {settings.width}×{settings.height}"
        raise OutOfMemory(f"{size} need more memory than the device has free") from error
