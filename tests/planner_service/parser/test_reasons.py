"""Every node, label, cue and relation of the parser's has its reason, in the prompt's own words."""

import pytest

from planner_service.explanation import About

PROMPTS = (
    "A red car with a fluttering flag drives slowly to the left past two trees in a park, then suddenly stops",
    "A fox is on the left of a log, then it leaps onto it",
    "A BEE FLIES FROM THE TOP LEFT TO THE CENTER",
    "A girl in a yellow hat throws a ball to her dog while a train comes in from the right",
    "A rabbit sits in the upper left, then vanishes",
    "A left-moving bus accelerates toward the camera",
)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_nothing_is_decided_without_a_reason(parser, prompt):
    explained = parser.read(prompt, 0, None)
    reading = explained.reading
    decided = {(reason.about, reason.instance, reason.decided) for reason in explained.reasons}
    for instance, cues in zip(reading.graph.instances, reading.cues, strict=True):
        assert (About.INSTANCE, instance.id, instance.name) in decided
        wanted = [f"part of: {instance.parent}"] if instance.parent else []
        wanted += [f"place: {cues.place.value}"] if cues.place and not any(p.path for p in cues.phases) else []
        for phase in cues.phases:
            if not phase.absent:
                assert (About.LABEL, instance.id, phase.label.value) in decided
            wanted += [f"direction: {phase.direction.value}"] if phase.direction else []
            wanted += [f"goal: {phase.goal.value} {phase.target}"] if phase.goal else []
            wanted += [f"path: {', '.join(phase.path)}"] if phase.path else []
            wanted += [f"enters: {phase.enters.value}"] if phase.enters else []
            wanted += [f"leaves: {phase.leaves.value}"] if phase.leaves else []
            wanted += [f"speed: {phase.speed.value}"] if phase.speed.value != "normal" else []
            wanted += [f"pickup: {phase.pickup.value}"] if phase.pickup.value != "steady" else []
            wanted += [f"scale: {phase.scale}"] if phase.scale != 1 else []
            wanted += [f"manner: {phase.manner.value}"] if phase.manner else []
            wanted += ["sudden"] if phase.sudden else []
            wanted += ["absent"] if phase.absent else []
        for cue in wanted:
            assert (About.CUE, instance.id, cue) in decided
    for relation in reading.graph.relations:
        said = f"{relation.source} {relation.phrase} {relation.target}"
        assert (About.RELATION, relation.source, said) in decided


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_words_are_the_prompt_s(parser, prompt):
    for reason in parser.read(prompt, 0, None).reasons:
        assert all(words in prompt for words in reason.words)


@pytest.mark.parametrize(
    ("decided", "words"),
    [
        ("red car", ("A red car",)),
        ("rigid", ("drives",)),
        ("speed: slow", ("slowly",)),
        ("direction: left", ("to the left",)),
        ("part of: car", ("A red car",)),
        ("tree", ("two trees",)),
        ("car drives past tree_1", ("past",)),
        ("sudden", ("suddenly",)),
        ("background: in a park", ("in a park",)),
    ],
)
def test_which_words(parser, decided, words):
    reasons = parser.read(PROMPTS[0], 0, None).reasons
    assert next(reason.words for reason in reasons if reason.decided == decided) == words
