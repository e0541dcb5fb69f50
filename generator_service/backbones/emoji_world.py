"""The emoji world: CogVideoX's architecture in small, with weights in this repository.

It knows a few dozen words.  A prompt is put into those first; every word that is drawn as something else is noted.
"""

from emoji_world.bridge import translate
from generator_service.backbones.base import Caption
from generator_service.backbones.cogvideox import CogVideoX


class EmojiWorld(CogVideoX):
    def caption(self, prompt: str) -> Caption:
        translation = translate(prompt)
        notes = [f"'{word}' is drawn as '{drawn_as}'" for word, drawn_as in translation.substitutions]
        if translation.ignored:
            notes.append("not drawn: " + ", ".join(f"'{word}'" for word in translation.ignored))
        return Caption(translation.caption, tuple(notes))
