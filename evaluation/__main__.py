"""python -m evaluation ablation | compare | attention | features | reference | candidates | step-cache"""

import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evaluation import attention_mass, candidates, dense, features, step_cache
from evaluation.ablation import ROWS, run, setting_of
from evaluation.prompts import Half
from evaluation.strips import side_by_side
from evaluation.table import markdown
from generator_service.contract.backbones import EMOJI_WORLD
from generator_service.contract.guidance import GuidanceParameters

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

QUICK_PROMPTS = 12

Backbone = Annotated[str, typer.Option(help="Whose things can be found in its videos: emoji-world.")]
HalfOption = Annotated[Half, typer.Option(help="tune: to choose defaults on; report: for figures that are told.")]


RowsOption = Annotated[str, typer.Option(help="Rows of the ablation, commas between.")]
GuidanceOption = Annotated[
    str, typer.Option(help="Parameters over the backbone's own, as JSON: '{\"strength\": 1.0}'.", metavar="JSON")
]
Processes = Annotated[int, typer.Option(min=1, help="Of one thread each.")]


def _parameters(guidance: str) -> GuidanceParameters:
    try:
        return GuidanceParameters.model_validate_json(guidance)
    except ValidationError as error:
        raise typer.BadParameter(str(error), param_hint="--guidance") from error


def _parse_rows(rows: str) -> list[str]:
    names = rows.split(",")
    for name in names:
        if name not in ROWS:
            raise typer.BadParameter(f"Got {name!r} but expected some of {', '.join(ROWS)}", param_hint="--rows")
    return names


@app.callback()
def about() -> None:
    """Benchmarks of the guidance."""


@app.command()
def ablation(
    out: Annotated[Path, typer.Option(help="The JSON to write; clips are kept beside it, to go on from.")],
    backbone: Backbone = EMOJI_WORLD.name,
    prompts: Annotated[int, typer.Option(min=2, help="How many.")] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="Of each prompt.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help=f"{QUICK_PROMPTS} prompts, one seed.")] = False,
    half: HalfOption = "report",
    guidance: GuidanceOption = "{}",
    rows: RowsOption = ",".join(ROWS),
    processes: Processes = os.cpu_count() or 1,
) -> None:
    """What each part of guidance does: the rows of the paper's Table 3, with 95 % intervals, paired against plain."""
    console = Console(stderr=True)
    if backbone != EMOJI_WORLD.name:
        raise typer.BadParameter(f"Got {backbone!r} but expected {EMOJI_WORLD.name}", param_hint="--backbone")
    given = _parameters(guidance)
    chosen = {name: ROWS[name] for name in _parse_rows(rows)}
    setting = setting_of(backbone, half, QUICK_PROMPTS if quick else prompts, 1 if quick else seeds, chosen, given)
    columns = (TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("")
        try:
            result = run(setting, out, processes, lambda done, total: progress.update(bar, completed=done, total=total))
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--out") from error
    typer.echo(markdown(result))


@app.command()
def compare(
    out: Annotated[Path, typer.Option(help="The PNG to write.")],
    prompts: Annotated[int, typer.Option(min=1, help="How many.")] = 8,
    rows: RowsOption = "plain,R&P,all",
    seed: Annotated[int, typer.Option(help="Of every video.")] = 0,
    half: HalfOption = "report",
) -> None:
    """Film strips side by side: the same prompts, plans and seed."""
    side_by_side(half, prompts, _parse_rows(rows), seed).save(out, optimize=True)


@app.command()
def attention(
    prompts: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    half: HalfOption = "tune",
) -> None:
    """How much attention each branch moves in each layer, and in which direction."""
    typer.echo(attention_mass.markdown(attention_mass.look(EMOJI_WORLD.name, half, prompts)))


@app.command("features")
def features_command(
    prompts: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    steps: Annotated[str, typer.Option(help="Denoising steps from 0, commas between.")] = "0,3,6,9",
    half: HalfOption = "tune",
) -> None:
    """How well each layer's features tell things from backgrounds, and where a thing's parts are in other frames."""
    typer.echo(
        features.markdown(features.look(EMOJI_WORLD.name, half, prompts, [int(its) for its in steps.split(",")]))
    )


@app.command("reference")
def reference_command(
    prompts: Annotated[int, typer.Option(min=1, help="How many.")] = 4,
    guidance: GuidanceOption = "{}",
    half: HalfOption = "tune",
) -> None:
    """How far guided videos are from those of a slow reference that has all logits."""
    typer.echo(dense.compare(EMOJI_WORLD.name, half, prompts, _parameters(guidance)))


@app.command("candidates")
def candidates_command(
    prompts: Annotated[int, typer.Option(min=1, help="How many.")] = 40,
    guidance: GuidanceOption = "{}",
    half: HalfOption = "report",
    processes: Processes = os.cpu_count() or 1,
) -> None:
    """How many more clips are right where the best of several is the result, and what that costs."""
    typer.echo(candidates.look(EMOJI_WORLD.name, half, prompts, _parameters(guidance), processes))


@app.command("step-cache")
def step_cache_command(
    prompts: Annotated[int, typer.Option(min=2, help="How many.")] = 40,
    half: HalfOption = "report",
    processes: Processes = os.cpu_count() or 1,
) -> None:
    """What a step cache saves, and what is lost by it."""
    typer.echo(step_cache.look(EMOJI_WORLD.name, half, prompts, processes))


if __name__ == "__main__":
    app()
