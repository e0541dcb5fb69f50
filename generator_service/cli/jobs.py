"""The commands that talk to a running API."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from generator_service.cli.errors import exit_with, one_line, report_errors, report_file_errors
from generator_service.cli.options import (
    BackboneName,
    Candidates,
    Frames,
    FramesPerSecond,
    Guidance,
    GuidanceScale,
    Height,
    ImageFile,
    Key,
    PlanFile,
    Seed,
    StepCache,
    Steps,
    Url,
    Width,
)
from generator_service.cli.progress import ProgressDisplay, describe, time_left
from generator_service.client import DEFAULT_URL, Client
from generator_service.contract.backbones import DEFAULT_BACKBONE
from generator_service.contract.job import JobStatus, JobView
from generator_service.contract.request import JobRequest, PlannerChoice, Priority
from shared.errors import validation_errors_as_invalid_request
from shared.plan import Plan

INTERRUPTED = 130
"""The usual exit code after Ctrl-C."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Job = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]


def submit(
    prompt: Annotated[str | None, typer.Argument(help="What the video shows; not needed with --plan.")] = None,
    plan: PlanFile = None,
    image: ImageFile = None,
    planner: Annotated[PlannerChoice, typer.Option(help="Who plans.")] = "auto",
    backbone: BackboneName = DEFAULT_BACKBONE,
    seed: Seed = None,
    candidates: Candidates = 1,
    steps: Steps = None,
    frames: Frames = None,
    width: Width = None,
    height: Height = None,
    fps: FramesPerSecond = None,
    guidance_scale: GuidanceScale = None,
    step_cache: StepCache = 0.0,
    guidance: Guidance = None,
    priority: Annotated[Priority, typer.Option(help="Among your own jobs that wait.")] = "normal",
    webhook: Annotated[str | None, typer.Option(metavar="URL", help="Where to be told that the job has ended.")] = None,
    out: Annotated[Path | None, typer.Option(help="The MP4 to write; else ID.mp4.", dir_okay=False)] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job, watch it, and fetch its video, plan and film strip.

    Ctrl-C cancels the job.  What happens is told on stderr; stdout has the files' paths, or the job with --json.
    """
    console = _stderr_console()
    with report_errors(), Client(url, key) as client:
        with report_file_errors(), validation_errors_as_invalid_request():
            request = JobRequest.model_validate(
                {
                    "prompt": prompt,
                    "image": None if image is None else client.upload_image(image).id,
                    "plan": None if plan is None else Plan.model_validate_json(plan.read_bytes()),
                    "planner": planner,
                    "backbone": backbone,
                    "seed": seed,
                    "candidates": candidates,
                    "steps": steps,
                    "frames": frames,
                    "width": width,
                    "height": height,
                    "fps": fps,
                    "guidance_scale": guidance_scale,
                    "step_cache": step_cache,
                    "guidance": guidance,
                    "priority": priority,
                    "webhook": None if webhook is None else {"url": webhook},
                }
            )
        job = client.submit(request)
        _print_line(console, f"job {job.id}, seed {job.settings.seed}")
        job = _watch(client, job, console)
        for note in job.diagnostics.remarks:
            _print_line(console, note)
        if job.status is not JobStatus.SUCCEEDED:
            if as_json:
                typer.echo(job.model_dump_json(indent=2))
            exit_with(f"{job.status}: {job.error.message}" if job.error is not None else job.status.value)
        with report_file_errors():
            paths = _fetch(client, job, out or Path(f"{job.id}.mp4"))
    if as_json:
        typer.echo(job.model_dump_json(indent=2))
    else:
        for path in paths:
            typer.echo(path)


def status(job_id: Job, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """Look at a job."""
    with report_errors(), Client(url, key) as client:
        job = client.get(job_id)
    if as_json:
        typer.echo(job.model_dump_json(indent=2))
        return
    typer.echo(f"{describe(job)}  {job.progress:.0%}  {time_left(job)}".rstrip())
    if job.error is not None:
        typer.echo(f"{job.error.code}: {job.error.message}")
    for note in job.diagnostics.remarks:
        typer.echo(note)
    if job.urls is not None:
        typer.echo(job.urls.video)


def cancel(job_id: Job, url: Url = DEFAULT_URL, key: Key = None) -> None:
    """Cancel a job."""
    with report_errors(), Client(url, key) as client:
        typer.echo(client.cancel(job_id).status)


def deliveries(job_id: Job, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """Look at what came of a job's webhook."""
    with report_errors(), Client(url, key) as client:
        found = client.deliveries(job_id)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    for attempt in found.attempts:
        typer.echo(f"{attempt.at:%Y-%m-%d %H:%M:%S}  {attempt.seconds:.1f} s  {attempt.error or attempt.status}")
    follows = found.next_attempt_at
    typer.echo(found.state if follows is None else f"{found.state}: next attempt {follows:%Y-%m-%d %H:%M:%S} (UTC)")


def webhook_secret(url: Url = DEFAULT_URL, key: Key = None) -> None:
    """Print the secret that webhooks to you are signed with."""
    with report_errors(), Client(url, key) as client:
        typer.echo(client.webhook_secret())


def jobs(
    status: Annotated[JobStatus | None, typer.Option(help="Only jobs in this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    with report_errors(), Client(url, key) as client:
        page = client.jobs(status=status, limit=limit)
    if as_json:
        _echo_all(page.jobs)
        return
    rows = [
        (job.id, describe(job), f"{job.progress:.0%}", f"{job.created_at:%Y-%m-%d %H:%M:%S}", job.prompt)
        for job in page.jobs
    ]
    _table(("id", "state", "done", "created (UTC)", "prompt"), rows)


def backbones(url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """List the video models and the workers that hold them."""
    with report_errors(), Client(url, key) as client:
        found = client.backbones()
    if as_json:
        _echo_all(found)
        return
    rows = [
        (view.spec.name, str(view.workers), f"{view.spec.frames}", view.spec.license, view.spec.summary)
        for view in found
    ]
    _table(("name", "workers", "frames", "license", "summary"), rows)


def _watch(client: Client, job: JobView, console: Console) -> JobView:
    """The job as it ended.  Ctrl-C cancels it."""
    try:
        with ProgressDisplay(console) as show:
            return client.wait(job.id, on_progress=show)
    except KeyboardInterrupt:
        _print_line(console, f"canceling job {job.id}")
        client.cancel(job.id)
        raise typer.Exit(INTERRUPTED) from None


def _fetch(client: Client, job: JobView, video: Path) -> list[Path]:
    """Video, film strip and, if the job has one, plan, side by side."""
    preview = video.with_suffix(".preview.png")
    client.download(job.id, video)
    client.download_preview(job.id, preview)
    paths = [video, preview]
    if job.urls is not None and job.urls.plan is not None:
        plan = video.with_suffix(".plan.json")
        plan.write_text(client.plan(job.id).model_dump_json(indent=2) + "\n")
        paths.append(plan)
    return paths


def _stderr_console() -> Console:
    """Messages go to stderr, so that stdout can be piped."""
    return Console(stderr=True)


def _print_line(console: Console, message: str) -> None:
    console.print(message, markup=False, highlight=False, soft_wrap=True)


def _echo_all(models: Iterable[BaseModel]) -> None:
    """JSON lines."""
    for model in models:
        typer.echo(model.model_dump_json())


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A table on a terminal, otherwise tab-separated lines."""
    lines = [tuple(one_line(cell) for cell in row) for row in rows]
    console = Console()
    if not console.is_terminal:
        for line in (columns, *lines):
            typer.echo("\t".join(line))
        return
    table = Table(*columns)
    for line in lines:
        table.add_row(*map(escape, line))
    console.print(table)
