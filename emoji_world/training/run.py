"""The three stages in order.  Every stage finds what an earlier call left in the folder and goes on from there."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from diffusers import AutoencoderKLCogVideoX

from emoji_world.networks import make_tokenizer
from emoji_world.training.latents import cache_latents
from emoji_world.training.loop import run_stage
from emoji_world.training.profiles import Profile
from emoji_world.training.trainee import barrier, rank
from emoji_world.training.transformer import TransformerTraining
from emoji_world.training.vae import VaeTraining, load_vae, whiten_on

Report = Callable[[str], None]


def train(profile: Profile, folder: Path, report: Report) -> Path:
    """Train everything; the finished pipeline, or the autoencoder where the profile has no more, lies in the folder
    returned.  A usable pipeline is there from early on."""
    folder.mkdir(parents=True, exist_ok=True)
    vae = train_vae(profile, folder, report)
    if profile.transformer is None:
        return folder / "vae"
    tokenizer = make_tokenizer(profile.networks)
    cache = partial(
        cache_latents,
        vae=vae,
        tokenizer=tokenizer,
        world=profile.world,
        device=profile.device,
        report=lambda line: report(f"cache        {line}"),
    )
    training = TransformerTraining(
        cache(folder / "latents", profile.cached_clips, seed=(profile.seed, 3)),
        cache(folder / "stills", profile.cached_stills, seed=(profile.seed, 2), stills=True),
        vae,
        tokenizer,
        profile.world,
        profile.networks,
        profile.transformer,
        profile.device,
        profile.seed,
        profile.start,
    )
    pipeline = folder / "pipeline"
    run_stage(
        training.trainee,
        profile.transformer.budget,
        training.step,
        folder / "transformer.pt",
        report=lambda line: report(f"transformer  {line}"),
        preview=lambda: training.preview(folder / "transformer.png", pipeline),
        cadence=profile.cadence,
    )
    return pipeline


def train_vae(profile: Profile, folder: Path, report: Report) -> AutoencoderKLCogVideoX:
    """The trained autoencoder, its latents whitened; or the one to go on from."""
    start = None if profile.start is None else profile.start / "vae"
    if profile.vae is None:
        if start is None:
            raise ValueError("Got a profile with no recipe for an autoencoder, and none to go on from")
        return load_vae(start)
    finished = folder / "vae"
    if not finished.exists():
        training = VaeTraining(profile.world, profile.networks, profile.vae, profile.device, profile.seed, start)
        run_stage(
            training.trainee,
            profile.vae.budget,
            training.step,
            folder / "vae.pt",
            report=lambda line: report(f"vae          {line}"),
            preview=lambda: training.preview(folder / "vae.png"),
            cadence=profile.cadence,
        )
        if rank() == 0:
            if profile.vae.encoder:
                whiten_on(training.trainee.average, profile.world, profile.seed)
            partial = folder / "vae.partial"
            training.trainee.average.save_pretrained(partial)
            partial.rename(finished)
        barrier()
    return load_vae(finished)
