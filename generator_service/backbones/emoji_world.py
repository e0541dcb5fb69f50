"""The emoji world: CogVideoX's architecture in small, with weights in this repository.

It knows a few dozen words.  A plan is put into those first, and what is drawn as something else is noted; a prompt
without a plan must be of those words.
"""

import re
from functools import cached_property
from typing import Self

import torch

from emoji_world import grammar
from emoji_world.adherence import measure_adherence
from emoji_world.convolutions import split_convolutions
from emoji_world.detector import Detector
from emoji_world.spec import WORLD
from generator_service.backbones.base import Frames, Scene
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.emoji_scene import EmojiScene, emoji_scene
from generator_service.contract.backbones import BackboneSpec
from generator_service.contract.report import Adherence
from generator_service.settings import WorkerSettings
from shared.geometry import Box
from shared.plan import Plan


class EmojiWorld(CogVideoX):
    @classmethod
    def load(cls, spec: BackboneSpec, settings: WorkerSettings) -> Self:
        """Raises as CogVideoX's does.  Never decodes in tiles: diffusers cuts those of so small a network to a video of
        another size."""
        backbone = super().load(spec, settings.model_copy(update={"vae_tiling": False}))
        if backbone.device.type == "cpu" and backbone.pipeline.vae.dtype == torch.float32:
            split_convolutions(backbone.pipeline.vae)
        return backbone

    def scene(self, prompt: str, plan: Plan | None) -> Scene:
        if plan is not None:
            return emoji_scene(plan)
        words, known = re.findall(r"[a-z]+", prompt.lower()), set(grammar.words())
        unknown = ", ".join(f"'{word}'" for word in words if word not in known)
        return Scene(
            caption=" ".join(word for word in words if word in known),
            notes=(f"words that are not known: {unknown}",) if unknown else (),
        )

    def adherence(self, frames: Frames, scene: Scene) -> tuple[Adherence, ...] | None:
        if scene.plan is None:
            return None
        if not isinstance(scene, EmojiScene):
            raise TypeError("Got another backbone's scene but expected an EmojiScene")
        video = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        planned = torch.tensor([track.boxes for track in scene.tracks])
        motions = [drawn.motion for drawn in scene.objects]
        sprites = [drawn.sprite for drawn in scene.objects]
        found = measure_adherence(self._detector, video, sprites, planned, motions)
        return tuple(
            Adherence(
                instance=track.instance,
                drawn_as=its.sprite,
                detected=its.detected,
                mean_iou=round(its.mean_iou, 3),
                centre_error=round(its.centre_error, 3),
                boxes=tuple(Box(*(round(edge, 4) for edge in box)) for box in its.boxes),
            )
            for track, its in zip(scene.tracks, found, strict=True)
        )

    @cached_property
    def _detector(self) -> Detector:
        return Detector(WORLD)
