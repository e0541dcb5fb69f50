"""What a job can say about guidance."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from shared.wire import WireModel

Branch = Literal["rcg", "gig", "sdg"]
"""Reference-conditioned (motionless), geometric-invariance (rigid) and spatial-deformation guidance (non-rigid)."""


Form = Literal["multiplicative", "additive", "share"]
"""Logits times 1 + β G, as in the paper, or plus β G; or raised until the keys that G names hold a share of the
attention."""


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
        float, Field(strict=True, ge=0.0, le=5.0, description="β of Eq. 4, or the share; 0 is the stock model.")
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
            description="multiplicative: logits times 1 + β G, as in the paper; additive: plus β G; share: what G "
            "names is lifted to that share, below 1, of each row's attention to the video."
        ),
    ] = "multiplicative"
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

    @property
    def is_off(self) -> bool:
        motion = (self.strength > 0 or self.gradient_step > 0) and self.until < self.since and bool(self.branches)
        return not motion and not (self.regional and self.regional_until < 1)

    def over(self, defaults: "GuidanceParameters") -> "GuidanceParameters":
        """The fields that were given here, and those of `defaults` for the rest."""
        return defaults.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


OFF = GuidanceParameters(strength=0.0, regional=False)
"""The plain sampler."""


def _in_full(given: object) -> object:
    return OFF if given == "off" else given


GuidanceWish = Annotated[
    GuidanceParameters, BeforeValidator(_in_full, json_schema_input_type=GuidanceParameters | Literal["off"])
]
"""Parameters, or "off"."""
