"""What follows from the rest of an answer, filled into it as it is written: before it is held against its schema.

    a phase without a label                              has the graph's; an absent one is motionless
    a phase at rest that says how it travels or deforms  moves, as the graph says it can
    no phase with the graph's label                      those that move have it; where none does, the last one
    the last phase                                       ends at 1
    phases whose ends do not rise                        are equally long
    a rigid phase that deforms, a goal of no target,
    an instance as its own target                        does, or has, not

What the graph says is motionless, and moves all the same, is the model's to mend.
"""

from typing import Any

from shared.motion_graph import MotionGraph, MotionLabel

MOTION = ("direction", "target", "path", "enters", "leaves", "manner")

Written = dict[str, Any]


def derive(movements: Any, graph: MotionGraph) -> Any:
    """The same JSON, completed in place; what is not as the schema says is left as it is."""
    labels = {instance.id: instance.label for instance in graph.instances}
    for movement in _objects(movements, "movements"):
        cues = movement.get("cues")
        if isinstance(cues, dict) and (label := labels.get(str(cues.get("instance")))) is not None:
            phases = _objects(cues, "phases")
            _derive_labels(phases, label)
            _derive_ends(phases)
            for phase in phases:
                _drop_what_cannot_be(phase, str(cues["instance"]))
    return movements


def _objects(written: Any, name: str) -> list[Written]:
    listed = written.get(name) if isinstance(written, dict) else None
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _derive_labels(phases: list[Written], label: MotionLabel) -> None:
    for phase in phases:
        if phase.get("absent"):
            phase["label"] = MotionLabel.MOTIONLESS.value
        elif "label" not in phase or (phase["label"] == MotionLabel.MOTIONLESS and _moves(phase)):
            phase["label"] = label.value
    shown = [phase for phase in phases if not phase.get("absent")]
    if label is not MotionLabel.MOTIONLESS and not any(phase["label"] == label for phase in shown):
        for phase in [phase for phase in shown if phase["label"] != MotionLabel.MOTIONLESS] or shown[-1:]:
            phase["label"] = label.value


def _moves(phase: Written) -> bool:
    return any(phase.get(key) for key in MOTION) or phase.get("scale", 1.0) != 1.0


def _derive_ends(phases: list[Written]) -> None:
    if not phases:
        return
    phases[-1].pop("until", None)
    ends = [phase.get("until", 1.0) for phase in phases]
    numbers = all(isinstance(end, int | float) for end in ends)
    if numbers and sorted(set(ends)) != ends:
        for number, phase in enumerate(phases[:-1], start=1):
            phase["until"] = round(number / len(phases), 2)


def _drop_what_cannot_be(phase: Written, instance: str) -> None:
    if phase["label"] != MotionLabel.NON_RIGID:
        phase.pop("manner", None)
    if phase.get("target") in (None, instance):
        phase.pop("target", None)
        phase.pop("goal", None)
