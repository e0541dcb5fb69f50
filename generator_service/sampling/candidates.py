"""Several videos of one plan, of which the best is the result; one, unless more are asked for.

Each has a seed of its own.  When a part of its steps is done, the network already predicts the clean video: that is
judged as a finished one is, and the better half goes on.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple, TypeVar

from torch import Tensor

from generator_service.backbones.base import Backbone, Frames, Scene
from generator_service.contract.report import Adherence, CandidateReport
from generator_service.contract.request import RenderSettings
from generator_service.guidance.protocols import Guidance
from generator_service.sampling.loop import denoise
from generator_service.sampling.meter import StepMeter
from generator_service.sampling.state import OnStep, Progress, StepState, first_state

C = TypeVar("C")


class Chosen(NamedTuple):
    frames: Frames
    seed: int
    state: StepState
    """After the last step."""
    adherence: tuple[Adherence, ...] | None
    """None where there was no choice."""
    reports: tuple[CandidateReport, ...]
    """Likewise, none."""


def sample_candidates(
    backbone: Backbone[C],
    conditioning: C,
    scene: Scene,
    settings: RenderSettings,
    start: Progress,
    meter: StepMeter,
    on_step: OnStep,
) -> Progress:
    """All of them to where they are judged, and the finalists to the end.  `start`: none at all, or any resumable one
    that `on_step` was given."""
    states, scores = list(start.candidates), list(start.scores)
    guidance: dict[int, Guidance] = {}

    def go_on(candidate: int, until: int) -> None:
        def settle(state: StepState) -> None:
            states[candidate] = state
            if settings.candidates > 1 and state.step == settings.judged_at:
                assert state.clean is not None  # noqa: S101  (the loop has just made it)
                scores.append(score_of(_judge(backbone, scene, settings, state.clean)[1]))
            on_step(Progress(tuple(states), tuple(scores)))

        if candidate == len(states):
            states.append(first_state(backbone, settings, candidate))
        if candidate not in guidance:
            guidance[candidate] = backbone.guidance(scene, settings)
        on_candidate = meter.around(settle)
        denoise(
            backbone, conditioning, states[candidate], guidance[candidate], on_candidate, until, settings.step_cache
        )

    if settings.candidates > 1:
        for candidate in range(len(scores), settings.candidates):
            go_on(candidate, settings.judged_at)
    for candidate in finalists(scores, settings):
        go_on(candidate, settings.steps)
    return Progress(tuple(states), tuple(scores))


def choose(backbone: Backbone[C], scene: Scene, settings: RenderSettings, sampled: Progress) -> Chosen:
    """The best of the finalists."""
    if settings.candidates == 1:
        (state,) = sampled.candidates
        return Chosen(backbone.decode(state.latents, settings), settings.seed, state, None, ())
    videos = {
        candidate: _judge(backbone, scene, settings, sampled.candidates[candidate].latents)
        for candidate in finalists(sampled.scores, settings)
    }
    final = {candidate: score_of(adherence) for candidate, (_, adherence) in videos.items()}
    best = max(final, key=lambda candidate: final[candidate])
    reports = tuple(
        CandidateReport(
            seed=settings.seed_of(candidate),
            early_score=round(score, 3),
            score=round(final[candidate], 3) if candidate in final else None,
            chosen=candidate == best,
        )
        for candidate, score in enumerate(sampled.scores)
    )
    frames, adherence = videos[best]
    return Chosen(frames, settings.seed_of(best), sampled.candidates[best], adherence, reports)


def finalists(scores: Sequence[float], settings: RenderSettings) -> list[int]:
    """The better half, in order; of equal ones those that were begun first."""
    if settings.candidates == 1:
        return [0]
    ranked = sorted(range(len(scores)), key=lambda candidate: -scores[candidate])
    return sorted(ranked[: settings.finalists])


def score_of(adherence: Sequence[Adherence]) -> float:
    """The share of the things that are seen, plus their mean IoU with where they are planned; 0 to 2."""
    return fmean(its.detected + its.mean_iou for its in adherence)


def _judge(
    backbone: Backbone[C], scene: Scene, settings: RenderSettings, latents: Tensor
) -> tuple[Frames, tuple[Adherence, ...]]:
    """Raises ValueError where nothing can be told of the video."""
    frames = backbone.decode(latents, settings)
    adherence = backbone.adherence(frames, scene)
    if adherence is None:
        raise ValueError(f"Got {settings.candidates} candidates but expected 1, where they cannot be judged")
    return frames, adherence
