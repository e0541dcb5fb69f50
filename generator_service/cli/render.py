"""`python -m generator_service render`: one video in this process, without queue or services."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from generator_service.cli.errors import report_errors, report_file_errors
from generator_service.cli.options import (
    BackboneName,
    Candidates,
    Frames,
    FramesPerSecond,
    Guidance,
    GuidanceScale,
    Height,
    ImageFile,
    PlanFile,
    Seed,
    StepCache,
    Steps,
    Width,
)
from generator_service.contract.backbones import BACKBONES, DEFAULT_BACKBONE
from generator_service.contract.job import Stage
from generator_service.contract.request import JobRequest, data_url
from generator_service.media.first_frame import FirstFrame
from generator_service.settings import WorkerSettings
from shared.errors import RenderingFailed, validation_errors_as_invalid_request
from shared.plan import Plan

if TYPE_CHECKING:
    from generator_service.rendering import Rendered
    from generator_service.sampling.state import Progress as Sampled


def render_command(
    out: Annotated[Path, typer.Option(help="The MP4 to write.", dir_okay=False)],
    prompt: Annotated[str | None, typer.Option(help="What the video shows; a plan brings its own.")] = None,
    plan: PlanFile = None,
    image: ImageFile = None,
    backbone: BackboneName = DEFAULT_BACKBONE,
    seed: Seed = None,
    candidates: Candidates = 1,
    guidance: Guidance = None,
    steps: Steps = None,
    frames: Frames = None,
    width: Width = None,
    height: Height = None,
    fps: FramesPerSecond = None,
    guidance_scale: GuidanceScale = None,
    step_cache: StepCache = 0.0,
    preview: Annotated[Path | None, typer.Option(help="A film strip to write, as PNG.", dir_okay=False)] = None,
    manifest: Annotated[Path | None, typer.Option(help="How it was made, to write as JSON.", dir_okay=False)] = None,
    report: Annotated[Path | None, typer.Option(help="What guidance did, to write as JSON.", dir_okay=False)] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, … or auto.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, float16 or auto.")] = None,
) -> None:
    """Render a video in this process, guided by a plan if there is one.

    What is left out is the backbone's own default; how it is loaded may also stand in the environment, as for a
    render worker (GENERATOR_RENDER_…).
    """
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with report_errors():
        with report_file_errors(), validation_errors_as_invalid_request():
            content = b"" if image is None else image.read_bytes()
            first_frame = None if image is None else FirstFrame.read(content)
            request = JobRequest(
                prompt=prompt,
                image=None if first_frame is None else data_url(content, first_frame.media_type),
                plan=None if plan is None else Plan.model_validate_json(plan.read_bytes()),
                backbone=backbone,
                seed=seed,
                candidates=candidates,
                steps=steps,
                frames=frames,
                width=width,
                height=height,
                fps=fps,
                guidance_scale=guidance_scale,
                step_cache=step_cache,
                guidance=guidance,
            )
            options: dict[str, Any] = {"backbone": backbone, "device": device, "dtype": dtype}
            worker = WorkerSettings(**{name: value for name, value in options.items() if value is not None})
        rendered = _render(request, first_frame, worker, console)
        if rendered is None:
            return
        for note in rendered.diagnostics.remarks:
            console.print(note, style="yellow")
        files = {
            out: rendered.video,
            preview: rendered.preview,
            manifest: rendered.manifest.model_dump_json(indent=2).encode(),
            report: rendered.diagnostics.model_dump_json(indent=2).encode(),
        }
        with report_file_errors():
            for path, content in files.items():
                if path is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                    console.print(f"wrote {path}")


def _render(
    request: JobRequest, first_frame: FirstFrame | None, worker: WorkerSettings, console: Console
) -> "Rendered | None":
    """None in a process that shares its part of a video with the one that has all of it."""
    settings = request.settings()

    # Here and not above: torch takes seconds to import, and the other commands of this program do without.
    from generator_service.workers.ranks import RankLost, become_ranks, join_ranks

    become_ranks(worker.context_parallel)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with join_ranks(worker) as group:
        if group.ranks.rank > 0:
            group.follow(group.load(BACKBONES[settings.backbone], worker))
            return None
        with console.status(f"loading {settings.backbone}"):
            backbone = group.load(BACKBONES[settings.backbone], worker)
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=settings.steps_in_all)

            def on_stage(stage: Stage) -> None:
                progress.update(bar, description=stage.value)

            def on_step(sampled: "Sampled") -> None:
                progress.update(bar, completed=sampled.step)

            try:
                rendered = group.render(
                    backbone,
                    request.text,
                    request.plan,
                    settings,
                    image=first_frame,
                    on_step=on_step,
                    on_stage=on_stage,
                )
            except RankLost as lost:
                raise RenderingFailed(str(lost)) from lost
        group.dismiss()
    return rendered
