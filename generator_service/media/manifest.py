"""`manifest.json`: everything needed to reproduce the video."""

from importlib.metadata import version
from typing import Annotated

from pydantic import Field, StringConstraints

from generator_service.contract.request import RenderSettings, Seed
from generator_service.media.video import Encoding
from shared.plan import Prompt
from shared.wire import WireModel

LIBRARIES = ("torch", "diffusers", "transformers", "av", "motion-factorized-video")
"""Libraries whose version can change a pixel: "av" brings the encoder; the last one is this software."""


def installed_versions() -> dict[str, str]:
    return {library: version(library) for library in LIBRARIES}


class Manifest(WireModel):
    prompt: Prompt
    caption: str
    """The text that the network was given."""
    plan_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None
    """`Plan.content_hash`; None for a video without a plan."""
    image_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the file of the image that it begins with; None where none was given."""
    settings: RenderSettings
    seed: Seed
    """Of this video: the one in `settings`, unless it was chosen among candidates.  It gives this video alone."""
    weights_revision: str
    """The hub's commit, or "sha256:" and the hash of the local files."""
    device: str
    dtype: str
    vae_tiling: bool
    encoding: Encoding
    versions: dict[str, str] = Field(default_factory=installed_versions)
    seconds: dict[str, float]
    """By stage."""
