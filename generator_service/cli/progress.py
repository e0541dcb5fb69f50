"""A job's progress on a terminal or in a log."""

from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from generator_service.contract.job import JobStatus, JobView, Stage

LINE_SHARE: Final = 0.1
"""In a log: a line for each tenth of the job, and for each change of stage."""


def describe(job: JobView) -> str:
    """Such as "sampling, step 3 of 25"."""
    match job.status:
        case JobStatus.QUEUED if job.waiting_for is not None and job.retry_at is not None:
            return f"waiting until it can be tried again: {job.waiting_for.message}"
        case JobStatus.QUEUED:
            purpose = "a plan" if job.stage is Stage.PLANNING else "rendering"
            before = f", {job.queue_position} before it" if job.queue_position else ""
            return f"waiting for {purpose}{before}"
        case JobStatus.RUNNING if job.stage is Stage.SAMPLING:
            return f"sampling, step {job.step} of {job.steps}"
        case JobStatus.RUNNING if job.stage is not None:
            return job.stage.value
        case status:
            return status.value


def time_left(job: JobView) -> str:
    """ "about 12 s left", or "" where it is unknown."""
    if job.seconds_left is None:
        return ""
    minutes, seconds = divmod(round(job.seconds_left), 60)
    return f"about {minutes} min {seconds:02} s left" if minutes else f"about {seconds} s left"


class ProgressDisplay:
    """Call it with every state of one job: a live bar on a terminal, else plain lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = (
            Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"), console=console)
            if console.is_terminal
            else None
        )
        self._task: TaskID | None = None
        self._last_line: tuple[JobStatus, Stage | None, int] | None = None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("submitted", total=1.0, left="")
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, job: JobView) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=describe(job), completed=job.progress, left=time_left(job))
            return
        line = (job.status, job.stage, int(job.progress / LINE_SHARE))
        if line != self._last_line:
            self._last_line = line
            parts = (describe(job), f"{job.progress:.0%}", time_left(job))
            self._console.print(" · ".join(part for part in parts if part), markup=False, highlight=False)
