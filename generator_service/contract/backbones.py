"""The table of checkpoints: each backbone's network, limits and defaults.

A new checkpoint of a known family is one entry here.  A new family is one more file in `backbones/` and its line in
`backbones/load.py`.
"""

from typing import Annotated, Literal

from pydantic import Field

from generator_service.contract.guidance import GuidanceParameters
from shared.wire import WireModel

Positive = Annotated[int, Field(strict=True, ge=1)]


class FrameRule(WireModel):
    """The frame counts a network can do: `minimum`, `minimum + step`, … `maximum`."""

    minimum: Positive
    maximum: Positive
    step: Positive

    def allows(self, frames: int) -> bool:
        return self.minimum <= frames <= self.maximum and (frames - self.minimum) % self.step == 0

    def __str__(self) -> str:
        if self.minimum == self.maximum:
            return f"{self.minimum}"
        return f"{self.minimum} to {self.maximum} in steps of {self.step}"


class SizeRule(WireModel):
    """The widths or heights a network can do, in pixels."""

    minimum: Positive
    maximum: Positive
    step: Positive

    def allows(self, size: int) -> bool:
        return self.minimum <= size <= self.maximum and size % self.step == 0

    def __str__(self) -> str:
        if self.minimum == self.maximum:
            return f"{self.minimum}"
        return f"multiples of {self.step} from {self.minimum} to {self.maximum}"


class Defaults(WireModel):
    frames: Positive
    width: Positive
    height: Positive
    fps: Positive
    steps: Positive
    guidance_scale: Annotated[float, Field(ge=1.0)]


class BackboneSpec(WireModel):
    name: str
    family: Literal["cogvideox", "cogvideox-image", "emoji-world", "videocrafter2", "wan", "wan-image", "wan-vace"]
    summary: str
    weights: str
    """A name on the hub, "packaged" for weights that come with this software, or "converted" for those that `convert`
    makes of a public checkpoint."""
    license: str
    frames: FrameRule
    width: SizeRule
    height: SizeRule
    maximum_steps: Positive
    layers: Positive
    """Of the denoising network, as `guidance.layers` counts them."""
    steered: Literal["attention", "gradient"] = "attention"
    """How a plan guides it: a DiT by its attention, a U-Net by gradients of what it attends to."""
    follows_boxes: bool = False
    """Whether it was trained to follow boxes that are drawn for it."""
    finds_things: bool = False
    """Whether it can be told what of a plan is seen in its videos."""
    image: Literal["none", "optional", "required"] = "none"
    """Whether a video may begin with an image that is given."""
    defaults: Defaults
    guidance: GuidanceParameters = GuidanceParameters()
    """Its defaults; the class's own are the paper's."""


EMOJI_WORLD = BackboneSpec(
    name="emoji-world",
    family="emoji-world",
    summary="CogVideoX's architecture in small, trained on moving emoji; runs in seconds on a CPU",
    weights="packaged",
    license="Apache-2.0; sprites: Noto Color Emoji, OFL-1.1",
    frames=FrameRule(minimum=9, maximum=9, step=8),
    width=SizeRule(minimum=96, maximum=96, step=8),
    height=SizeRule(minimum=64, maximum=64, step=8),
    maximum_steps=200,
    layers=6,
    finds_things=True,
    defaults=Defaults(frames=9, width=96, height=64, fps=8, steps=25, guidance_scale=3.0),
    guidance=GuidanceParameters(
        form="additive", strength=0.3, since=0.94, until=0.74, feature_layer=4, regional_until=0.47
    ),
)

COGVIDEOX_2B = BackboneSpec(
    name="cogvideox-2b",
    family="cogvideox",
    summary="CogVideoX-2B, the DiT of the paper's experiments",
    weights="zai-org/CogVideoX-2b",
    license="Apache-2.0",
    frames=FrameRule(minimum=9, maximum=49, step=8),
    width=SizeRule(minimum=720, maximum=720, step=16),
    height=SizeRule(minimum=480, maximum=480, step=16),
    maximum_steps=200,
    layers=30,
    defaults=Defaults(frames=49, width=720, height=480, fps=8, steps=50, guidance_scale=6.0),
)

COGVIDEOX_5B_I2V = COGVIDEOX_2B.model_copy(
    update={
        "name": "cogvideox-5b-i2v",
        "family": "cogvideox-image",
        "summary": "CogVideoX-5B that begins with an image",
        "weights": "zai-org/CogVideoX-5b-I2V",
        "license": "CogVideoX's own",
        "frames": FrameRule(minimum=49, maximum=49, step=8),  # its positions are learned, for this length
        "layers": 42,
        "image": "required",
    }
)

WAN_2_1_T2V_1_3B = BackboneSpec(
    name="wan2.1-t2v-1.3b",
    family="wan",
    summary="Wan 2.1, the small one",
    weights="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    license="Apache-2.0",
    frames=FrameRule(minimum=5, maximum=81, step=4),
    width=SizeRule(minimum=480, maximum=832, step=16),
    height=SizeRule(minimum=480, maximum=832, step=16),
    maximum_steps=200,
    layers=30,
    defaults=Defaults(frames=81, width=832, height=480, fps=16, steps=50, guidance_scale=5.0),
)

WAN_2_1_VACE_1_3B = WAN_2_1_T2V_1_3B.model_copy(
    update={
        "name": "wan2.1-vace-1.3b",
        "family": "wan-vace",
        "summary": "Wan 2.1, the small one, trained to follow boxes that are drawn for it",
        "weights": "Wan-AI/Wan2.1-VACE-1.3B-diffusers",
        "follows_boxes": True,
        "guidance": GuidanceParameters(strength=0.0, regional=False, control=1.0),
    }
)

WAN_2_1_T2V_14B = WAN_2_1_T2V_1_3B.model_copy(
    update={
        "name": "wan2.1-t2v-14b",
        "summary": "Wan 2.1, the large one",
        "weights": "Wan-AI/Wan2.1-T2V-14B-Diffusers",
        "width": SizeRule(minimum=480, maximum=1280, step=16),
        "height": SizeRule(minimum=480, maximum=1280, step=16),
        "layers": 40,
    }
)

WAN_2_2_T2V_A14B = WAN_2_1_T2V_14B.model_copy(
    update={
        "name": "wan2.2-t2v-a14b",
        "summary": "Wan 2.2, two experts of 14 billion parameters, of which the first takes the noisy steps",
        "weights": "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
        "defaults": Defaults(frames=81, width=832, height=480, fps=16, steps=40, guidance_scale=4.0),
    }
)

WAN_2_1_I2V_14B = WAN_2_1_T2V_1_3B.model_copy(
    update={
        "name": "wan2.1-i2v-14b",
        "family": "wan-image",
        "summary": "Wan 2.1, the large one that begins with an image",
        "weights": "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
        "layers": 40,
        "image": "required",
    }
)

WAN_2_2_I2V_A14B = WAN_2_2_T2V_A14B.model_copy(
    update={
        "name": "wan2.2-i2v-a14b",
        "family": "wan-image",
        "summary": "Wan 2.2, two experts of 14 billion parameters that begin with an image",
        "weights": "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
        "defaults": Defaults(frames=81, width=832, height=480, fps=16, steps=40, guidance_scale=3.5),
        "image": "required",
    }
)

WAN_2_2_TI2V_5B = BackboneSpec(
    name="wan2.2-ti2v-5b",
    family="wan-image",
    summary="Wan 2.2 with a VAE that compresses more; it may begin with an image",
    weights="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    license="Apache-2.0",
    frames=FrameRule(minimum=5, maximum=121, step=4),
    width=SizeRule(minimum=704, maximum=1280, step=32),
    height=SizeRule(minimum=704, maximum=1280, step=32),
    maximum_steps=200,
    layers=30,
    image="optional",
    defaults=Defaults(frames=121, width=1280, height=704, fps=24, steps=50, guidance_scale=5.0),
    guidance=GuidanceParameters(until=0.955, regional_until=0.955),  # its schedule begins with more noise
)

VIDEOCRAFTER2 = BackboneSpec(
    name="videocrafter2",
    family="videocrafter2",
    summary="VideoCrafter2, the U-Net of the paper's experiments",
    weights="converted",
    license="the checkpoint's page says Apache-2.0, the source's README research and no commercial use",
    frames=FrameRule(minimum=8, maximum=32, step=1),
    width=SizeRule(minimum=256, maximum=640, step=64),
    height=SizeRule(minimum=256, maximum=640, step=64),
    maximum_steps=200,
    layers=16,
    steered="gradient",
    defaults=Defaults(frames=16, width=512, height=320, fps=28, steps=50, guidance_scale=12.0),
    guidance=GuidanceParameters(
        strength=10.0,
        until=0.69,  # 25 of 50 steps, on its schedule
        layers=(7, 8, 9),  # on the way up, of 10 × 16 places
        feature_layer=9,
        regional=False,
        refocus=10.0,
    ),
)

BACKBONES: dict[str, BackboneSpec] = {
    spec.name: spec
    for spec in (
        EMOJI_WORLD,
        COGVIDEOX_2B,
        COGVIDEOX_5B_I2V,
        VIDEOCRAFTER2,
        WAN_2_1_T2V_1_3B,
        WAN_2_1_VACE_1_3B,
        WAN_2_1_T2V_14B,
        WAN_2_1_I2V_14B,
        WAN_2_2_T2V_A14B,
        WAN_2_2_I2V_A14B,
        WAN_2_2_TI2V_5B,
    )
}

DEFAULT_BACKBONE = EMOJI_WORLD.name
