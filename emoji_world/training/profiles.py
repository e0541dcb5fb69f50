"""What to train, how long and on what: one entry per kind of machine."""

from dataclasses import dataclass, field
from typing import Literal

from emoji_world.networks import NetworkSpec
from emoji_world.spec import WORLD, WorldSpec
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


PROFILES: dict[str, Profile] = {
    "cpu": Profile(
        vae=VaeRecipe(Budget(35)),
        cached_clips=18_432,
        transformer=TransformerRecipe(Budget(65)),
        cadence=Cadence(checkpoint=240, report=20),
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
