"""The planner that asks a language model."""

from importlib.resources import files

from pydantic import Field

from planner_service.cues import Reading
from planner_service.explanation import Explained
from planner_service.language_model import BadAnswer, LanguageModel, Message
from planner_service.reasoning import Rejected
from shared.wire import WireModel

PROMPT_VERSION = "1"
"""To be raised with every change of a text in `prompts/`."""


class Answer(WireModel):
    """What the model writes: first what it thinks, then what it decides."""

    thoughts: str = Field(max_length=1000)
    """Two or three sentences: which things there are, how each moves, where each begins."""
    reading: Reading


class LanguageModelPlanner:
    name = "language-model"
    version = f"prompts-{PROMPT_VERSION}"

    def __init__(self, language_model: LanguageModel) -> None:
        self.model = language_model.model[:120]
        self._language_model = language_model
        self._instructions = _text("plan.md")
        self._repair = _text("repair.md")

    def read(self, prompt: str, seed: int, rejected: Rejected | None) -> Explained:
        messages: list[Message] = [
            {"role": "system", "content": self._instructions},
            {"role": "user", "content": prompt},
        ]
        if rejected is not None:
            reasons = "\n".join(f"- {reason.field}: {reason.message}" for reason in rejected.reasons)
            if rejected.answer:
                messages.append({"role": "assistant", "content": _as_written(rejected.answer)})
            messages.append({"role": "user", "content": self._repair.replace("{reasons}", reasons)})
        try:
            return Explained(self._language_model.complete(messages, Answer, seed).reading)
        except BadAnswer as answer:
            raise Rejected(answer.text, answer.violations) from answer

    def check(self) -> None:
        self._language_model.check()


def _as_written(answer: Reading | str) -> str:
    """In the form in which the model is to answer again; of a reading, its thoughts are not kept."""
    return answer if isinstance(answer, str) else Answer(thoughts="", reading=answer).model_dump_json()


def _text(name: str) -> str:
    return files(__package__).joinpath("prompts", name).read_text(encoding="utf-8")
