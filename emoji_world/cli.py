"""python -m emoji_world train | evaluate | reconstruction | detector-errors | show | sprites"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import torch.distributed as dist
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emoji_world.detector_errors import detector_errors as measure_detector
from emoji_world.detector_errors import markdown as error_table
from emoji_world.evaluation import as_json, markdown, results
from emoji_world.evaluation import evaluate as evaluate_model
from emoji_world.film_strip import film_strip
from emoji_world.networks import WEIGHTS
from emoji_world.processes import quiet
from emoji_world.reconstruction import GROUPS, box_errors, reconstruct, summarize
from emoji_world.sampling import GUIDANCE_SCALE, STEPS, draw_videos, load_pipeline
from emoji_world.spec import SECOND_WORLD, WORLD, WorldSpec
from emoji_world.sprites import ATLAS, render_atlas
from emoji_world.training.data import to_signed
from emoji_world.training.profiles import PROFILES
from emoji_world.training.run import train as train_all
from emoji_world.training.trainee import rank
from emoji_world.training.vae import load_vae
from emoji_world.whitening import measure_costs
from emoji_world.world import make_clip

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
console = Console(highlight=False)


@app.callback()
def main() -> None:
    """A small text-to-video model and its world."""
    quiet()


HELD_OUT = 4242
"""Seed of clips that are for judging."""
Weights = Annotated[Path, typer.Option(help="A CogVideoXPipeline folder.")]
Steps = Annotated[int, typer.Option(help="Denoising steps.")]
Guidance = Annotated[float, typer.Option(help="Classifier-free guidance scale.")]
Threads = Annotated[int, typer.Option(help="CPU threads.")]
Processes = Annotated[int, typer.Option(min=1, help="Each of one thread; the figures are the same for any number.")]


class Edition(StrEnum):
    """The world that ships, and the larger one that is being trained."""

    FIRST = "first"
    SECOND = "second"

    @property
    def world(self) -> WorldSpec:
        return WORLD if self is Edition.FIRST else SECOND_WORLD


World = Annotated[Edition, typer.Option("--world", help="Whose clips.")]


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, film strips and the finished pipeline.")],
    profile: Annotated[str, typer.Option(help=f"One of: {', '.join(PROFILES)}.")] = "cpu",
    threads: Threads = 1,
) -> None:
    """Train from nothing, or go on where an earlier call with the same folder stopped.

    Under torchrun every process takes its share of each batch: torchrun --nproc-per-node 2 -m emoji_world train …
    """
    if profile not in PROFILES:
        raise typer.BadParameter(f"Got {profile!r} but expected one of {', '.join(PROFILES)}", param_hint="--profile")
    torch.set_num_threads(threads)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("gloo")

    def report(line: str) -> None:
        if rank() == 0:
            console.print(f"{datetime.now():%H:%M:%S}  {line}", soft_wrap=True)

    pipeline = train_all(PROFILES[profile], out, report)
    report(f"finished: {pipeline}")


@app.command()
def evaluate(
    captions: Annotated[int, typer.Option(min=4, help="How many held-out captions.")] = 300,
    weights: Weights = WEIGHTS,
    steps: Steps = STEPS,
    guidance: Guidance = GUIDANCE_SCALE,
    strip: Annotated[Path | None, typer.Option(help="Draw the first 16 clips into this PNG.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures into this file.")] = None,
    processes: Processes = os.cpu_count() or 1,
    edition: World = Edition.FIRST,
) -> None:
    """Count, on captions never trained on, what the model draws right; print it beside ceiling and chance."""
    with _progress("captions", captions) as report:
        evaluation = evaluate_model(
            weights, edition.world, captions, steps=steps, guidance_scale=guidance, processes=processes, report=report
        )
    rows = results(evaluation)
    console.print(markdown(rows), soft_wrap=True)
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(rows), indent=2) + "\n")
    if strip is not None:
        videos = torch.from_numpy(evaluation.videos[:16]).float() / 255
        film_strip(videos, evaluation.captions[:16]).quantize(256).save(strip, optimize=True)


@app.command()
def detector_errors(
    clips: Annotated[int, typer.Option(min=2, help="How many true clips, one and two objects in turn.")] = 300,
    weights: Annotated[Path, typer.Option(help="A CogVideoXPipeline folder, for its VAE.")] = WEIGHTS,
    processes: Processes = os.cpu_count() or 1,
    edition: World = Edition.FIRST,
) -> None:
    """Count what the evaluator itself gets wrong, on clips whose objects, boxes and motions are known."""
    with _progress("clips", clips) as report:
        measured = measure_detector(weights, edition.world, clips, processes=processes, report=report)
    console.print(error_table(measured), soft_wrap=True)


@app.command()
def reconstruction(
    clips: Annotated[int, typer.Option(min=1, help="How many clips never trained on, one to three objects.")] = 200,
    vae: Annotated[Path, typer.Option(help="An autoencoder's folder.")] = WEIGHTS / "vae",
    edition: World = Edition.FIRST,
) -> None:
    """Print what the autoencoder alone loses inside the boxes, in dB: no video of the model is sharper.

    And what an error of 1 in each latent channel costs, in squared pixels from -1 to 1.
    """
    network = load_vae(vae)
    errors: dict[str, list[float]] = {group: [] for group in GROUPS}
    with _progress("clips", clips) as report:
        for index in range(clips):
            clip = make_clip(edition.world, [HELD_OUT, index], 1 + index % edition.world.most_objects, held_out=True)
            for group, values in box_errors([clip], reconstruct(network, to_signed(clip.video[None]))).items():
                errors[group] += values
            if (index + 1) % 20 == 0:
                report(index + 1)
    console.print(summarize(errors))
    with torch.no_grad():
        latents = network.encode(to_signed(clip.video[None])).latent_dist.mode()
    costs = measure_costs(network, latents, torch.Generator().manual_seed(HELD_OUT))
    console.print("costs " + ", ".join(f"{cost:.5f}" for cost in costs.tolist()))


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, or a line for each report where there is no terminal."""
    bars = Console(stderr=True, highlight=False)
    if not bars.is_terminal:
        yield lambda done: bars.print(f"{datetime.now():%H:%M:%S}  {done} of {total} {what}")
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=bars, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


@app.command()
def show(
    captions: Annotated[
        list[str], typer.Argument(help="In the words of the grammar: 'a red car is driving to the right on the road'.")
    ],
    out: Annotated[Path, typer.Option(help="PNG to write.")],
    weights: Weights = WEIGHTS,
    steps: Steps = STEPS,
    guidance: Guidance = GUIDANCE_SCALE,
    seed: Annotated[int, typer.Option(help="Of the first clip; counts up.")] = 0,
    threads: Threads = 1,
) -> None:
    """Draw film strips of captions."""
    torch.set_num_threads(threads)
    seeds = range(seed, seed + len(captions))
    videos = draw_videos(load_pipeline(weights), captions, seeds, steps=steps, guidance_scale=guidance)
    film_strip(videos, captions, columns=min(2, len(captions))).quantize(256).save(out, optimize=True)


@app.command()
def sprites(font: Annotated[Path, typer.Option(help="NotoColorEmoji.ttf, the bitmap (CBDT) version.")]) -> None:
    """Render the sprite atlas anew; only needed when the vocabulary changes."""
    render_atlas(font)
    console.print(f"{ATLAS}")
