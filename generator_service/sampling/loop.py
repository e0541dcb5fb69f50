"""The denoising loop: x_T ~ N(0, I), then for t = T … 1: predict, step."""

from typing import TypeVar

import torch
from torch import Tensor

from generator_service.backbones.base import Backbone
from generator_service.guidance.protocols import Guidance
from generator_service.sampling.state import OnStep, StepState, resumed_generator

C = TypeVar("C")


@torch.no_grad()
def denoise(backbone: Backbone[C], conditioning: C, start: StepState, guidance: Guidance, on_step: OnStep) -> Tensor:
    """The clean latents.  `start` is `first_state`, or any state that `on_step` was given: the result is the same.

    Without guidance this equals the stock diffusers pipeline bit for bit.
    """
    solver = backbone.solver(start.steps)
    generator = resumed_generator(start)
    latents, memory = start.latents, start.memory
    guidance.resume(start.guidance)
    for index in range(start.step, start.steps):
        timestep = solver.timesteps[index]
        latents = guidance.before_prediction(index, timestep, latents)
        prediction = backbone.predict(latents, timestep, conditioning, guidance.around_prediction(index))
        latents, memory = solver.step(index, prediction, latents, memory, generator)
        on_step(StepState(index + 1, start.steps, latents, memory, generator.get_state(), guidance.memory))
    return latents
