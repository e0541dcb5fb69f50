"""Training on a world of thumbnails: resumable to the last bit, ending in a stock pipeline."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel
from safetensors.torch import load_file

from emoji_world.backgrounds import background_image
from emoji_world.grammar import PLACES
from emoji_world.networks import (
    POSITIONS,
    WEIGHTS,
    NetworkSpec,
    make_tokenizer,
    make_transformer,
    make_vae,
    rotary_embedding,
    start_from,
)
from emoji_world.sampling import draw_videos, load_pipeline
from emoji_world.spec import SECOND_WORLD, WORLD
from emoji_world.training.attention import MatmulAttention
from emoji_world.training.data import (
    crop_batch,
    latent_sprite_map,
    sprite_map,
    to_signed,
    training_clip,
    whole_batch,
)
from emoji_world.training.latents import Latents, Shard
from emoji_world.training.loop import Budget, Cadence, run_stage
from emoji_world.training.profiles import Profile
from emoji_world.training.routing import TokenRouting
from emoji_world.training.run import train
from emoji_world.training.trainee import warm_cosine
from emoji_world.training.transformer import TransformerRecipe, TransformerTraining
from emoji_world.training.vae import VaeRecipe, VaeTraining
from emoji_world.whitening import measure_costs, weigh_channels, whiten

THUMBNAILS = replace(
    WORLD, height=16, width=24, size_px=(6, 9), travel_px=(3, 5), overlap=0.25, sprites=("car", "tree", "pig")
)
SMALL = NetworkSpec(vae_channels=(4, 8, 8), latent_channels=4, width=32, layers=2, heads=2, text_width=32)
SELDOM = Cadence(checkpoint=1e9, report=1e9)


def vae_training() -> VaeTraining:
    recipe = VaeRecipe(Budget(6, "steps"), crop_frames=9, crop_px=8, whole_from=0.5)
    return VaeTraining(THUMBNAILS, SMALL, recipe, "cpu", seed=3)


def transformer_training() -> TransformerTraining:
    random = torch.Generator().manual_seed(0)

    def shard(clips: int, frames: int) -> Shard:
        return Shard(
            latents=torch.randn(clips, frames, 4, 4, 6, generator=random).bfloat16(),
            tokens=torch.randint(3, 50, (clips, SMALL.text_length), generator=random).short(),
            sprites=torch.randint(0, 4, (clips, frames, 4, 6), generator=random).to(torch.int8),
            counts=torch.arange(clips) % 3,
        )

    return TransformerTraining(
        Latents([shard(5, 3), shard(3, 3)]),
        Latents([shard(4, 1)]),
        make_vae(SMALL, THUMBNAILS),
        make_tokenizer(SMALL),
        THUMBNAILS,
        SMALL,
        TransformerRecipe(Budget(6, "steps"), batch=2, stills_until=0.2),
        "cpu",
        seed=3,
    )


def test_a_few_clips_show_a_place_and_nothing_in_it() -> None:
    clips = [training_clip(WORLD, (7, k)) for k in range(300)]
    empty = [clip for clip in clips if not clip.tracks]
    assert 8 <= len(empty) <= 42  # 6 of 80 in 300 are 22
    places = {place for wordings in PLACES.values() for place in wordings}
    for clip in empty:
        assert clip.scene.caption in places
        nothing = background_image(WORLD, clip.scene.background)
        assert torch.equal(clip.video, (nothing * 255).round().to(torch.uint8).expand_as(clip.video))
    counts = [len(clip.tracks) for clip in clips]
    assert 120 <= counts.count(2) <= 180  # half of them
    assert max(counts) == 2  # three of these sizes might fit nowhere


def test_crops_show_things_and_where_they_are() -> None:
    batch = crop_batch(SECOND_WORLD, [(1, k) for k in range(40)], frames=9, size=48)
    assert batch.videos.shape == (40, 3, 9, 48, 48)
    assert batch.inside.shape == (40, 1, 9, 48, 48)
    shares = batch.inside.mean((1, 2, 3, 4))
    assert (shares == 0).float().mean() <= 0.2  # places without anything
    assert shares.mean() > 1.5 * whole_batch(SECOND_WORLD, [(1, k) for k in range(40)]).inside.mean()
    whole, part = training_clip(SECOND_WORLD, (1, 0)), batch.videos[0]
    windows = (
        to_signed(whole.video[None])[0].unfold(1, 9, 1).unfold(2, 48, 1).unfold(3, 48, 1)
    )  # [3, t, y, x, 9, 48, 48]
    assert (windows.permute(1, 2, 3, 0, 4, 5, 6) == part).flatten(3).all(3).any()


def test_picked_clips_are_those_of_their_numbers() -> None:
    def shard(first: int, clips: int) -> Shard:
        numbers = torch.arange(first, first + clips)
        latents = numbers.view(-1, 1, 1, 1, 1).expand(-1, 3, 4, 4, 6)
        return Shard(latents, numbers[:, None], latents[:, :, 0], numbers)

    picked = Latents([shard(0, 4), shard(4, 4), shard(8, 1)]).pick(torch.tensor([8, 3, 4]))
    assert picked.latents.shape == (3, 3, 4, 4, 6)
    assert picked.latents[:, 0, 0, 0, 0].tolist() == picked.tokens[:, 0].tolist() == picked.counts.tolist() == [8, 3, 4]


def run(training: VaeTraining | TransformerTraining, checkpoint: Path, stop_after: int | None = None) -> dict[str, Any]:
    run_stage(
        training.trainee,
        training.recipe.budget,
        training.step,
        checkpoint,
        report=lambda line: None,
        preview=lambda: "",
        cadence=SELDOM,
        stop_after=stop_after,
    )
    return training.trainee.state_dict()


@pytest.mark.parametrize("make", [vae_training, transformer_training])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(make: Any, tmp_path: Path) -> None:
    whole = run(make(), tmp_path / "whole.pt")
    for _ in range(3):  # stopped after 2 and 4 steps, each time continued by a new process's objects
        parts = run(make(), tmp_path / "parts.pt", stop_after=2)
    assert whole["steps"] == parts["steps"] == 6
    for kind in ("module", "average"):
        for name, tensor in whole[kind].items():
            assert torch.equal(tensor, parts[kind][name]), name
    begun = make().trainee.state_dict()["module"]
    assert any(not torch.equal(tensor, begun[name]) for name, tensor in whole["module"].items())


def test_all_stages_end_in_a_stock_pipeline_and_a_second_call_finds_it_done(tmp_path: Path) -> None:
    profile = Profile(
        vae=VaeRecipe(Budget(2, "steps"), crop_frames=9, crop_px=8),
        cached_clips=5,
        cached_stills=4,
        transformer=TransformerRecipe(Budget(2, "steps"), batch=2),
        world=THUMBNAILS,
        networks=SMALL,
        cadence=SELDOM,
    )
    lines: list[str] = []
    folder = train(profile, tmp_path, lines.append)
    pipeline = CogVideoXPipeline.from_pretrained(str(folder))
    assert pipeline.vae.config.latent_channels == 4
    before = {file: file.read_bytes() for file in folder.rglob("*.safetensors")}
    assert len(before) == 3
    assert train(profile, tmp_path, lines.append) == folder
    assert {file: file.read_bytes() for file in before} == before
    further = replace(
        profile,
        start=folder,
        vae=replace(profile.vae, learning_rate=0.0, encoder=False),
        transformer=replace(profile.transformer, learning_rate=0.0),
    )
    again = train(further, tmp_path / "further", lines.append)
    for file in before:
        tensors, those_again = load_file(file), load_file(again / file.relative_to(folder))
        assert tensors.keys() == those_again.keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor, those_again[name]), name  # not their bytes: the average makes 0 of -0
    assert not any("_name_or_path" in file.read_text(encoding="utf-8") for file in again.rglob("*.json"))


def test_tokens_of_two_latent_frames_are_trained_and_drawn_by_the_stock_pipeline(tmp_path: Path) -> None:
    profile = Profile(
        vae=VaeRecipe(Budget(1, "steps"), crop_frames=5, crop_px=8),
        cached_clips=3,
        cached_stills=4,
        transformer=TransformerRecipe(Budget(2, "steps"), batch=2, stills_until=0.4),
        world=replace(THUMBNAILS, frames=17),
        networks=replace(SMALL, temporal_factor=2, patch_in_time=2),
        cadence=SELDOM,
    )
    pipeline = load_pipeline(train(profile, tmp_path, lambda line: None))
    assert pipeline.transformer.config.patch_size_t == 2
    assert draw_videos(pipeline, ["a red car"], [0], steps=2).shape == (1, 17, 3, 16, 24)
    ours, theirs = (
        rotary_embedding(pipeline.transformer, 5),
        pipeline._prepare_rotary_positional_embeddings(16, 24, 10, pipeline.device),
    )
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_going_on_without_the_encoder_leaves_it(tmp_path: Path) -> None:
    make_vae(SMALL, THUMBNAILS).save_pretrained(tmp_path / "vae")
    recipe = VaeRecipe(Budget(2, "steps"), encoder=False, crop_frames=9, crop_px=8)
    training = VaeTraining(THUMBNAILS, SMALL, recipe, "cpu", seed=3, start=tmp_path / "vae")
    before = {name: tensor.clone() for name, tensor in training.trainee.average.state_dict().items()}
    after = run(training, tmp_path / "vae.pt")["average"]
    changed = {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"decoder"}


def test_shaken_latents_are_harder_to_decode() -> None:
    def loss(shake: float) -> float:
        recipe = VaeRecipe(Budget(1, "steps"), encoder=False, crops=4, crop_frames=9, crop_px=16, shake=shake)
        return VaeTraining(WORLD, NetworkSpec(), recipe, "cpu", seed=3, start=WEIGHTS / "vae").step(0, 0.0)

    assert loss(2.0) > 1.2 * loss(0.0)


def test_going_on_in_a_wider_frame_keeps_its_own_positions_and_takes_all_else(tmp_path: Path) -> None:
    trained = make_transformer(SMALL, THUMBNAILS)
    torch.nn.init.normal_(trained.proj_out.weight)
    trained.save_pretrained(tmp_path / "transformer")
    wider = make_transformer(SMALL, replace(THUMBNAILS, width=40))
    positions = wider.state_dict()[POSITIONS].clone()
    start_from(wider, tmp_path)
    for name, tensor in wider.state_dict().items():
        assert torch.equal(tensor, positions if name == POSITIONS else trained.state_dict()[name]), name


def test_whitening_evens_the_latents_and_leaves_the_reconstruction() -> None:
    torch.manual_seed(0)
    vae = make_vae(SMALL, THUMBNAILS).eval()
    videos = torch.randn(2, 3, 9, 16, 24)
    with torch.no_grad():
        before = vae.encode(videos).latent_dist
        entering = vae.decoder.conv_in(before.mode())[0]
        mean, deviation = before.mode().mean((0, 2, 3, 4)), before.mode().std((0, 2, 3, 4))
        assert not torch.allclose(deviation, torch.ones(4), atol=0.05)
        assert not torch.allclose(mean, torch.zeros(4), atol=0.05)
        whiten(vae, mean, deviation)
        white = vae.encode(videos).latent_dist
        assert torch.allclose(white.mode().mean((0, 2, 3, 4)), torch.zeros(4), atol=1e-4)
        assert torch.allclose(white.mode().std((0, 2, 3, 4)), torch.ones(4), atol=1e-4)
        assert torch.allclose(white.std * deviation.view(1, -1, 1, 1, 1), before.std, rtol=1e-3)
        entering_white = vae.decoder.conv_in(white.mode())[0]
        inner = (..., slice(1, -1), slice(1, -1))  # the rim sees the zero padding
        assert torch.allclose(entering_white[inner], entering[inner], atol=1e-4)


def test_whitening_centred_latents_leaves_the_reconstruction_everywhere() -> None:
    torch.manual_seed(0)
    vae = make_vae(SMALL, THUMBNAILS).eval()
    latents = torch.randn(2, 4, 3, 4, 6)
    deviation = torch.tensor([0.5, 1.0, 2.0, 3.0])
    with torch.no_grad():
        decoded = vae.decode(latents).sample
        whiten(vae, torch.zeros(4), deviation)
        again = vae.decode(latents / deviation.view(1, -1, 1, 1, 1)).sample
    assert decoded.std() > 0.1
    assert torch.allclose(again, decoded, atol=1e-4)


def test_channels_are_as_large_as_the_fourth_root_of_what_they_cost() -> None:
    gain = torch.tensor([16.0, 4.0, 1.0]).view(1, -1, 1, 1, 1)
    vae: Any = SimpleNamespace(decode=lambda latents: SimpleNamespace(sample=(gain * latents).sum(1, keepdim=True)))
    costs = measure_costs(vae, torch.zeros(2, 3, 3, 40, 60), torch.Generator().manual_seed(0))
    assert torch.allclose(costs, torch.tensor([256.0, 16.0, 1.0]), rtol=0.05)
    deviation = weigh_channels(costs)
    assert deviation.square().mean() == pytest.approx(1.0)
    assert torch.allclose(deviation / deviation[2], torch.tensor([4.0, 2.0, 1.0]), rtol=0.02)


def inputs_of(transformer: CogVideoXTransformer3DModel) -> dict[str, Any]:
    return {
        "hidden_states": torch.randn(2, 3, 4, 4, 6),
        "encoder_hidden_states": torch.randn(2, SMALL.text_length, 32),
        "timestep": torch.tensor([3, 900]),
        "image_rotary_emb": rotary_embedding(transformer, 3),
        "return_dict": False,
    }


def test_written_out_attention_is_the_stock_attention() -> None:
    torch.manual_seed(0)
    transformer = make_transformer(SMALL, THUMBNAILS).eval()
    torch.nn.init.normal_(transformer.proj_out.weight)
    given = inputs_of(transformer)
    with torch.no_grad():
        stock = transformer(**given)[0]
        transformer.set_attn_processor(MatmulAttention())
        written_out = transformer(**given)[0]
    assert stock.abs().max() > 0.1
    assert torch.allclose(stock, written_out, atol=1e-4)


def test_routing_leaves_tokens_out_of_the_layers_between_and_puts_them_back() -> None:
    torch.manual_seed(0)
    transformer = make_transformer(replace(SMALL, layers=4), THUMBNAILS).eval()
    transformer.set_attn_processor(MatmulAttention())
    torch.nn.init.normal_(transformer.proj_out.weight)
    given = inputs_of(transformer)
    first, *between, last = transformer.transformer_blocks
    came: dict[object, torch.Tensor] = {}
    left: dict[object, torch.Tensor] = {}
    with torch.no_grad():
        whole = transformer(**given)[0]
        routing = TokenRouting(transformer)
        assert routing.choose(2, 18, 1, torch.Generator()) is None
        routing.kept = torch.stack([torch.randperm(18) for _ in range(2)])
        assert torch.allclose(transformer(**given)[0], whole, atol=1e-4)  # all of them, in any order
        kept = routing.choose(2, 18, 0.5, torch.Generator().manual_seed(1))
        for block in transformer.transformer_blocks:
            block.register_forward_pre_hook(
                lambda block, args, given: came.update({block: given["hidden_states"]}), with_kwargs=True
            )
            block.register_forward_hook(lambda block, args, result: left.update({block: result[0]}))
        transformer(**given)
    assert kept is not None
    assert [len(set(row)) for row in kept.tolist()] == [9, 9]
    assert [came[block].shape[1] for block in (first, *between, last)] == [18, 9, 9, 18]
    rows, passed = torch.arange(2)[:, None], torch.ones(2, 18, dtype=torch.bool).scatter(1, kept, False)
    assert torch.equal(came[between[0]], left[first][rows, kept])
    assert torch.equal(came[last][passed], left[first][passed])
    assert not torch.isclose(came[last], left[first]).all(-1)[~passed].any()


def test_a_share_of_the_schedule_that_rounds_to_one_is_its_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    training = transformer_training()
    monkeypatch.setattr(torch, "rand", lambda *shape, generator=None: torch.full(shape, 1 - 2**-24))
    assert np.isfinite(training.step(0, 0.5))


def test_masks_cover_the_boxes_of_every_frame_they_stand_for() -> None:
    for seed in range(10):
        clip = training_clip(WORLD, (seed,))
        pixels, cells = sprite_map(WORLD, clip, WORLD.height, WORLD.width), latent_sprite_map(WORLD, clip, 4)
        assert cells.shape == (3, 16, 24)
        coarse = torch.nn.functional.max_pool2d(pixels.float(), 4).to(torch.int8)
        assert torch.equal(cells[0], coarse[0])
        assert torch.equal(cells[2], coarse[5:9].amax(0))
        for track in clip.tracks:
            x0, y0, x1, y1 = (track.boxes[0] * torch.tensor([96, 64, 96, 64])).round().int().tolist()
            assert (pixels[0, y0:y1, x0:x1] == 1 + WORLD.sprites.index(track.sprite)).all()


def test_the_learning_rate_rises_holds_and_falls() -> None:
    rates = [warm_cosine(step, step / 1000, warm_up=100, hold=0.5) for step in (0, 49, 300, 500, 750, 1000)]
    assert rates == pytest.approx([0.01, 0.5, 1, 1, 0.5, 0.02], abs=1e-4)


def test_a_budget_counts_minutes_or_steps() -> None:
    assert Budget(10).progress(steps=7, seconds=150) == 0.25
    assert Budget(10, "steps").progress(steps=7, seconds=150) == 0.7
