"""Options that several commands take, written once."""

from pathlib import Path
from typing import Annotated

import typer

from generator_service.backbones.specs import BACKBONES

PlanFile = Annotated[Path | None, typer.Option(help="A plan of your own, as JSON.", exists=True, dir_okay=False)]
BackboneName = Annotated[str, typer.Option(help=f"One of: {', '.join(BACKBONES)}.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same video; random if absent.")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps.")]
Frames = Annotated[int | None, typer.Option(help="Frames of the video.")]
Width = Annotated[int | None, typer.Option(help="Pixels.")]
Height = Annotated[int | None, typer.Option(help="Pixels.")]
FramesPerSecond = Annotated[int | None, typer.Option(help="Frames a second.")]
GuidanceScale = Annotated[float | None, typer.Option(help="Classifier-free guidance; 1 turns it off.")]
