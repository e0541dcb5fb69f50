"""What guidance did in one video, for its report."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import Tensor

from generator_service.contract.guidance import Branch
from generator_service.contract.report import PhaseReport


@dataclass(frozen=True)
class PhaseFacts:
    """What guided one phase of one instance at one step."""

    instance: str
    branch: Branch
    tokens: int | Tensor
    """Guided queries; on its device until somebody asks, so that no step waits for it."""
    reference_frame: int | None = None
    """RCG's f*, a token frame."""
    whole_box: bool = False
    """GIG's template was given up for the whole box."""


def phase_reports(steps: Sequence[Sequence[PhaseFacts]]) -> tuple[PhaseReport, ...]:
    """steps: for each guided step the facts of every phase, in the same order."""
    return tuple(
        PhaseReport(
            instance=phase[0].instance,
            branch=phase[0].branch,
            steps=len(phase),
            tokens=round(fmean(float(facts.tokens) for facts in phase), 1),
            reference_frame=phase[-1].reference_frame,
            whole_box_steps=sum(facts.whole_box for facts in phase),
        )
        for phase in zip(*steps, strict=True)
    )


def continue_phases(before: Sequence[PhaseReport], after: Sequence[PhaseReport]) -> tuple[PhaseReport, ...]:
    """Of a video that was resumed: the reports of the steps before that and after, one of which may be empty."""
    if not before or not after:
        return tuple(before or after)
    return tuple(
        PhaseReport(
            instance=new.instance,
            branch=new.branch,
            steps=old.steps + new.steps,
            tokens=round((old.steps * old.tokens + new.steps * new.tokens) / (old.steps + new.steps), 1),
            reference_frame=new.reference_frame,
            whole_box_steps=old.whole_box_steps + new.whole_box_steps,
        )
        for old, new in zip(before, after, strict=True)
    )
