"""Several videos of one plan: who goes on, who is chosen, and that it is the same however often it is interrupted."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from generator_service.backbones.base import Frames, Scene
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.contract.guidance import GuidanceParameters
from generator_service.contract.report import Adherence
from generator_service.contract.request import RenderSettings
from generator_service.rendering import Sampled, sample
from generator_service.sampling.candidates import finalists, score_of
from generator_service.sampling.state import Cancelled, OnStep, Progress, first_state, ignore
from generator_service.workers.checkpoint import pack, unpack
from shared.plan import Plan


def seen(detected: bool, overlap: float) -> Adherence:
    return Adherence(instance="car", drawn_as="car", detected=detected, mean_iou=overlap, centre_error=0.0, boxes=())


@pytest.fixture
def backbone(tiny_backbone: Callable[..., CogVideoX], monkeypatch: pytest.MonkeyPatch) -> CogVideoX:
    """Whose judge likes it bright; its solver draws noise at every step."""
    backbone = tiny_backbone(scheduler="dpm")

    def judge(frames: Frames, scene: Scene) -> tuple[Adherence, ...]:
        return (seen(True, float(frames.mean() / 255)),)

    monkeypatch.setattr(backbone, "adherence", judge)
    return backbone


@pytest.fixture
def three(settings: RenderSettings) -> RenderSettings:
    """Three candidates of four steps, judged after two: ten steps in all.  The first two steps are guided."""
    guidance = GuidanceParameters(until=0.9, strength=1.0)
    return settings.model_copy(update={"candidates": 3, "guidance": guidance})


def draw(
    backbone: CogVideoX,
    plan: Plan,
    settings: RenderSettings,
    on_step: OnStep = ignore,
    start: Progress | None = None,
) -> Sampled:
    return sample(backbone, plan.prompt, plan, settings, start=start, on_step=on_step, on_stage=lambda stage: None)


def test_the_better_half_goes_on_and_the_best_is_the_result(
    backbone: CogVideoX, plan: Plan, three: RenderSettings
) -> None:
    progress: list[Progress] = []
    result = draw(backbone, plan, three, progress.append)
    assert [its.step for its in progress] == list(range(1, three.steps_in_all + 1)) == list(range(1, 11))
    assert [its.seed for its in result.candidates] == [7, 8, 9]
    worst = min(result.candidates, key=lambda its: its.early_score)
    assert [its.score is None for its in result.candidates] == [its is worst for its in result.candidates]
    (best,) = (its for its in result.candidates if its.chosen)
    assert best.score == max(its.score for its in result.candidates if its.score is not None)
    assert result.adherence is not None
    assert best.score == pytest.approx(score_of(result.adherence), abs=1e-3)

    alone = three.model_copy(update={"seed": best.seed, "candidates": 1})
    again = draw(backbone, plan, alone)
    assert np.array_equal(again.frames, result.frames)
    assert again.guidance == result.guidance
    assert (again.seed, again.candidates) == (result.seed, ()) == (best.seed, ())


def test_interrupted_anywhere_and_resumed_from_a_file_it_is_the_undisturbed_one(
    backbone: CogVideoX, plan: Plan, three: RenderSettings
) -> None:
    progress: list[Progress] = []
    undisturbed = draw(backbone, plan, three, progress.append)
    resumable = [its for its in progress if its.is_resumable]
    assert [its.step for its in resumable] == [2, 4, 6, 7, 8, 9, 10]  # in its guided steps a candidate is not
    assert [len(its.scores) for its in resumable] == [1, 2, 3, 3, 3, 3, 3]
    for saved in resumable:
        torch.rand(3)  # whatever the process does in between
        start = unpack(pack(saved, {}), {}, first_state(backbone, three), three.candidates)
        later: list[int] = []
        resumed = draw(backbone, plan, three, lambda its, later=later: later.append(its.step), start)  # type: ignore[misc]
        assert later == list(range(saved.step + 1, 11))
        assert np.array_equal(resumed.frames, undisturbed.frames)
        assert (resumed.seed, resumed.candidates) == (undisturbed.seed, undisturbed.candidates)
        assert resumed.guidance == undisturbed.guidance


def test_guidance_that_outlasts_the_judgement_goes_on_where_it_was(
    backbone: CogVideoX, plan: Plan, three: RenderSettings
) -> None:
    """What the network saw at the last step before is not lost, and such a candidate is not resumed."""
    long = three.model_copy(update={"guidance": GuidanceParameters(until=0.0, strength=1.0)})
    progress: list[Progress] = []
    result = draw(backbone, plan, long, progress.append)
    assert not any(its.is_resumable for its in progress[:9])
    again = draw(backbone, plan, long.model_copy(update={"seed": result.seed, "candidates": 1}))
    assert np.array_equal(again.frames, result.frames)
    assert again.guidance == result.guidance


def test_a_choice_can_be_cancelled_at_any_step(backbone: CogVideoX, plan: Plan, three: RenderSettings) -> None:
    def cancel(progress: Progress) -> None:
        if progress.step == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        draw(backbone, plan, three, cancel)


def test_what_cannot_be_judged_is_not_chosen_among(
    tiny_backbone: Callable[..., CogVideoX], plan: Plan, three: RenderSettings
) -> None:
    with pytest.raises(ValueError, match="Got 3 candidates but expected 1"):
        draw(tiny_backbone(), plan, three)


@pytest.mark.parametrize(
    ("scores", "better"),
    [([1.0], [0]), ([0.5, 0.5], [0]), ([0.1, 1.5, 0.3], [1, 2]), ([0.2, 0.4, 0.4, 0.4], [1, 2])],
)
def test_the_better_half_by_hand(scores: list[float], better: list[int], settings: RenderSettings) -> None:
    assert finalists(scores, settings.model_copy(update={"candidates": len(scores)})) == better


def test_a_score_by_hand() -> None:
    """One of two things is seen; they overlap their boxes by .5 and .1."""
    assert score_of([seen(True, 0.5), seen(False, 0.1)]) == pytest.approx(0.5 + 0.3)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm", "unipc"])
def test_what_is_judged_is_what_the_video_is_going_to_be(
    scheduler: str,
    tiny_backbone: Callable[..., CogVideoX],
    tiny_wan_backbone: Callable[..., CogVideoX],
    settings: RenderSettings,
) -> None:
    """After the last step it is the video."""
    backbone = tiny_wan_backbone("one") if scheduler == "unipc" else tiny_backbone(scheduler=scheduler)
    progress: list[Progress] = []
    sample(backbone, "a car", None, settings, on_step=progress.append, on_stage=lambda stage: None)
    (state,) = progress[-1].candidates
    assert state.clean is not None
    torch.testing.assert_close(state.clean, state.latents, rtol=1e-4, atol=1e-4)
