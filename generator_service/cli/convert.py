"""`python -m generator_service convert`: a public checkpoint becomes a folder that a worker can load."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from generator_service.cli.errors import report_errors, report_file_errors


class Convertible(StrEnum):
    VIDEOCRAFTER2 = "videocrafter2"


class Precision(StrEnum):
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


def convert(
    backbone: Annotated[Convertible, typer.Argument(help="Whose checkpoint it is.")],
    checkpoint: Annotated[Path, typer.Option(help="The public checkpoint, model.ckpt.", dir_okay=False)],
    out: Annotated[Path, typer.Option(help="The folder to write, in diffusers' format.", file_okay=False)],
    tokenizer: Annotated[
        str | None, typer.Option(help="A folder with CLIP's tokenizer, or its name in the hub's cache.")
    ] = None,
    dtype: Annotated[Precision, typer.Option(help="How its numbers are saved.")] = Precision.FLOAT16,
) -> None:
    """Convert a public checkpoint; every tensor of it is checked, and nothing is downloaded.

    A worker loads the folder with GENERATOR_RENDER_BACKBONE and GENERATOR_RENDER_WEIGHTS.
    """
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with report_errors(), report_file_errors():
        # Here and not above: torch takes seconds to import, and the other commands of this program do without.
        import torch

        from generator_service.backbones import videocrafter2_checkpoint as videocrafter2

        with console.status(f"reading {checkpoint}"):
            tensors = videocrafter2.read_checkpoint(checkpoint)
            words = videocrafter2.load_tokenizer(tokenizer or videocrafter2.TOKENIZER)
            converted = videocrafter2.convert(tensors, words, dtype=getattr(torch, dtype))
        with console.status(f"writing {out}"):
            converted.pipeline.save_pretrained(out)
        console.print(f"wrote {out}: {len(tensors) - len(converted.unused)} of {len(tensors)} tensors")
        if converted.unused:
            console.print(f"not needed: {', '.join(converted.unused)}")
