"""What a job's report says: what guidance did and cost, and what of the plan is seen in the video."""

from typing import Annotated

from pydantic import Field

from generator_service.contract.guidance import Branch
from shared.geometry import Box
from shared.motion_graph import Identifier
from shared.wire import WireModel


class PhaseReport(WireModel):
    """One phase of one instance, over the steps in which it was guided."""

    instance: Identifier
    branch: Branch
    steps: int
    tokens: Annotated[float, Field(description="Video tokens guided, mean over the steps.")]
    reference_frame: Annotated[int | None, Field(description="RCG's f* at the last step, a token frame.")]
    whole_box_steps: Annotated[int, Field(description="Steps in which GIG found no template and guided the whole box.")]


class RegionReport(WireModel):
    """The description that one region's tokens attend to."""

    instance: Annotated[Identifier | None, Field(description="Null is what lies outside all boxes.")]
    text: str


class GuidanceReport(WireModel):
    steps: Annotated[int, Field(description="Denoising steps until the last that was guided.")]
    video_tokens: Annotated[int, Field(description="N: what the network's attention sees of the video.")]
    regions: tuple[RegionReport, ...]
    phases: tuple[PhaseReport, ...]


class GuidanceCost(WireModel):
    seconds: Annotated[float, Field(description="What the guided steps took beyond as many plain ones.")]
    step_ratio: Annotated[float, Field(description="Median guided step over median plain step.")]
    memory_bytes: Annotated[int | None, Field(description="Peak GPU memory beyond plain steps; null on a CPU.")]


class Adherence(WireModel):
    """One instance, measured against its boxes in the scene."""

    instance: Identifier
    drawn_as: str
    detected: Annotated[bool, Field(description="Whether it is seen at all.")]
    mean_iou: Annotated[float, Field(description="Of found and planned box, mean over the frames.")]
    centre_error: Annotated[float, Field(description="Mean distance of the centres, shares of the frame's edges.")]
    boxes: Annotated[tuple[Box, ...], Field(description="Where it was found, the best guess where it is not seen.")]

    def __str__(self) -> str:
        if not self.detected:
            return f"{self.instance}: not seen"
        return f"{self.instance}: seen, IoU {self.mean_iou:.2f} with its planned box"


class CandidateReport(WireModel):
    """A score is the share of the things that are seen, plus their mean IoU where they are planned; 0 to 2."""

    seed: Annotated[int, Field(description="With it and one candidate, this video is made again.")]
    early_score: Annotated[float, Field(description="Of what the video was going to be, when it was judged.")]
    score: Annotated[float | None, Field(description="Of the video; null where it was not gone on with.")]
    chosen: bool

    def __str__(self) -> str:
        score = f"{self.early_score:.2f}" + ("" if self.score is None else f", then {self.score:.2f}")
        return f"seed {self.seed}: score {score}{', chosen' if self.chosen else ''}"


class Diagnostics(WireModel):
    """How the video was made, for people; stored beside it as report.json."""

    caption: str | None = None
    """The text the backbone was given, where it is not the prompt itself."""
    notes: tuple[str, ...] = ()
    """Such as "'puppy' is drawn as 'sheep'"."""
    seconds: dict[str, float] = Field(
        default_factory=dict, description="By stage; `measuring` finds what of the plan is seen."
    )
    guidance: Annotated[GuidanceReport | None, Field(description="What guidance did; null for a plain video.")] = None
    cost: Annotated[GuidanceCost | None, Field(description="What guidance cost; null where nothing compares.")] = None
    adherence: Annotated[
        tuple[Adherence, ...] | None,
        Field(description="What of the plan is seen; null for backbones whose things cannot be found."),
    ] = None

    candidates: Annotated[
        tuple[CandidateReport, ...], Field(description="The videos that were begun; none where only one was wanted.")
    ] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """For people: the notes, what of the plan is seen, and among which videos this one was chosen."""
        return self.notes + tuple(str(its) for its in (*(self.adherence or ()), *self.candidates))
