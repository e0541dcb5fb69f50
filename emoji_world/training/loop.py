"""The loop around every training stage: budget, resume, checkpoints, progress lines."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist

from emoji_world.training.trainee import StepFunction, Trainee, rank

SMOOTHING = 0.98


@dataclass(frozen=True)
class Budget:
    """How long a stage goes on.

    In steps, a resumed run is the uninterrupted one to the last bit.  In minutes, the time already spent counts.
    """

    amount: float
    unit: Literal["minutes", "steps"] = "minutes"

    def progress(self, steps: int, seconds: float) -> float:
        return (steps if self.unit == "steps" else seconds / 60) / self.amount


@dataclass(frozen=True)
class Cadence:
    """How often, in seconds."""

    checkpoint: float = 60
    report: float = 20


def run_stage(
    trainee: Trainee[Any],
    budget: Budget,
    step: StepFunction,
    checkpoint: Path,
    *,
    report: Callable[[str], None],
    preview: Callable[[], str],
    cadence: Cadence,
    stop_after: int | None = None,
) -> None:
    """Train until the budget is used, continuing from `checkpoint` where it exists.

    `preview` runs at every checkpoint on the first process and gives a line of figures.  `stop_after` ends the call
    after so many steps of this call, checkpoint written: what an interruption at a good moment leaves behind.
    """
    seconds, loss_average = 0.0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        trainee.load_state_dict(state["trainee"])
        seconds, loss_average = state["seconds"], state["loss"]
        report(f"continuing from step {trainee.steps}, {seconds / 60:.1f} min")
    reported = saved = seconds
    first_step = trainee.steps

    def save() -> None:
        if rank() == 0:
            write_atomically({"trainee": trainee.state_dict(), "seconds": seconds, "loss": loss_average}, checkpoint)
            report(f"step {trainee.steps}  {seconds / 60:.1f} min  loss {loss_average:.4f}  {preview()}")

    while True:
        progress = _share_first(budget.progress(trainee.steps, seconds))
        if progress >= 1 or (stop_after is not None and trainee.steps - first_step >= stop_after):
            save()
            return
        started = time.monotonic()
        loss = step(trainee.steps, progress)
        loss_average = loss if trainee.steps == 1 else SMOOTHING * loss_average + (1 - SMOOTHING) * loss
        seconds += time.monotonic() - started
        if rank() == 0 and seconds - reported > cadence.report:
            reported = seconds
            report(f"step {trainee.steps}  {seconds / 60:.1f} min  {progress:.1%}  loss {loss_average:.4f}")
        if seconds - saved > cadence.checkpoint:
            saved = seconds
            save()


def write_atomically(state: object, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(file)


def _share_first(progress: float) -> float:
    """The first process's figure, in every process."""
    if not dist.is_initialized():
        return progress
    shared = torch.tensor(progress)
    dist.broadcast(shared, 0)
    return float(shared)
