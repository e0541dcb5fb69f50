"""The planner's command line: `serve`, and `plan` without a server."""

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.progress import track
from rich.text import Text

from planner_service import bulk, main, reasoning
from planner_service.api import MAXIMUM_SIDE, MINIMUM_FRAMES
from planner_service.reasoning import Planner
from planner_service.settings import Settings
from shared.plan import MAXIMUM_FRAMES

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Plan the motion of a video from its prompt.")
console = Console(stderr=True)

STDOUT = Path("-")


class PlannerName(StrEnum):
    AUTO = "auto"
    LANGUAGE_MODEL = "language-model"
    PARSER = "parser"


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.  [default: PLANNER_HOST or 127.0.0.1]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.  [default: PLANNER_PORT or 8081]")] = None,
) -> None:
    """Run the HTTP service.  The environment (PLANNER_…) configures it."""
    given = {"host": host, "port": port}
    main.serve(Settings().model_copy(update={name: value for name, value in given.items() if value is not None}))


@app.command()
def plan(
    prompt: Annotated[str | None, typer.Option(help="One prompt.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="A file with one prompt a line.", exists=True, dir_okay=False)
    ] = None,
    planner: Annotated[PlannerName, typer.Option(help="Who plans.")] = PlannerName.AUTO,
    frames: Annotated[int, typer.Option(min=MINIMUM_FRAMES, max=MAXIMUM_FRAMES, help="Layout frames.")] = 49,
    width: Annotated[int, typer.Option(min=16, max=MAXIMUM_SIDE, help="Pixels.")] = 720,
    height: Annotated[int, typer.Option(min=16, max=MAXIMUM_SIDE, help="Pixels.")] = 480,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same plan.")] = 0,
    plans: Annotated[Path | None, typer.Option(help="Write whole plans here, one JSON a line; - for stdout.")] = None,
    layouts: Annotated[Path | None, typer.Option(help="Write prompts and boxes alone here, one JSON a line.")] = None,
    draw: Annotated[Path | None, typer.Option(help="Write a picture of each plan into this folder.")] = None,
) -> None:
    """Plan one prompt or a file of them, without a server.

    A prompt that fails is reported and does not stop the others; the exit code is then 1.  With neither --plans nor
    --layouts nor --draw the plans go to stdout.
    """
    listed = _prompts(prompt, prompts)
    if plans is None and layouts is None and draw is None:
        plans = STDOUT
    request = reasoning.Request(prompt="", frames=frames, width=width, height=height, seed=seed)
    failed = 0
    with ExitStack() as stack:
        chosen = _choose_planner(stack, planner)
        plan_lines = _writer(stack, plans)
        layout_lines = _writer(stack, layouts)
        outcomes = bulk.plan_all(chosen, listed, request)
        for number, outcome in enumerate(
            track(outcomes, "Planning", total=len(listed), console=console, disable=len(listed) == 1), start=1
        ):
            if outcome.plan is None:
                failed += 1
                said = Text.assemble(("no plan", "red"), f" for line {number}: {outcome.prompt!r}: {outcome.error}")
                console.print(said, soft_wrap=True)
                continue
            if plan_lines is not None:
                plan_lines.write(outcome.plan.model_dump_json() + "\n")
            if layout_lines is not None:
                layout_lines.write(bulk.flat_line(outcome.plan) + "\n")
            if draw is not None:
                bulk.draw_to(draw, number, outcome.plan, width / height)
    console.print(f"{len(listed) - failed} planned, {failed} failed")
    if failed:
        raise typer.Exit(1)


def _prompts(prompt: str | None, file: Path | None) -> list[str]:
    if (prompt is None) == (file is None):
        raise typer.BadParameter("give either --prompt or --prompts")
    if prompt is not None:
        return [prompt]
    assert file is not None  # noqa: S101  # one of them is given
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _choose_planner(stack: ExitStack, name: PlannerName) -> Planner:
    settings = Settings()
    if name is PlannerName.PARSER:
        settings = settings.model_copy(update={"language_model_url": None})
    planners = stack.enter_context(main.open_planners(settings))
    if name is PlannerName.AUTO:
        return next(iter(planners.values()))
    if name.value not in planners:
        raise typer.BadParameter("no language model is configured: set PLANNER_LANGUAGE_MODEL_URL")
    return planners[name.value]


def _writer(stack: ExitStack, path: Path | None) -> TextIO | None:
    if path is None:
        return None
    if path == STDOUT:
        return typer.get_text_stream("stdout")
    path.parent.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(path.open("w", encoding="utf-8"))


if __name__ == "__main__":
    app()
