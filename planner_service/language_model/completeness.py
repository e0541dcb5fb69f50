"""What a graph leaves out of its prompt, by comparison with the parser's reading of the same prompt.

The parser can be wrong; only what is certainly missing counts.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from planner_service.motion.nouns import head_phrase, known, singular
from shared.motion_graph import Instance

NUMBERS = frozenset(
    ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "both", "dozen")
)
NUMBER_REACH = 3
"""How many words there may be from a number to its noun, the noun included: "two small brown dogs"."""


def certain(expected: Sequence[Instance], prompt: str) -> tuple[Instance, ...]:
    """Those of the parser's instances that any reading has: no parts, and of a noun without a number before it one.

    "Dogs" are two to the parser, and may be three to another reader.
    """
    numbered = set(_find_numbered(prompt, {_noun(instance.name) for instance in expected}))
    seen: Counter[str] = Counter()
    kept = []
    for instance in expected:
        noun = _noun(instance.name)
        seen[noun] += 1
        if instance.parent is None and (seen[noun] == 1 or noun in numbered):
            kept.append(instance)
    return tuple(kept)


def find_missing(instances: Sequence[Instance], expected: Sequence[Instance]) -> tuple[Instance, ...]:
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


def describe_missing(lost: Iterable[Instance]) -> Iterable[str]:
    """The message for each noun that is missing, with how many times."""
    for noun, count in Counter(_noun(instance.name) for instance in lost).items():
        yield (
            f"the prompt speaks of '{noun}', of which {count} more should be an instance: "
            "add what is missing, or call it what the prompt calls it"
        )


def _find_numbered(prompt: str, nouns: Collection[str]) -> Iterator[str]:
    """Those of the nouns that a number is said of."""
    words = re.findall(r"\w+", prompt.lower())
    for index, word in enumerate(words):
        if word in NUMBERS or word.isdecimal():
            following = map(singular, words[index + 1 : index + 1 + NUMBER_REACH])
            yield from [noun for noun in following if noun in nouns][:1]


def _noun(name: str) -> str:
    return singular(head_phrase(name).lower().replace("-", " ").split()[-1])


def _nouns(instance: Instance) -> frozenset[str]:
    words = [*instance.name.lower().replace("-", " ").split(), *instance.id.split("_")]
    return frozenset(singular(word.strip(",.;'\"")) for word in words)
