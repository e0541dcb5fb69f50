"""What a graph leaves out of its prompt, by comparison with the parser's reading of the same prompt."""

from collections import Counter
from collections.abc import Iterable, Sequence

from planner_service.motion.nouns import head_phrase, known, singular
from shared.motion_graph import Instance


def missing(instances: Sequence[Instance], expected: Sequence[Instance]) -> tuple[Instance, ...]:
    """Those of the expected instances that have no counterpart: one whose name or id has the same noun.

    Only nouns that the table knows are looked for: of others the parser is not sure enough that they are things.
    """
    left = [_nouns(instance) for instance in instances]
    lost = []
    for instance in expected:
        if known(instance.name) is None:
            continue
        noun = _noun(instance.name)
        counterpart = next((index for index, nouns in enumerate(left) if noun in nouns), None)
        if counterpart is None:
            lost.append(instance)
        else:
            del left[counterpart]
    return tuple(lost)


def said(lost: Iterable[Instance]) -> Iterable[str]:
    """The message for each noun that is missing, with how many times."""
    for noun, count in Counter(_noun(instance.name) for instance in lost).items():
        yield (
            f"the prompt speaks of '{noun}', of which {count} more should be an instance: "
            "add what is missing, or call it what the prompt calls it"
        )


def _noun(name: str) -> str:
    return singular(head_phrase(name).lower().replace("-", " ").split()[-1])


def _nouns(instance: Instance) -> frozenset[str]:
    words = [*instance.name.lower().replace("-", " ").split(), *instance.id.split("_")]
    return frozenset(singular(word.strip(",.;'\"")) for word in words)
