"""Worked examples, a sentence each: `sentences.txt`."""

from collections import Counter
from pathlib import Path

import pytest

from planner_service.motion.cues import Phase, Reading
from shared.motion_graph import MotionLabel

LETTERS = {MotionLabel.MOTIONLESS: "M", MotionLabel.RIGID: "R", MotionLabel.NON_RIGID: "N"}
LINES = [
    line
    for line in Path(__file__).with_name("sentences.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def said(phase: Phase) -> str:
    parts = [LETTERS[phase.label]]
    parts += ["absent"] if phase.absent else []
    parts += ["sudden"] if phase.sudden else []
    parts += [f"enters {phase.enters.value}"] if phase.enters else []
    parts += [f"leaves {phase.leaves.value}"] if phase.leaves else []
    parts += [phase.direction.value] if phase.direction else []
    parts += [f"{phase.goal.value} {phase.target}"] if phase.goal else []
    parts += [f"via {','.join(place.value for place in phase.path)}"] if phase.path else []
    parts += ["nearer"] if phase.scale > 1 else ["farther"] if phase.scale < 1 else []
    return " ".join(parts)


def told(reading: Reading) -> set[str]:
    counts = Counter(
        f"{instance.name}: {' > '.join(map(said, cues.phases))}"
        + (f" @{cues.place.value}" if cues.place else "")
        + (f" of {instance.parent}" if instance.parent else "")
        for instance, cues in zip(reading.graph.instances, reading.cues, strict=True)
    )
    return {f"{count} {line}" if count > 1 else line for line, count in counts.items()}


def listed(part: str) -> set[str]:
    return {item.strip() for item in part.split(";") if item.strip()}


@pytest.mark.parametrize("line", LINES)
def test_sentence(parser, line):
    prompt, _, expected = line.partition(" | ")
    instances, _, relations = expected.partition(" || ")
    reading = parser.read(prompt, 0, None).reading
    assert told(reading) == listed(instances)
    assert listed(relations) <= {f"{r.source} {r.phrase} {r.target}" for r in reading.graph.relations}
