"""What to train, how long and on what: one entry per kind of machine."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from emoji_world.networks import WEIGHTS, NetworkSpec
from emoji_world.spec import SECOND_WORLD, WORLD, WorldSpec
from emoji_world.training.loop import Budget, Cadence
from emoji_world.training.transformer import TransformerRecipe
from emoji_world.training.vae import VaeRecipe


@dataclass(frozen=True)
class Profile:
    vae: VaeRecipe | None
    """None: the autoencoder to go on from, as it is."""
    cached_clips: int
    cached_stills: int
    transformer: TransformerRecipe | None
    """None: the autoencoder alone."""
    device: Literal["cpu", "cuda"] = "cpu"
    world: WorldSpec = SECOND_WORLD
    networks: NetworkSpec = field(
        default_factory=lambda: NetworkSpec(temporal_factor=2, patch_in_time=2, heads=2, text_length=40)
    )
    cadence: Cadence = field(default_factory=Cadence)
    seed: int = 0
    start: Path | None = None
    """A pipeline folder to go on from, of any frame size; it may hold an autoencoder alone."""


IN_TRAINING = Path(__file__).parents[1] / "in_training"
"""What there is of the second world's weights."""

TWENTY_HOURS = TransformerRecipe(Budget(1200))
CPU = Profile(
    vae=VaeRecipe(Budget(120)),
    cached_clips=65_536,
    cached_stills=262_144,
    transformer=TWENTY_HOURS,
    cadence=Cadence(checkpoint=300, report=30),
)
PROFILES: dict[str, Profile] = {
    "cpu": CPU,
    "cpu-further": replace(
        CPU,
        vae=None,
        cached_clips=16_384,
        cached_stills=65_536,
        transformer=replace(TWENTY_HOURS, stills_until=0.4, alone_until=0.1),
        start=IN_TRAINING,
    ),
    "first-decoder": Profile(
        vae=VaeRecipe(Budget(25), encoder=False, crops=4, crop_frames=9, crop_px=40, shake=0.3, whole_from=0.8),
        cached_clips=0,
        cached_stills=0,
        transformer=None,
        world=WORLD,
        networks=NetworkSpec(),
        start=WEIGHTS,
    ),
    "gpu": Profile(
        vae=VaeRecipe(Budget(8), crops=128),
        cached_clips=204_800,
        cached_stills=409_600,
        transformer=TransformerRecipe(Budget(16), batch=256),
        device="cuda",
        networks=NetworkSpec(temporal_factor=2, patch_in_time=2, width=256, heads=4, text_length=40),
        cadence=Cadence(checkpoint=60, report=10),
    ),
}
