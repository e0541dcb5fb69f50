"""What guidance cost, from a clock that the test winds itself."""

import pytest
import torch

from generator_service.sampling import meter as module
from generator_service.sampling.meter import StepMeter
from generator_service.sampling.state import StepState


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> StepMeter:
    """Six steps of 3, 5, 3, 1, 2 and 1 seconds; between them the callback takes 10."""
    now = 0.0
    monkeypatch.setattr(module.time, "perf_counter", lambda: now)
    meter = StepMeter(torch.device("cpu"))

    def on_step(_: StepState) -> None:
        nonlocal now
        now += 10.0

    tell = meter.around(on_step)
    for step, seconds in enumerate((3.0, 5.0, 3.0, 1.0, 2.0, 1.0)):
        now += seconds
        tell(StepState(step + 1, 6, torch.zeros(1), None, torch.zeros(1)))
    return meter


def test_guided_steps_are_held_against_the_plain_ones(measured: StepMeter) -> None:
    cost = measured.cost(guided=3)
    assert cost is not None
    assert (cost.seconds, cost.step_ratio, cost.memory_bytes) == (6.0, 3.0, None)  # 3 · (3 - 1), 3 / 1


@pytest.mark.parametrize("guided", [0, 6])
def test_without_steps_of_either_kind_nothing_is_said(measured: StepMeter, guided: int) -> None:
    assert measured.cost(guided) is None
