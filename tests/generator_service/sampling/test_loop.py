"""What the loop promises whatever the network: one callback between steps, resuming, guidance in its two places."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor

from generator_service.backbones.base import Scene
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.wan import Wan
from generator_service.contract.report import GuidanceReport
from generator_service.contract.request import RenderSettings
from generator_service.guidance.protocols import UNGUIDED, Guidance, Predict
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import Cancelled, OnStep, StepState, first_state, ignore
from shared.errors import RenderingFailed

BuildBackbone = Callable[..., CogVideoX]


def run(
    backbone: CogVideoX | Wan,
    settings: RenderSettings,
    *,
    start: StepState | None = None,
    guidance: Guidance = UNGUIDED,
    on_step: OnStep = ignore,
) -> Tensor:
    conditioning = backbone.prepare(Scene(caption="a red car"), settings)
    return denoise(backbone, conditioning, start or first_state(backbone, settings), guidance, on_step)


def test_the_callback_is_called_once_after_each_step(tiny_backbone: BuildBackbone, settings: RenderSettings) -> None:
    states: list[StepState] = []
    latents = run(tiny_backbone(), settings, on_step=states.append)
    assert [(state.step, state.steps) for state in states] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert torch.equal(states[-1].latents, latents)
    assert not latents.requires_grad  # no step is kept in memory for the sake of gradients


@pytest.mark.parametrize("solver", ["ddim", "dpm", "unipc"])
@pytest.mark.parametrize("done", [1, 2, 3])
def test_resuming_from_any_step_gives_the_same_latents(
    tiny_backbone: BuildBackbone,
    tiny_wan_backbone: Callable[..., Wan],
    settings: RenderSettings,
    solver: str,
    done: int,
) -> None:
    """DPM draws noise at every step and looks one step back, UniPC two: all of it is in the state."""
    backbone = tiny_wan_backbone("one") if solver == "unipc" else tiny_backbone(scheduler=solver)
    states: list[StepState] = []
    uninterrupted = run(backbone, settings, on_step=states.append)
    torch.rand(3)  # whatever the process does in between
    later: list[StepState] = []
    resumed = run(backbone, settings, start=states[done - 1], on_step=later.append)
    assert torch.equal(resumed, uninterrupted)
    assert [state.step for state in later] == list(range(done + 1, 5))


def test_a_cancelled_video_stops_at_once_and_leaves_nothing_behind(
    tiny_backbone: BuildBackbone, settings: RenderSettings
) -> None:
    backbone = tiny_backbone(scheduler="dpm")
    untouched = run(backbone, settings)
    seen: list[int] = []

    def cancel_after_two(state: StepState) -> None:
        seen.append(state.step)
        if state.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        run(backbone, settings.model_copy(update={"steps": 9}), on_step=cancel_after_two)
    assert seen == [1, 2]
    assert torch.equal(run(backbone, settings), untouched)


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(
    tiny_backbone: BuildBackbone, settings: RenderSettings
) -> None:
    backbone = tiny_backbone()

    def frames(seed: int) -> np.ndarray:
        reseeded = settings.model_copy(update={"seed": seed})
        return backbone.decode(run(backbone, reseeded), reseeded)

    first = frames(seed=1)
    torch.manual_seed(99)  # the global generator has no say
    assert np.array_equal(frames(seed=1), first)
    assert not np.array_equal(frames(seed=2), first)


def test_the_prompt_reaches_the_network(tiny_backbone: BuildBackbone, settings: RenderSettings) -> None:
    backbone = tiny_backbone()
    start = first_state(backbone, settings)
    car, tree = (
        denoise(backbone, backbone.prepare(Scene(caption=prompt), settings), start, UNGUIDED, ignore)
        for prompt in ("car", "tree")
    )
    assert not torch.equal(car, tree)


@pytest.mark.parametrize("steps", [1, 50, 61, 103])
def test_as_many_timesteps_as_steps_and_none_past_the_clean_video(tiny_backbone: BuildBackbone, steps: int) -> None:
    """The stock scheduler makes 62 timesteps of 61, and the last one is -1."""
    timesteps = tiny_backbone().solver(steps).timesteps
    assert len(timesteps) == steps
    assert timesteps.min() >= 0
    assert timesteps[0] == 999


class Recording:
    """Moves the latents at step 1 and notes the order of calls."""

    guided_until = 4
    needs_last_step = False

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def resume(self, report: GuidanceReport | None) -> None:
        raise NotImplementedError

    def report(self) -> None:
        return None

    def before_prediction(self, step: int, latents: Tensor, predict: Predict) -> Tensor:
        self.calls.append(("before", step))
        return latents + 1 if step == 1 else latents

    @contextmanager
    def around_prediction(self, step: int) -> Iterator[None]:
        self.calls.append(("enter", step))
        yield
        self.calls.append(("leave", step))


def test_guidance_is_called_in_its_two_places(tiny_backbone: BuildBackbone, settings: RenderSettings) -> None:
    backbone = tiny_backbone()
    guidance = Recording()
    guided = run(backbone, settings, guidance=guidance)
    assert guidance.calls == [(name, step) for step in range(4) for name in ("before", "enter", "leave")]
    assert not torch.equal(guided, run(backbone, settings))


def test_guidance_may_take_gradients_through_the_network(
    tiny_backbone: BuildBackbone, settings: RenderSettings
) -> None:
    backbone = tiny_backbone()

    class Gradient(Recording):
        def before_prediction(self, step: int, latents: Tensor, predict: Predict) -> Tensor:
            with torch.enable_grad():
                variable = latents.detach().requires_grad_()
                prediction = predict(variable, nullcontext())
                assert isinstance(prediction, Tensor)
                loss = prediction.square().mean()
                (gradient,) = torch.autograd.grad(loss, variable)
            assert gradient.abs().sum() > 0
            return latents - gradient

    assert not torch.equal(run(backbone, settings, guidance=Gradient()), run(backbone, settings))


def test_numbers_that_overflow_end_the_video_at_their_step(
    tiny_backbone: BuildBackbone, settings: RenderSettings
) -> None:
    class Overflow(Recording):
        def before_prediction(self, step: int, latents: Tensor, predict: Predict) -> Tensor:
            return latents * float("inf") if step == 2 else latents

    done: list[int] = []
    overflow = pytest.raises(RenderingFailed, match=r"overflowed at step 3 of 4: lower `guidance_scale`.*bfloat16")
    backbone = tiny_backbone()
    with overflow:
        denoise(
            backbone,
            backbone.prepare(Scene(caption="a car"), settings),
            first_state(backbone, settings),
            Overflow(),
            lambda state: done.append(state.step),
        )
    assert done == [1, 2]
