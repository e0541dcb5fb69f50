"""The denoising loop: x_T ~ N(0, I), then for t = T … 1: predict, step."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Final, TypeVar

import torch
from torch import Tensor

from generator_service.backbones.base import Backbone
from generator_service.guidance.protocols import Guidance
from generator_service.sampling.state import StepState, restore_generator
from shared.errors import RenderingFailed

C = TypeVar("C")

CACHE_RENEWED: Final = 10
"""After so many steps a step cache begins anew: there a video can be resumed, and comes out the same."""


@torch.no_grad()
def denoise(
    backbone: Backbone[C],
    conditioning: C,
    start: StepState,
    guidance: Guidance,
    on_step: Callable[[StepState], None],
    until: int | None = None,
    step_cache: float = 0.0,
) -> Tensor:
    """The clean latents, or those after `until` steps.

    step_cache: in the steps after the guided ones, the backbone's `reuse_steps`; 0 for none.

    `start` is `first_state`, or any state that `on_step` was given, resumable unless the guidance is the same: the
    result is the same.

    Without guidance this equals the stock diffusers pipeline bit for bit.  Raises RenderingFailed at the
    step after which the latents are not finite.
    """
    solver = backbone.solver(start.steps)
    generator = restore_generator(start)
    latents, memory = start.latents, start.memory
    if start.step > 0:
        guidance.resume(start.report)
    end = start.steps if until is None else until
    with ExitStack() as cache:
        for index in range(start.step, end):
            is_cached = step_cache > 0 and index >= guidance.guided_until
            if is_cached and (index == start.step or _is_cache_renewed(index, guidance)):
                cache.close()
                cache.enter_context(backbone.reuse_steps(step_cache))
            timestep = solver.timesteps[index]

            def predict(moved: Tensor, around: AbstractContextManager[None], timestep: Tensor = timestep) -> Tensor:
                return backbone.predict(moved, timestep, conditioning, around)

            latents = guidance.before_prediction(index, latents, predict)
            prediction = predict(latents, guidance.around_prediction(index))
            latents, memory, clean = solver.step(index, prediction, latents, memory, generator)
            latents = backbone.impose(latents, conditioning)
            if not torch.isfinite(latents).all():
                raise RenderingFailed(
                    f"the numbers overflowed at step {index + 1} of {start.steps}: lower `guidance_scale` or "
                    "`guidance.strength`; where every video fails so, the worker's number format is too narrow for its "
                    "backbone (GENERATOR_RENDER_DTYPE=bfloat16 or float32)"
                )
            keeps_cache = is_cached and index + 1 < end and not _is_cache_renewed(index + 1, guidance)
            is_resumable = not guidance.needs_last_step and not keeps_cache
            state = StepState(
                index + 1, start.steps, latents, memory, generator.get_state(), guidance.report(), is_resumable, clean
            )
            on_step(state)
    return latents


def _is_cache_renewed(step: int, guidance: Guidance) -> bool:
    """Before this one."""
    return (step - guidance.guided_until) % CACHE_RENEWED == 0
