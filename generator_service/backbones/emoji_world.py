"""The emoji world: CogVideoX's architecture in small, with weights in this repository.

It knows a few dozen words.  A prompt is put into those first; every word that is drawn as something else is noted.
"""

from functools import cached_property

import torch

from emoji_world import grammar
from emoji_world.adherence import measure_adherence
from emoji_world.bridge import translate
from emoji_world.detector import Detector
from emoji_world.spec import WORLD
from generator_service.backbones.base import Caption, Frames
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.emoji_staging import staged
from generator_service.contract.report import Adherence
from shared.geometry import Box
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

    def adherence(self, frames: Frames, plan: Plan) -> tuple[Adherence, ...]:
        video = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        planned = torch.tensor([track.boxes for track in plan.tracks])
        objects = staged(plan).objects
        motions = [drawn.motion for drawn in objects]
        found = measure_adherence(self._detector, video, [drawn.sprite for drawn in objects], planned, motions)
        return tuple(
            Adherence(
                instance=track.instance,
                drawn_as=its.sprite,
                detected=its.detected,
                mean_iou=round(its.mean_iou, 3),
                centre_error=round(its.centre_error, 3),
                boxes=tuple(Box(*(round(edge, 4) for edge in box)) for box in its.boxes),
            )
            for track, its in zip(plan.tracks, found, strict=True)
        )

    @cached_property
    def _detector(self) -> Detector:
        return Detector(WORLD)
