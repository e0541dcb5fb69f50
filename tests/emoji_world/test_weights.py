"""The shipped model: small enough for the repository, and a stock CogVideoXPipeline that draws."""

import torch
from diffusers import CogVideoXPipeline
from safetensors.torch import load_file

from emoji_world.networks import WEIGHTS, make_scheduler
from emoji_world.sampling import draw_videos, load_pipeline
from emoji_world.spec import WORLD


def test_the_folder_is_small_and_in_half_precision() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) <= 20 * 2**20
    files = list(WEIGHTS.rglob("*.safetensors"))
    assert {file.parent.name for file in files} == {"vae", "transformer", "text_encoder"}
    assert {tensor.dtype for file in files for tensor in load_file(file).values()} == {torch.float16}


def test_the_folder_says_nothing_of_the_machine_it_was_made_on() -> None:
    for file in WEIGHTS.rglob("*.json"):
        assert "_name_or_path" not in file.read_text(encoding="utf-8"), file


def test_it_loads_as_a_stock_pipeline() -> None:
    pipeline = CogVideoXPipeline.from_pretrained(str(WEIGHTS), dtype=torch.float32)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.alphas_cumprod.equal(make_scheduler().alphas_cumprod)


def test_the_stock_pipeline_draws_what_the_caption_says_and_each_seed_by_itself() -> None:
    pipeline = load_pipeline()
    caption = "a red car is standing still at night"
    both = draw_videos(pipeline, [caption, caption], [0, 1], steps=6)
    assert both.shape == (2, WORLD.frames, 3, WORLD.height, WORLD.width)
    assert both.amin() >= 0
    assert both.amax() <= 1
    assert (both[0] - both[1]).abs().mean() > 0.01
    alone = draw_videos(pipeline, [caption], [1], steps=6)
    assert torch.allclose(alone[0], both[1], atol=0.1)
    for video in both:
        assert video[:, :, :4].mean() < 0.25  # the night's sky
        assert (video[:, 0] - video[:, 1]).amax() > 0.3  # something red
