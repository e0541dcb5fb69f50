"""Options shared by several commands."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from generator_service.contract.backbones import BACKBONES

PlanFile = Annotated[Path | None, typer.Option(help="A plan of your own, as JSON.", exists=True, dir_okay=False)]
ImageFile = Annotated[
    Path | None, typer.Option(help="What the first frame shows: PNG, JPEG or WebP.", exists=True, dir_okay=False)
]
BackboneName = Annotated[str, typer.Option(help=f"One of: {', '.join(BACKBONES)}.")]
Seed = Annotated[int | None, typer.Option(help="The same seed gives the same video; random if absent.")]
Candidates = Annotated[int, typer.Option(help="Begin so many videos, judge them, and keep the best.")]
StepCache = Annotated[float, typer.Option(help="Reuse steps that change less than this share; 0.05 to 0.2 are usual.")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps.")]
Frames = Annotated[int | None, typer.Option(help="Frames of the video.")]
Width = Annotated[int | None, typer.Option(help="Pixels.")]
Height = Annotated[int | None, typer.Option(help="Pixels.")]
FramesPerSecond = Annotated[int | None, typer.Option(help="Frames a second.")]


def _guidance(text: str) -> Any:
    if text == "off":
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise typer.BadParameter(f'Got {text!r} but expected "off" or a JSON object') from None


Guidance = Annotated[
    Any,
    typer.Option(
        parser=_guidance,
        metavar="off|JSON",
        help='How the plan guides the video: "off", or parameters such as {"strength": 0.3, "branches": ["gig"]}; '
        "what is left out is the backbone's default.",
    ),
]
GuidanceScale = Annotated[float | None, typer.Option(help="Classifier-free guidance; 1 turns it off.")]
Url = Annotated[str, typer.Option(help="The API's address.", envvar="GENERATOR_URL")]
Key = Annotated[str | None, typer.Option(help="Your key, where the service requires one.", envvar="GENERATOR_API_KEY")]
