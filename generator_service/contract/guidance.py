"""What a job can say about guidance."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from shared.wire import WireModel

Branch = Literal["rcg", "gig", "sdg"]
"""Reference-conditioned (motionless), geometric-invariance (rigid) and spatial-deformation guidance (non-rigid)."""


Form = Literal["multiplicative", "additive", "share"]
"""Logits times 1 + β G, as in the paper, or plus β G; or a share of the attention, and a mask."""


def _each_once(branches: tuple[Branch, ...]) -> tuple[Branch, ...]:
    if len(set(branches)) != len(branches):
        raise ValueError("names a branch twice")
    return branches


MAXIMUM_LAYERS = 64

Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]


class GuidanceParameters(WireModel):
    """Defaults are the paper's, where it has them (Sec. 4.1)."""

    branches: Annotated[
        tuple[Branch, ...],
        Field(fail_fast=True),
        AfterValidator(_each_once),
        Field(description="Which labels are guided: rcg motionless, gig rigid, sdg non-rigid instances."),
    ] = ("rcg", "gig", "sdg")
    strength: Annotated[
        float,
        Field(
            strict=True,
            ge=0.0,
            le=100.0,
            description="β of Eq. 4, at most 5, or the share; of Eq. 3 in a U-Net.  0 is the stock model.",
        ),
    ] = 0.15
    since: Annotated[
        Share, Field(description="Noise level from which motion is guided: 1, pure noise, is from the start.")
    ] = 1.0
    until: Annotated[
        Share, Field(description="Noise level until which motion is guided: 1, pure noise, is never; 0 is to the end.")
    ] = 0.93
    """The paper's first 10 of 50 steps, both on CogVideoX-2B's schedule and on Wan's."""
    form: Annotated[
        Form,
        Field(
            description="multiplicative: logits times 1 + β G, as in the paper; additive: plus β G; share: what is "
            "motionless gives that share, below 1, of each row's attention to its reference frame, and what "
            "moves looks less, by `mask`, at what is not its own in other frames."
        ),
    ] = "multiplicative"
    mask: Annotated[
        float,
        Field(
            strict=True, ge=0.0, le=20.0, description="With the form of a share: so many logits, times Γ - 1 or Λ - 1."
        ),
    ] = 2.0
    gradient_step: Annotated[
        float,
        Field(
            strict=True,
            ge=0.0,
            le=0.1,
            description="Before each step that motion guides, the latents move so far (rms) down the loss of Eqs. 2 "
            "and 3; 0 is not at all.",
        ),
    ] = 0.0
    falloff: Annotated[
        float, Field(strict=True, gt=0.0, le=100.0, description="α of Eq. 10, per frame width and height.")
    ] = 1.0
    template_threshold: Annotated[
        Share, Field(description="Share of frames in which a cell must be foreground to belong to a rigid template.")
    ] = 0.5
    layers: Annotated[
        Annotated[tuple[Annotated[int, Field(strict=True, ge=0)], ...], Field(fail_fast=True)] | None,
        Field(max_length=MAXIMUM_LAYERS, description="Guided layers, from 0; null is all."),
    ] = None
    feature_layer: Annotated[
        int | None,
        Field(strict=True, ge=0, description="Layer behind which features are read, from 0; null is the middle one."),
    ] = None
    small_boxes: Annotated[
        bool, Field(strict=True, description="Guide instances more strongly the smaller they are.")
    ] = False
    regional: Annotated[
        bool, Field(strict=True, description="Regional prompting: each box reads its own description.")
    ] = True
    regional_until: Annotated[Share, Field(description="Noise level until which boxes read their descriptions.")] = 0.93
    base_ratio: Annotated[
        Share, Field(description="Weight of the whole prompt against the description of a region, in that region.")
    ] = 0.3
    refocus: Annotated[
        float,
        Field(
            strict=True,
            ge=0.0,
            le=100.0,
            description="Attention refocusing in a U-Net: the weight of its losses, by which each thing's words are "
            "read inside its box, and what is in its box looks at its box; 0 is not at all.",
        ),
    ] = 0.0
    refocus_until: Annotated[Share, Field(description="Noise level until which attention is refocused.")] = 0.69
    control: Annotated[
        float,
        Field(
            strict=True,
            ge=0.0,
            le=2.0,
            description="Of a network that was trained to follow boxes: the weight of the plan's, which are drawn for "
            "it; 0 is not at all.",
        ),
    ] = 0.0

    @property
    def is_off(self) -> bool:
        motion = (self.strength > 0 or self.gradient_step > 0) and self.until < self.since and bool(self.branches)
        regional = self.regional and self.regional_until < 1
        return not motion and not regional and not (self.refocus > 0 and self.refocus_until < 1)

    def over(self, defaults: "GuidanceParameters") -> "GuidanceParameters":
        """The fields that were given here, and those of `defaults` for the rest."""
        return defaults.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


OFF = GuidanceParameters(strength=0.0, gradient_step=0.0, regional=False, refocus=0.0)
"""The plain sampler."""


def _in_full(given: object) -> object:
    return OFF if given == "off" else given


GuidanceWish = Annotated[
    GuidanceParameters, BeforeValidator(_in_full, json_schema_input_type=GuidanceParameters | Literal["off"])
]
"""Parameters, or "off"."""
