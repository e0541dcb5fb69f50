"""Every sprite that can be drawn, and the words captions use for it.  Plain text: no numerical libraries.

A world draws a subset of these (`spec.py`).  The tokenizer knows all of them, so a larger world keeps its tokens.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["vehicle", "boat", "flyer", "animal", "swimmer", "person", "plant", "thing"]
Facing = Literal["left", "right", "front"]
"""Where the drawn glyph looks; a sprite that moves sideways is mirrored to look ahead, a front-facing one never."""


@dataclass(frozen=True)
class Sprite:
    name: str
    glyph: str
    kind: Kind
    colour: str
    facing: Facing = "left"
    plural: str = ""
    """Where it is not the name and an s."""

    @property
    def many(self) -> str:
        return self.plural or f"{self.name}s"


SPRITES: dict[str, Sprite] = {
    sprite.name: sprite
    for sprite in (
        Sprite("car", "🚗", "vehicle", "red"),
        Sprite("taxi", "🚕", "vehicle", "yellow"),
        Sprite("truck", "🚚", "vehicle", "orange"),
        Sprite("bus", "🚌", "vehicle", "blue", plural="buses"),
        Sprite("ambulance", "🚑", "vehicle", "white"),
        Sprite("tractor", "🚜", "vehicle", "green"),
        Sprite("train", "🚂", "vehicle", "black"),
        Sprite("bicycle", "🚲", "vehicle", "gray"),
        Sprite("motorcycle", "🏍", "vehicle", "red"),
        Sprite("boat", "⛵", "boat", "orange"),
        Sprite("ship", "🚢", "boat", "gray"),
        Sprite("airplane", "✈", "flyer", "gray", "right"),
        Sprite("helicopter", "🚁", "flyer", "yellow"),
        Sprite("rocket", "🚀", "flyer", "gray", "right"),
        Sprite("balloon", "🎈", "flyer", "red", "front"),
        Sprite("kite", "🪁", "flyer", "orange", "front"),
        Sprite("dog", "🐕", "animal", "brown"),
        Sprite("cat", "🐈", "animal", "yellow"),
        Sprite("horse", "🐎", "animal", "brown"),
        Sprite("cow", "🐄", "animal", "white"),
        Sprite("pig", "🐖", "animal", "pink"),
        Sprite("sheep", "🐑", "animal", "white", plural="sheep"),
        Sprite("elephant", "🐘", "animal", "gray"),
        Sprite("tiger", "🐅", "animal", "orange"),
        Sprite("rabbit", "🐇", "animal", "gray"),
        Sprite("monkey", "🐒", "animal", "brown"),
        Sprite("bear", "🐻", "animal", "brown", "front"),
        Sprite("panda", "🐼", "animal", "white", "front"),
        Sprite("chicken", "🐓", "animal", "brown"),
        Sprite("turtle", "🐢", "animal", "green"),
        Sprite("penguin", "🐧", "animal", "black", "front"),
        Sprite("bird", "🐦", "flyer", "blue"),
        Sprite("duck", "🦆", "flyer", "brown"),
        Sprite("eagle", "🦅", "flyer", "brown"),
        Sprite("butterfly", "🦋", "flyer", "orange", "front", plural="butterflies"),
        Sprite("bee", "🐝", "flyer", "yellow"),
        Sprite("fish", "🐟", "swimmer", "blue", plural="fish"),
        Sprite("shark", "🦈", "swimmer", "gray"),
        Sprite("whale", "🐋", "swimmer", "blue"),
        Sprite("dolphin", "🐬", "swimmer", "blue"),
        Sprite("crab", "🦀", "swimmer", "red", "front"),
        Sprite("man", "🚶", "person", "blue", plural="men"),
        Sprite("woman", "💃", "person", "red", "front", "women"),
        Sprite("robot", "🤖", "person", "gray", "front"),
        Sprite("snowman", "⛄", "plant", "white", "front"),
        Sprite("tree", "🌳", "plant", "green", "front"),
        Sprite("palm", "🌴", "plant", "green", "front"),
        Sprite("flower", "🌻", "plant", "yellow", "front"),
        Sprite("leaf", "🍁", "thing", "orange", "front", plural="leaves"),
        Sprite("house", "🏠", "plant", "brown", "front"),
        Sprite("flag", "🚩", "plant", "red", "front"),
        Sprite("ball", "🏀", "thing", "orange", "front"),
        Sprite("umbrella", "☂", "thing", "purple", "front"),
        Sprite("cloud", "☁", "flyer", "white", "front"),
        Sprite("sun", "☀", "flyer", "yellow", "front"),
        Sprite("star", "⭐", "flyer", "yellow", "front"),
    )
}
