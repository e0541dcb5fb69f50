"""What is VideoCrafter2's own: a rate of frames, a padding, a schedule that shrinks the signal; on a tiny network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from generator_service.backbones.base import Scene, Setup
from generator_service.backbones.load import load_backbone
from generator_service.backbones.videocrafter2 import (
    VideoCrafter2,
    VideoCrafterScheduler,
    VideoCrafterSolver,
    VideoCrafterUNet,
)
from generator_service.contract.backbones import VIDEOCRAFTER2
from generator_service.contract.request import RenderSettings
from generator_service.guidance.protocols import UNGUIDED
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import first_state, ignore
from generator_service.settings import WorkerSettings
from shared.errors import WeightsMissing

SETUP = Setup(weights_revision="none", device="cpu", dtype="float32", vae_tiling=False)


@pytest.fixture
def settings() -> RenderSettings:
    """Latents of 5 × 8 × 16."""
    return RenderSettings(
        backbone="videocrafter2", seed=7, steps=2, frames=5, width=128, height=64, fps=8, guidance_scale=12.0
    )


@pytest.fixture
def backbone(tiny_videocrafter: Callable[[], Any]) -> VideoCrafter2:
    return VideoCrafter2(VIDEOCRAFTER2, tiny_videocrafter(), torch.device("cpu"), SETUP)


def sampled(backbone: VideoCrafter2, settings: RenderSettings) -> Tensor:
    conditioning = backbone.prepare(Scene(caption="a red car"), settings)
    return denoise(backbone, conditioning, first_state(backbone, settings), UNGUIDED, ignore)


def test_at_full_width_it_has_the_checkpoints_parameters_and_layers() -> None:
    with torch.device("meta"):
        unet = VideoCrafterUNet()
    assert sum(parameter.numel() for parameter in unet.parameters()) == 1_413_284_420
    assert len(unet.state_dict()) == 1_484


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [20, 25, 40, 50])
def test_the_sampler_is_the_originals(steps: int, eta: float) -> None:
    """x_0 = (x - √(1 - ᾱ) ε) / √ᾱ / s, x' = √ᾱ' s' x_0 + √(1 - ᾱ' - σ²) ε + σ noise; in float64."""

    def predict(x: Any, t: int) -> Any:
        """Of a network that takes 0.9 cos(x) for the video."""
        return (x - np.sqrt(alphas[t]) * scales[t] * 0.9 * np.cos(x)) / np.sqrt(1 - alphas[t])

    alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    scales = np.concatenate([np.linspace(1, 0.7, 400), np.full(600, 0.7)])
    times = np.arange(0, 1000, 1000 // steps) + 1
    generator = torch.Generator().manual_seed(3)
    x = first = torch.randn(1, 4, 3, 2, 5, generator=generator).double().numpy()
    for index in reversed(range(steps)):
        t, before = times[index], times[index - 1] if index > 0 else 0
        a, a_before = alphas[t], alphas[before]
        sigma = eta * np.sqrt((1 - a_before) / (1 - a) * (1 - a / a_before))
        e = predict(x, t)
        x_0 = (x - np.sqrt(1 - a) * e) / np.sqrt(a) / scales[t]
        noise = torch.randn(x.shape, generator=generator).double().numpy() if eta > 0 else 0
        x = np.sqrt(a_before) * scales[before] * x_0 + np.sqrt(1 - a_before - sigma**2) * e + sigma * noise

    solver = VideoCrafterSolver(VideoCrafterScheduler(eta=eta), steps, torch.device("cpu"))
    generator = torch.Generator().manual_seed(3)
    ours = torch.randn(first.shape, generator=generator)
    for index, t in enumerate(solver.timesteps):
        prediction = torch.tensor(predict(ours.numpy(), int(t)), dtype=torch.float32)
        ours, memory, clean = solver.step(index, prediction, ours, None, generator)
        assert memory is None
    assert np.abs(ours.numpy() - x).max() < 1e-5
    assert np.abs(clean.numpy() - x_0).max() < 1e-5
    assert np.abs(x).max() > 0.5


def test_noise_levels_are_those_of_the_shrunk_signal_by_hand() -> None:
    """Half way down the scale it is 0.85; ᾱ of a single β is 1 - β."""
    scheduler = VideoCrafterScheduler(
        num_train_timesteps=4, beta_start=0.36, beta_end=0.36, signal_scale=0.7, scaled_steps=3
    )
    solver = VideoCrafterSolver(scheduler, 2, torch.device("cpu"))
    assert solver.timesteps.tolist() == [3, 1]
    assert scheduler.signal_scales.tolist() == pytest.approx([1, 0.85, 0.7, 0.7])
    alpha, sigma = 0.64 * 0.85, (1 - 0.64**2) ** 0.5
    assert solver.noise_levels[1] == pytest.approx(sigma / (alpha + sigma))


def test_the_rate_of_frames_is_seen(backbone: VideoCrafter2, settings: RenderSettings) -> None:
    at_8 = sampled(backbone, settings)
    assert torch.equal(sampled(backbone, settings), at_8)
    at_28 = sampled(backbone, settings.model_copy(update={"fps": 28}))
    assert (at_28 - at_8).abs().max() > 1e-2


def test_a_text_is_padded_with_token_0(backbone: VideoCrafter2, settings: RenderSettings) -> None:
    seen: list[list[int]] = []
    hook = backbone.pipeline.text_encoder.register_forward_pre_hook(
        lambda _module, args: seen.append(args[0][0].tolist())
    )
    conditioning = backbone.prepare(Scene(caption="a car"), settings)
    hook.remove()
    assert conditioning.text.shape == (1, 24, 24)
    assert seen == [[58, 27, 54, 59, *[0] * 20], [58, 59, *[0] * 22]]  # and the unconditional half's: ""


def test_guidance_is_a_blend_of_two_predictions(backbone: VideoCrafter2, settings: RenderSettings) -> None:
    latents, timestep = first_state(backbone, settings).latents, torch.tensor(500)

    @torch.no_grad()
    def predicted(scale: float, caption: str, negative: str = "") -> Tensor:
        asked = settings.model_copy(update={"guidance_scale": scale})
        return backbone.predict(latents, timestep, backbone.prepare(Scene(caption=caption, negative=negative), asked))

    toward, away = predicted(1.0, "a red car"), predicted(1.0, "a tree")
    torch.testing.assert_close(
        predicted(12.0, "a red car", "a tree"), away + 12 * (toward - away), atol=1e-4, rtol=1e-4
    )
    assert not torch.allclose(toward, away, atol=1e-4)


def test_frames_are_decoded_one_by_one(backbone: VideoCrafter2, settings: RenderSettings) -> None:
    latents = first_state(backbone, settings).latents
    frames = backbone.decode(latents, settings)
    assert frames.shape == (5, 64, 128, 3)
    (alone,) = backbone.decode(latents[:, :, 2:3], settings.model_copy(update={"frames": 1}))
    assert np.array_equal(alone, frames[2])


def test_through_a_folder_on_disk(
    tiny_videocrafter: Callable[[], Any], backbone: VideoCrafter2, settings: RenderSettings, tmp_path: Path
) -> None:
    tiny_videocrafter().save_pretrained(tmp_path)
    loaded = load_backbone(VIDEOCRAFTER2, WorkerSettings(weights=tmp_path, device="cpu"))
    assert isinstance(loaded, VideoCrafter2)
    assert torch.equal(sampled(loaded, settings), sampled(backbone, settings))
    half = load_backbone(VIDEOCRAFTER2, WorkerSettings(weights=tmp_path, device="cpu", dtype="bfloat16"))
    assert 0 < (sampled(half, settings) - sampled(backbone, settings)).abs().mean() < 0.3


def test_without_a_folder_the_error_says_what_to_type() -> None:
    with pytest.raises(WeightsMissing, match=r"convert videocrafter2 --checkpoint model\.ckpt --out DIR"):
        load_backbone(VIDEOCRAFTER2, WorkerSettings(device="cpu"))
