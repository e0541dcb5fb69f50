"""Which (sprite, motion, background) triples are never trained on.

Each axis is put in the order of a hash, and a triple is held out where its three ranks sum to a multiple of
`spec.held_out`: a Latin square, so that every sprite, motion and background loses (nearly) the same share, and each
(sprite, motion) pair still sees all backgrounds but one at most.
"""

from collections.abc import Iterable
from hashlib import blake2b

from emoji_world.spec import Background, Motion, WorldSpec


def _rank(value: str, among: Iterable[str]) -> int:
    return sorted(among, key=lambda word: blake2b(word.encode()).digest()).index(value)


def is_held_out(spec: WorldSpec, sprite: str, motion: Motion, background: Background) -> bool:
    ranks = _rank(sprite, spec.sprites) + _rank(motion, spec.motions) + _rank(background, spec.backgrounds)
    return ranks % spec.held_out == 0
