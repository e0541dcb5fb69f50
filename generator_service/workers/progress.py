"""How far a job is, as one number over all its stages, and when it will be done."""

from datetime import datetime
from typing import Final

from generator_service.contract.job import Stage

SPANS: Final[dict[Stage, tuple[float, float]]] = {
    Stage.PLANNING: (0.0, 0.05),
    Stage.SAMPLING: (0.05, 0.9),
    Stage.DECODING: (0.9, 0.95),
    Stage.STORING: (0.95, 1.0),
}
"""Where each stage begins and ends: rough shares of the time that a job takes."""

EARLIEST_ESTIMATE: Final = 0.05
"""Share of a job before which the pace says nothing about the rest."""


def progress_at(stage: Stage, share: float = 0.0) -> float:
    """`share` of the stage is done, 0 to 1 -> share of the whole job."""
    begin, end = SPANS[stage]
    return begin + share * (end - begin)


class Pace:
    """Of one worker at one job, from where it began to sample: the steps before a checkpoint were another's."""

    def __init__(self) -> None:
        self._began: tuple[float, datetime] | None = None

    def begin(self, progress: float, now: datetime) -> None:
        self._began = progress, now

    def expected_end(self, progress: float, now: datetime) -> datetime | None:
        """Of the whole job; None where that cannot be told yet."""
        if self._began is None:
            return None
        first, since = self._began
        done = progress - first
        return now + (1.0 - progress) / done * (now - since) if done >= EARLIEST_ESTIMATE else None
