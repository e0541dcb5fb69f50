"""The emoji world: CogVideoX's architecture in small, with weights in this repository.

It knows a few dozen words.  A prompt is put into those first; every word that is drawn as something else is noted.
"""

from emoji_world import grammar
from emoji_world.bridge import translate
from generator_service.backbones.base import Caption
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.emoji_staging import staged
from shared.plan import Plan


class EmojiWorld(CogVideoX):
    def caption(self, prompt: str, plan: Plan | None = None) -> Caption:
        translation = translate(prompt) if plan is None else staged(plan).translation
        notes = [f"'{word}' is drawn as '{drawn_as}'" for word, drawn_as in translation.substitutions]
        if translation.ignored:
            notes.append("not drawn: " + ", ".join(f"'{word}'" for word in translation.ignored))
        return Caption(translation.caption, tuple(notes))

    def staged(self, plan: Plan) -> Plan:
        return staged(plan).plan

    def region_captions(self, plan: Plan) -> tuple[tuple[str, ...], str]:
        scene = staged(plan)
        place = scene.translation.background
        each = (grammar.caption([(drawn.sprite, drawn.motion)], place, grammar.first) for drawn in scene.objects)
        return tuple(each), grammar.first(grammar.PLACES[place])
