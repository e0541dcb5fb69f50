"""What guidance did in one video, for its report.  No torch: the API reads this too."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated

from pydantic import Field

from generator_service.guidance.parameters import Branch
from shared.motion_graph import Identifier
from shared.wire import WireModel


@dataclass(frozen=True)
class PhaseFacts:
    """What guided one phase of one instance at one step."""

    instance: str
    branch: Branch
    tokens: int
    """Guided queries."""
    reference_frame: int | None = None
    """RCG's f*, a token frame."""
    whole_box: bool = False
    """GIG's template was given up for the whole box."""


class PhaseReport(WireModel):
    """One phase of one instance, over the steps in which it was guided."""

    instance: Identifier
    branch: Branch
    steps: int
    tokens: Annotated[float, Field(description="Video tokens guided, mean over the steps.")]
    reference_frame: Annotated[int | None, Field(description="RCG's f* at the last step, a token frame.")]
    whole_box_steps: Annotated[int, Field(description="Steps in which GIG found no template and guided the whole box.")]


class RegionReport(WireModel):
    """What one region's tokens read."""

    instance: Annotated[Identifier | None, Field(description="Null is what lies outside all boxes.")]
    text: str


class GuidanceReport(WireModel):
    steps: Annotated[int, Field(description="Denoising steps that were guided, the first ones.")]
    video_tokens: Annotated[int, Field(description="N: what the network's attention sees of the video.")]
    regions: tuple[RegionReport, ...]
    phases: tuple[PhaseReport, ...]


class GuidanceCost(WireModel):
    seconds: Annotated[float, Field(description="What the guided steps took beyond as many plain ones.")]
    step_ratio: Annotated[float, Field(description="Median guided step over median plain step.")]
    memory_bytes: Annotated[int | None, Field(description="Peak GPU memory beyond plain steps; null on a CPU.")]


def phase_reports(steps: Sequence[Sequence[PhaseFacts]]) -> tuple[PhaseReport, ...]:
    """steps: for each guided step the facts of every phase, in the same order."""
    return tuple(
        PhaseReport(
            instance=phase[0].instance,
            branch=phase[0].branch,
            steps=len(phase),
            tokens=round(fmean(facts.tokens for facts in phase), 1),
            reference_frame=phase[-1].reference_frame,
            whole_box_steps=sum(facts.whole_box for facts in phase),
        )
        for phase in zip(*steps, strict=True)
    )
