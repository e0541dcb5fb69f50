"""What do several candidates buy?  The share of clips that are right against the denoising steps that they cost.

Candidates of one caption are its seeds in order; all are drawn to the end, so that each number of them, pruned or not,
is worked out from the same clips.  The judge is the detector that says what is right, so this is what can be had of a
judge that is as good as the measure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from emoji_world.processes import over_processes
from evaluation.ablation import backbone_of, detector, plan_with_parser
from evaluation.measures import Measures, measure
from evaluation.prompts import Half, held_out_captions
from evaluation.statistics import estimate
from generator_service.backbones.emoji_scene import emoji_scene
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.request import JobRequest, RenderSettings
from generator_service.rendering import sample
from generator_service.sampling.candidates import finalists, score_of
from generator_service.sampling.state import Progress
from shared.plan import Plan

NUMBERS = (1, 2, 4)
SHOWN = ("right", "detection_rate", "mean_iou")


@dataclass(frozen=True)
class Clip:
    early: float
    """Its score when it was judged."""
    measures: Measures

    @property
    def final(self) -> float:
        """As `score_of` has it."""
        return self.measures["detection_rate"] + self.measures["mean_iou"]


def look(backbone: str, half: Half, prompts: int, parameters: GuidanceParameters, processes: int) -> str:
    """A table."""
    captions = held_out_captions(half, prompts)
    clips = [clips for _, clips in over_processes(partial(_clips, backbone, parameters), captions, processes)]
    settings = _settings(backbone, plan_with_parser(captions[0]), 0, parameters)
    return markdown(clips, settings)


def _settings(backbone: str, plan: Plan, seed: int, parameters: GuidanceParameters) -> RenderSettings:
    return JobRequest(plan=plan, seed=seed, backbone=backbone, guidance=parameters).settings()


def _clips(backbone_name: str, parameters: GuidanceParameters, caption: str) -> list[Clip]:
    """One for each seed."""
    backbone = backbone_of(backbone_name)
    plan = plan_with_parser(caption)
    scene = emoji_scene(plan)
    clips = []
    for seed in range(max(NUMBERS)):
        settings = _settings(backbone_name, plan, seed, parameters)
        early: list[float] = []

        def judge(progress: Progress, settings: RenderSettings = settings, early: list[float] = early) -> None:
            (state,) = progress.candidates
            if state.step == settings.judged_at and state.clean is not None:
                early.append(score_of(backbone.adherence(backbone.decode(state.clean, settings), scene) or ()))

        frames = sample(backbone, caption, plan, settings, on_step=judge, on_stage=lambda stage: None).frames
        clips.append(Clip(early[0], measure(frames, scene, detector())))
    return clips


def markdown(clips: Sequence[Sequence[Clip]], settings: RenderSettings) -> str:
    """clips: by caption and seed."""
    lines = ["| candidates | | steps | right | detected | IoU |", "| --- |" + " --- |" * 5]
    for number in NUMBERS:
        for pruned in (False, True) if number > 1 else (False,):
            asked = settings.model_copy(update={"candidates": number})
            steps = asked.steps_in_all if pruned else number * settings.steps
            chosen = [[_choose(some, asked, pruned) for some in _groups(each, number)] for each in clips]
            cells = []
            for name in SHOWN:
                its = estimate(np.array([[clip.measures[name] for clip in each] for each in chosen]))
                cells.append("–" if its is None else f"{its.mean:.3f} ± {(its.high - its.low) / 2:.3f}")
            how = "" if number == 1 else "pruned" if pruned else "all to the end"
            lines.append(f"| {number} | {how} | × {steps / settings.steps:.2f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _groups(clips: Sequence[Clip], number: int) -> list[Sequence[Clip]]:
    return [clips[start : start + number] for start in range(0, len(clips), number)]


def _choose(clips: Sequence[Clip], settings: RenderSettings, pruned: bool) -> Clip:
    if pruned:
        clips = [clips[index] for index in finalists([clip.early for clip in clips], settings)]
    return max(clips, key=lambda clip: clip.final)
