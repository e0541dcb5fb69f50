"""What to train, how long and on what: one entry per kind of machine."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from emoji_world.networks import WEIGHTS, NetworkSpec
from emoji_world.spec import WORLD, WorldSpec
from emoji_world.training.data import PAIR_SHARE
from emoji_world.training.loop import Budget, Cadence
from emoji_world.training.transformer import TransformerRecipe
from emoji_world.training.vae import VaeRecipe


@dataclass(frozen=True)
class Profile:
    vae: VaeRecipe
    cached_clips: int
    transformer: TransformerRecipe
    device: Literal["cpu", "cuda"] = "cpu"
    world: WorldSpec = WORLD
    networks: NetworkSpec = field(default_factory=NetworkSpec)
    cadence: Cadence = field(default_factory=Cadence)
    seed: int = 0
    pair_share: float = PAIR_SHARE
    """Share of cached clips with two objects."""
    start: Path | None = None
    """A pipeline folder to go on from, of any frame size: its VAE's encoder stays, everything else is trained on."""


PROFILES: dict[str, Profile] = {
    "cpu": Profile(
        vae=VaeRecipe(Budget(35)),
        cached_clips=18_432,
        transformer=TransformerRecipe(Budget(65)),
        cadence=Cadence(checkpoint=240, report=20),
    ),
    "cpu-further": Profile(
        vae=VaeRecipe(Budget(20), stills_until=0, learning_rate=5e-4, hold=0.2),
        cached_clips=18_432,
        transformer=TransformerRecipe(
            Budget(70), stills_until=0, alone_until=0, learning_rate=2e-3, hold=0.4, recognition_until=0.6
        ),
        cadence=Cadence(checkpoint=300, report=30),
        seed=3,
        pair_share=0.6,
        start=WEIGHTS,
    ),
    "gpu": Profile(
        vae=VaeRecipe(Budget(8), clip_batch=32, still_batch=192),
        cached_clips=204_800,
        transformer=TransformerRecipe(Budget(16), batch=256),
        device="cuda",
        networks=NetworkSpec(width=256, heads=8),
        cadence=Cadence(checkpoint=60, report=10),
    ),
}
