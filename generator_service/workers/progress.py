"""How far a job is, as one number over all its stages."""

from typing import Final

from generator_service.jobs.states import Stage

SPANS: Final[dict[Stage, tuple[float, float]]] = {
    Stage.PLANNING: (0.0, 0.05),
    Stage.SAMPLING: (0.05, 0.9),
    Stage.DECODING: (0.9, 0.95),
    Stage.STORING: (0.95, 1.0),
}
"""Where each stage begins and ends: rough shares of the time that a job takes."""


def progress_at(stage: Stage, share: float = 0.0) -> float:
    """`share` of the stage is done, 0 to 1 -> share of the whole job."""
    begin, end = SPANS[stage]
    return begin + share * (end - begin)
