"""What a job asks for: the body of `POST /jobs`.

`JobRequest` is what clients send, nearly all of it optional; `RenderSettings` is the same completed with the backbone's
defaults and checked against its limits: what the workers see.
"""

import base64
import math
import re
import secrets
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, HttpUrl, StringConstraints, field_validator, model_validator

from generator_service.contract.backbones import BACKBONES, DEFAULT_BACKBONE, BackboneSpec, Positive
from generator_service.contract.guidance import OFF, GuidanceParameters, GuidanceWish
from shared.errors import InvalidRequest, Violation
from shared.plan import Plan, Prompt
from shared.wire import WireModel

MAXIMUM_SEED = 2**32 - 1
MAXIMUM_CANDIDATES = 8
JUDGED_AT = 0.4
"""Share of a candidate's steps after which it is judged."""
MAXIMUM_LOGIT_STRENGTH = 5.0
"""β of Eq. 4."""
MAXIMUM_IMAGE_BYTES = 10 * 2**20
MAXIMUM_IMAGE_PIXELS = 4096 * 4096
MAXIMUM_METADATA_ENTRIES = 16
MAXIMUM_METADATA_CHARACTERS = 500

Seed = Annotated[int, Field(strict=True, ge=0, le=MAXIMUM_SEED)]
GuidanceScale = Annotated[float, Field(strict=True, ge=1.0, le=30.0)]
StepCache = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64)],
        Annotated[str, Field(max_length=MAXIMUM_METADATA_CHARACTERS)],
    ],
    Field(max_length=MAXIMUM_METADATA_ENTRIES),
]


IMAGE_ID = r"^[0-9a-f]{32}$"
ImageId = Annotated[str, StringConstraints(pattern=IMAGE_ID)]
_DATA_URL = re.compile(r"data:image/(?:png|jpeg|webp);base64,")

PlannerChoice = Literal["auto", "language-model", "parser"]
Priority = Literal["high", "normal", "low"]


class EventType(StrEnum):
    """How a job can end; each job ends once."""

    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"


class Webhook(WireModel):
    url: Annotated[
        HttpUrl,
        Field(description="https, without user or password.", examples=["https://example.com/hooks/videos"]),
    ]
    """Where to POST the event."""
    events: Annotated[
        tuple[EventType, ...],
        Field(
            min_length=1,
            max_length=len(EventType),
            fail_fast=True,
            description="The ends to be told of; all unless given.",
        ),
    ] = tuple(EventType)

    @field_validator("url")
    @classmethod
    def _without_credentials(cls, url: HttpUrl) -> HttpUrl:
        if url.username is not None or url.password is not None:
            raise ValueError("no user or password, please: every event is signed")
        return url


class RenderSettings(WireModel):
    """Everything that determines a video, beside its prompt and plan."""

    backbone: str
    seed: Seed
    steps: Positive
    frames: Positive
    width: Positive
    height: Positive
    fps: Positive
    guidance_scale: GuidanceScale
    guidance: GuidanceParameters = OFF
    """How the plan guides the video."""
    step_cache: StepCache = 0.0
    """Where the change of a step is smaller, what the step before computed is used again; 0: nowhere."""
    candidates: Positive = 1
    """So many videos are begun, with this seed and those after it."""

    def seed_of(self, candidate: int) -> int:
        """candidate: from 0."""
        return (self.seed + candidate) % (MAXIMUM_SEED + 1)

    @property
    def judged_at(self) -> int:
        """The step after which candidates are judged by what they are going to be, and the better half goes on."""
        return math.ceil(JUDGED_AT * self.steps)

    @property
    def finalists(self) -> int:
        return (self.candidates + 1) // 2

    @property
    def steps_in_all(self) -> int:
        """Of all candidates."""
        if self.candidates == 1:
            return self.steps
        return self.candidates * self.judged_at + self.finalists * (self.steps - self.judged_at)


class JobRequest(WireModel):
    """The body of `POST /jobs`: a prompt or a plan; everything else has defaults."""

    prompt: Annotated[Prompt | None, Field(examples=["a red car drives to the right while a tree stands still"])] = None
    plan: Annotated[Plan | None, Field(description="A plan of your own: planning is skipped.")] = None
    image: Annotated[
        str | None,
        Field(
            description="What the first frame shows, for backbones that can begin with an image: the `id` of an upload "
            "(`POST /images`), or a PNG, JPEG or WebP as a data URL in base64, as far as the body's size allows.  "
            "Nothing is fetched from an address.  It is stretched to the video's size.  A plan's first boxes should be "
            "where its things are in the image.",
        ),
    ] = None
    planner: Annotated[PlannerChoice, Field(description="Who plans; ignored when a plan is given.")] = "auto"
    backbone: Annotated[str, Field(max_length=64, examples=[DEFAULT_BACKBONE])] = DEFAULT_BACKBONE
    seed: Annotated[Seed | None, Field(description="The same seed gives the same video; random if absent.")] = None
    steps: Annotated[Positive | None, Field(description="Denoising steps.", examples=[25])] = None
    frames: Annotated[Positive | None, Field(examples=[9])] = None
    width: Annotated[Positive | None, Field(description="Pixels.", examples=[96])] = None
    height: Annotated[Positive | None, Field(description="Pixels.", examples=[64])] = None
    fps: Annotated[Positive | None, Field(le=60, description="Frames a second of the MP4.", examples=[8])] = None
    guidance_scale: Annotated[
        GuidanceScale | None, Field(description="Classifier-free guidance; 1 turns it off.", examples=[3.0])
    ] = None
    guidance: Annotated[
        GuidanceWish | None,
        Field(
            description='How the plan guides the video, or "off".  Fields left out, and all of them if this is absent, '
            "are the backbone's own defaults: see GET /backbones.",
            examples=[{"branches": ["rcg", "gig"]}, "off"],
        ),
    ] = None
    step_cache: Annotated[
        StepCache,
        Field(
            description="Faster, and no longer the same video: after the guided steps, a step in which the first block "
            "of the transformer adds nearly what it added before, to within this share, reuses what all other blocks "
            "added then.  0, the default, is exact; 0.05 to 0.2 are usual.  For backbones guided by attention.",
            examples=[0.1],
        ),
    ] = 0.0
    candidates: Annotated[
        Positive,
        Field(
            le=MAXIMUM_CANDIDATES,
            description="Begin so many videos, with this seed and those after it; the better half, by how much of the "
            "plan is seen, goes on, and the best one is the result.  For backbones that find things in their videos.",
            examples=[4],
        ),
    ] = 1
    priority: Annotated[
        Priority,
        Field(
            description="The order among your own jobs that wait.  Owners take turns, however many jobs they have: a "
            "high job goes by your normal ones, and in the long run they wait the longer for it, not another owner's. "
            "Jobs that waited before it keep their turns, though: for a while you may have three turns for one of "
            "another's."
        ),
    ] = "normal"
    metadata: Annotated[Metadata, Field(description="Your own labels, given back with the job.")] = Field(
        default_factory=dict
    )
    webhook: Annotated[
        Webhook | None,
        Field(description="Where to be told that the job has ended.", examples=[{"url": "https://example.com/hooks"}]),
    ] = None

    @field_validator("image")
    @classmethod
    def _upload_or_data(cls, image: str | None) -> str | None:
        if image is not None and not is_upload(image):
            data_of(image)
        return image

    @model_validator(mode="after")
    def _prompt_or_plan(self) -> Self:
        if (self.prompt is None) == (self.plan is None):
            raise ValueError("give either a prompt or a plan, and not both: a plan carries its own prompt")
        return self

    @property
    def text(self) -> str:
        """The prompt, the plan's own where a plan was given."""
        if self.plan is not None:
            return self.plan.prompt
        assert self.prompt is not None  # noqa: S101  (validated above)
        return self.prompt

    def settings(self) -> RenderSettings:
        """Fill in the backbone's defaults and check its limits; a missing seed is drawn at random.

        Raises InvalidRequest, which names every field that the backbone cannot do.
        """
        spec = BACKBONES.get(self.backbone)
        if spec is None:
            known = ", ".join(BACKBONES)
            raise _invalid([Violation(field="backbone", message=f"'{self.backbone}' is not known; known: {known}")])
        defaults = spec.defaults
        frames = self.frames or (self.plan.frames if self.plan is not None else defaults.frames)
        settings = RenderSettings(
            backbone=spec.name,
            seed=secrets.randbelow(MAXIMUM_SEED + 1) if self.seed is None else self.seed,
            steps=self.steps or defaults.steps,
            frames=frames,
            width=self.width or defaults.width,
            height=self.height or defaults.height,
            fps=self.fps or defaults.fps,
            guidance_scale=self.guidance_scale or defaults.guidance_scale,
            guidance=spec.guidance if self.guidance is None else self.guidance.over(spec.guidance),
            step_cache=self.step_cache,
            candidates=self.candidates,
        )
        violations = [*_beyond(spec, settings), *_beyond_guidance(spec, settings)]
        if self.plan is not None and self.plan.frames != frames:
            violations.append(
                Violation(field="plan.tracks", message=f"the plan has {self.plan.frames} frames, the video {frames}")
            )
        if self.step_cache > 0 and (spec.steered != "attention" or spec.follows_boxes):
            message = f"{spec.name} has none: leave it out"
            violations.append(Violation(field="step_cache", message=message))
        if self.image is not None and spec.image == "none":
            message = f"{spec.name} cannot begin with one: leave it out, or take one of {_names_that_take_images()}"
            violations.append(Violation(field="image", message=message))
        if self.image is None and spec.image == "required":
            violations.append(Violation(field="image", message=f"{spec.name} begins with one: give it"))
        if self.candidates > 1 and not spec.finds_things:
            message = f"{spec.name} cannot choose among {self.candidates} videos: nothing finds things in them"
            violations.append(Violation(field="candidates", message=message))
        if violations:
            raise _invalid(violations)
        return settings


def is_upload(image: str) -> bool:
    """Else it is a data URL."""
    return re.fullmatch(IMAGE_ID, image) is not None


def data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def data_of(url: str) -> bytes:
    """What a data URL holds.  Raises ValueError for anything else."""
    found = _DATA_URL.match(url)
    if found is None:
        raise ValueError(
            "neither the id of an upload (32 hexadecimal digits, of POST /images) nor a data URL such as "
            "data:image/png;base64,… of a PNG, JPEG or WebP; nothing is fetched from an address"
        )
    try:
        return base64.b64decode(url[found.end() :], validate=True)
    except ValueError:
        raise ValueError("what follows base64, is no base64 (RFC 4648, section 4, with its padding)") from None


def require_affordable(settings: RenderSettings, maximum_work: int) -> None:
    """Raises InvalidRequest for what would keep a GPU busy too long: frames x pixels x steps over the limit."""
    pixels, steps = settings.width * settings.height, settings.steps_in_all
    if (work := settings.frames * pixels * steps) > maximum_work:
        most = maximum_work // (settings.frames * pixels)
        of_all = f", those of all {settings.candidates} candidates" if settings.candidates > 1 else ""
        message = (
            f"{settings.frames} frames of {settings.width}x{settings.height} pixels in {steps} steps are "
            f"{work:,} pixel steps, and {maximum_work:,} are allowed: at most {most} steps{of_all}"
        )
        raise _invalid([Violation(field="steps", message=message)])


def _beyond(spec: BackboneSpec, settings: RenderSettings) -> list[Violation]:
    found = []
    for name, rule in (("frames", spec.frames), ("width", spec.width), ("height", spec.height)):
        value: int = getattr(settings, name)
        if not rule.allows(value):
            found.append(Violation(field=name, message=f"{spec.name} can do {rule}, not {value}"))
    if settings.steps > spec.maximum_steps:
        found.append(Violation(field="steps", message=f"at most {spec.maximum_steps}, not {settings.steps}"))
    return found


def _beyond_guidance(spec: BackboneSpec, settings: RenderSettings) -> list[Violation]:
    guidance = settings.guidance
    asked = {"layers": max(guidance.layers or (0,)), "feature_layer": guidance.feature_layer or 0}
    found = [
        Violation(field=f"guidance.{name}", message=f"{spec.name} has layers 0 to {spec.layers - 1}, not {layer}")
        for name, layer in asked.items()
        if layer >= spec.layers
    ]
    mute = (
        ["refocus", "refocus_until"] if spec.steered == "attention" else ["form", "mask", "gradient_step", "regional"]
    )
    mute.append("regional" if spec.follows_boxes else "control")
    found += [
        Violation(field=f"guidance.{name}", message=f"{spec.name} has no such guidance: leave it out")
        for name in mute
        if getattr(guidance, name) not in (getattr(spec.guidance, name), getattr(OFF, name))
    ]
    if spec.steered == "attention" and guidance.strength > MAXIMUM_LOGIT_STRENGTH:
        message = f"at most {MAXIMUM_LOGIT_STRENGTH} with {spec.name}, not {guidance.strength}"
        found.append(Violation(field="guidance.strength", message=message))
    if guidance.form == "share" and guidance.strength >= 1:
        message = f"a share of the attention is below 1, not {guidance.strength}"
        found.append(Violation(field="guidance.strength", message=message))
    return found


def _names_that_take_images() -> str:
    return ", ".join(name for name, spec in BACKBONES.items() if spec.image != "none")


def _invalid(violations: list[Violation]) -> InvalidRequest:
    return InvalidRequest("; ".join(f"{v.field}: {v.message}" for v in violations), violations)
