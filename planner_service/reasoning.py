"""The use case: a prompt becomes a valid plan.  Sec. 3.2.

A planner reads the prompt into a motion graph and cues; code integrates them into boxes and checks the result.  What
is wrong goes back to the planner as a list, at most twice; the planner mends by rule what it can of its last answer,
and if that is not enough the planning fails with those reasons.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from planner_service.explanation import Explained, ExplainedPlan
from planner_service.motion.courses import courses
from planner_service.motion.cues import Reading
from planner_service.motion.framing import resample
from planner_service.motion.kinematics import TICKS, Course, Path, integrate, trace
from planner_service.motion.layout import Layout
from planner_service.motion.parts import attach
from planner_service.motion.placement import place
from planner_service.rules.violations import violations
from shared.errors import PlanningFailed, Violation
from shared.motion_graph import MotionLabel
from shared.plan import Phase, Plan, Track

VERSION = "1"
"""The version of rules and kinematics; a planner adds its own."""
ATTEMPTS = 3
"""The first reading, and two repairs."""


@dataclass(frozen=True)
class Request:
    prompt: str
    frames: int
    width: int
    height: int
    seed: int


class Rejected(Exception):
    """What a planner gave cannot be used, and why.

    `answer` is what it gave, for itself to know again: what it read, where that breaks a rule, or whatever it has in
    place of a reading.  `last`: no answer after the next one is asked for.
    """

    def __init__(self, answer: object, reasons: tuple[Violation, ...]) -> None:
        super().__init__("; ".join(reason.message for reason in reasons))
        self.answer = answer
        self.reasons = reasons
        self.last = False


class Planner(Protocol):
    """The port: who turns a prompt into a motion graph and cues."""

    name: str
    model: str
    version: str

    def read(self, prompt: str, seed: int, rejected: Rejected | None) -> Explained:
        """Read the prompt; `rejected` is this planner's last answer to it and what was wrong with that.

        Raises Rejected for an answer that is no reading, PlanningFailed where there is nothing to read.
        """

    def check(self) -> None:
        """Raises shared.errors.Unavailable where a reading would fail now."""


def plan(planner: Planner, request: Request) -> Plan:
    """The plan of a prompt, signed by its planner.  Raises PlanningFailed with the reasons."""
    return explained_plan(planner, request).plan


def explained_plan(planner: Planner, request: Request, instead_of: str | None = None) -> ExplainedPlan:
    """The same plan, and the planner's reasons for it; `instead_of`: the planner that was asked first, in vain."""
    rejected: Rejected | None = None
    for repairs in range(ATTEMPTS):
        try:
            explained = planner.read(request.prompt, request.seed, rejected)
            layout = lay_out(explained.reading, request)
            if found := violations(layout):
                raise Rejected(explained, found)
        except Rejected as rejection:
            rejected = rejection
            rejected.last = repairs == ATTEMPTS - 2
            continue
        return ExplainedPlan(plan=_sign(layout, planner, request, instead_of), reasons=explained.reasons)
    assert rejected is not None  # noqa: S101  # the loop ends otherwise only by returning
    raise PlanningFailed(f"after {ATTEMPTS} attempts: {rejected}", rejected.reasons)


def lay_out(reading: Reading, request: Request) -> Layout:
    """Boxes for every frame: where things start, how they move, and the parts with their wholes."""
    starts = place(reading, request.width / request.height, request.seed)
    by_instance = courses(reading, starts)
    paths: dict[str, Path] = {}
    phases: dict[str, tuple[Phase, ...]] = {}
    for name in sorted(reading.graph.ids, key=reading.graph.generation):
        parent = reading.graph[name].parent
        phases[name] = _phases(by_instance[name], request.frames)
        if parent is None:
            paths[name] = integrate(by_instance[name])
        else:
            paths[name] = attach(trace(by_instance[name]), paths[parent], starts[parent])
            phases[name] = _while_there(phases[name], phases[parent])
    tracks = tuple(
        Track.model_construct(instance=name, phases=phases[name], boxes=resample(paths[name].boxes, request.frames))
        for name in reading.graph.ids
    )
    return Layout(reading, tracks, request.frames)


def _phases(course: Course, frames: int) -> tuple[Phase, ...]:
    """The legs as frame numbers: a frame belongs to the leg during which it is sampled, or with which it coincides."""
    phases: list[Phase] = []
    start, ticks = 0, 0
    for leg in course.legs:
        ticks += leg.ticks
        end = ticks * (frames - 1) // TICKS
        if end >= start:
            phases.append(Phase(label=leg.label, start=start, end=end, absent=leg.absent))
            start = end + 1
    return tuple(phases)


def _while_there(part: tuple[Phase, ...], whole: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """A part's phases, absent in every frame in which its whole is."""
    phases = []
    for own in part:
        for theirs in whole:
            start, end = max(own.start, theirs.start), min(own.end, theirs.end)
            if start > end:
                continue
            if theirs.absent:
                phases.append(Phase(label=MotionLabel.MOTIONLESS, start=start, end=end, absent=True))
            else:
                phases.append(own.model_copy(update={"start": start, "end": end}))
    return tuple(_merge(phases))


def _merge(phases: list[Phase]) -> Iterator[Phase]:
    """Neighbours that say the same as one phase."""
    for (label, absent), group in groupby(phases, key=lambda phase: (phase.label, phase.absent)):
        same = list(group)
        yield Phase(label=label, start=same[0].start, end=same[-1].end, absent=absent)


def _sign(layout: Layout, planner: Planner, request: Request, instead_of: str | None) -> Plan:
    reading = layout.reading
    unsigned = Plan(
        prompt=request.prompt,
        graph=reading.graph,
        background=reading.background,
        tracks=tuple(Track.model_validate(track.model_dump()) for track in layout.tracks),
        depth_order=reading.depth_order,
    )
    return unsigned.sign(
        planner=planner.name,
        model=planner.model,
        version=f"{VERSION}.{planner.version}",
        seed=request.seed,
        instead_of=instead_of,
    )
