"""From a spec to a backbone in memory.  The families stand here, in sight; a new one is one more line."""

from collections.abc import Callable

from generator_service.backbones.base import AnyBackbone
from generator_service.backbones.cogvideox import CogVideoX
from generator_service.backbones.cogvideox_image import CogVideoXImageToVideo
from generator_service.backbones.emoji_world import EmojiWorld
from generator_service.backbones.videocrafter2 import VideoCrafter2
from generator_service.backbones.wan import Wan
from generator_service.backbones.wan_image import WanImageToVideo
from generator_service.backbones.wan_vace import WanVace
from generator_service.contract.backbones import BackboneSpec
from generator_service.settings import WorkerSettings

FAMILIES: dict[str, Callable[[BackboneSpec, WorkerSettings], AnyBackbone]] = {
    "cogvideox": CogVideoX.load,
    "cogvideox-image": CogVideoXImageToVideo.load,
    "emoji-world": EmojiWorld.load,
    "videocrafter2": VideoCrafter2.load,
    "wan": Wan.load,
    "wan-image": WanImageToVideo.load,
    "wan-vace": WanVace.load,
}


def load_backbone(spec: BackboneSpec, settings: WorkerSettings) -> AnyBackbone:
    """Seconds to minutes.  Raises WeightsMissing and RenderingFailed; nothing is ever downloaded."""
    return FAMILIES[spec.family](spec, settings)
