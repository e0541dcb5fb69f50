"""What guidance costs: the guided steps beside the plain ones of the same video."""

import time
from collections.abc import Callable
from statistics import median

import torch

from generator_service.contract.report import GuidanceCost
from generator_service.sampling.state import StepState


class StepMeter:
    """Measures the steps of one video, without what its `OnStep` takes between them."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device if device.type == "cuda" else None
        self._seconds: dict[int, float] = {}
        self._peaks: dict[int, int] = {}
        self._begin()

    def around(self, on_step: Callable[[StepState], None]) -> Callable[[StepState], None]:
        def measure_step(state: StepState) -> None:
            self._end(state.step - 1)
            on_step(state)
            self._begin()

        return measure_step

    def _begin(self) -> None:
        if self._gpu is not None:
            torch.cuda.reset_peak_memory_stats(self._gpu)
        self._began = time.perf_counter()

    def _end(self, step: int) -> None:
        if self._gpu is not None:
            torch.cuda.synchronize(self._gpu)
            self._peaks[step] = torch.cuda.max_memory_allocated(self._gpu)
        self._seconds[step] = time.perf_counter() - self._began

    def cost(self, guided: int) -> GuidanceCost | None:
        """Of the first `guided` steps; None where there is no guided or no plain step to compare."""
        if all(step < guided for step in self._seconds) or all(step >= guided for step in self._seconds):
            return None
        ours = median(seconds for step, seconds in self._seconds.items() if step < guided)
        plain = median(seconds for step, seconds in self._seconds.items() if step >= guided)
        memory = None
        if self._gpu is not None:
            memory = max(peak for step, peak in self._peaks.items() if step < guided) - max(
                peak for step, peak in self._peaks.items() if step >= guided
            )
        count = sum(step < guided for step in self._seconds)
        return GuidanceCost(
            seconds=round(count * (ours - plain), 3), step_ratio=round(ours / plain, 3), memory_bytes=memory
        )
