"""The planner that asks a language model, in two calls: who is there, then what they all do.

What is wrong with an answer is mended by the call that gave it; a scene that was accepted stays.
"""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files

from pydantic import ValidationError

from planner_service.explanation import Explained
from planner_service.language_model.answers import (
    Movements,
    Scene,
    movements_schema,
    reading_of,
    reasons_of,
    scene_violations,
)
from planner_service.language_model.client import BadAnswer, LanguageModel, Message
from planner_service.language_model.completeness import certain, describe_missing, find_missing
from planner_service.language_model.derivation import derive
from planner_service.language_model.repair import repair_movements, repair_scene
from planner_service.reasoning import ATTEMPTS, Planner, Rejected
from shared.errors import PlanningFailed, Violation, violations_of
from shared.motion_graph import Instance

COMPLETIONS = ATTEMPTS + 1
"""The most that one plan takes: two answers, and every repair of either."""
PROMPTS = ("scene.md", "movements.md", "repair.md")


def prompts_version() -> str:
    """Changes with the texts of the prompts and with the schemas of the answers."""
    schemas = [json.dumps(answer.model_json_schema(), sort_keys=True) for answer in (Scene, Movements)]
    return hashlib.sha256("\0".join([*map(text, PROMPTS), *schemas]).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Draft:
    """An answer that cannot be used: a scene's, or that of the movements in a scene; "" where it was cut off."""

    text: str
    scene: Scene | None = None


@dataclass(frozen=True, kw_only=True)
class Thought(Explained):
    """What the model understood, in its own words."""

    scene: Scene
    movements: Movements


class LanguageModelPlanner:
    name = "language-model"

    def __init__(self, language_model: LanguageModel, parser: Planner | None = None) -> None:
        """`parser`: reads the same prompts, to see what the model leaves out; None: nobody looks."""
        self.model = language_model.model[:120]
        self.version = f"prompts-{prompts_version()}"
        self._language_model = language_model
        self._parser = parser
        self._texts = {name: text(name) for name in PROMPTS}

    def read(self, prompt: str, seed: int, rejected: Rejected | None) -> Explained:
        last = rejected is not None and rejected.last
        match rejected.answer if rejected is not None else None:
            case Thought(scene=scene) | Draft(scene=Scene() as scene):
                return self._ask_for_movements(prompt, seed, scene, rejected, last)
            case _:
                scene = self._ask_for_scene(prompt, seed, rejected, last)
                return self._ask_for_movements(prompt, seed, scene, None, last)

    def check(self) -> None:
        self._language_model.check()

    def _ask_for_scene(self, prompt: str, seed: int, rejected: Rejected | None, last: bool) -> Scene:
        messages = self._messages("scene.md", prompt, rejected)
        try:
            scene = self._language_model.complete(messages, Scene, seed)
        except BadAnswer as bad:
            raise Rejected(Draft(bad.text), bad.violations) from bad
        lost = find_missing(scene.nodes, certain(self._expected_instances(prompt, seed), prompt))
        if last:
            scene, lost = repair_scene(scene, lost), ()
        unsaid = tuple(Violation(field="instances", message=message) for message in describe_missing(lost))
        if violations := scene_violations(scene) + unsaid:
            raise Rejected(Draft(_serialize(scene)), violations)
        return scene

    def _ask_for_movements(
        self, prompt: str, seed: int, scene: Scene, rejected: Rejected | None, last: bool
    ) -> Thought:
        graph = scene.graph.model_dump_json(exclude_defaults=True)
        messages = self._messages("movements.md", f"{prompt}\n\n{graph}", rejected)
        try:
            movements = self._language_model.complete(
                messages, Movements, seed, movements_schema(scene.graph), lambda said: derive(said, scene.graph)
            )
        except BadAnswer as bad:
            raise Rejected(Draft(bad.text, scene), bad.violations) from bad
        if last:
            movements = repair_movements(movements, scene)
        try:
            reading = reading_of(scene, movements)
        except ValidationError as error:
            raise Rejected(Draft(_serialize(movements), scene), violations_of(error)) from error
        return Thought(reading, tuple(reasons_of(prompt, scene, movements)), scene=scene, movements=movements)

    def _messages(self, instructions: str, asked: str, rejected: Rejected | None) -> list[Message]:
        messages: list[Message] = [
            {"role": "system", "content": self._texts[instructions]},
            {"role": "user", "content": asked},
        ]
        if rejected is not None:
            if answer := _answer(rejected.answer):
                messages.append({"role": "assistant", "content": answer})
            reasons = "\n".join(f"- {reason.field}: {reason.message}" for reason in rejected.reasons)
            messages.append({"role": "user", "content": self._texts["repair.md"].format(asked=asked, reasons=reasons)})
        return messages

    def _expected_instances(self, prompt: str, seed: int) -> tuple[Instance, ...]:
        if self._parser is None:
            return ()
        try:
            return self._parser.read(prompt, seed, None).reading.graph.instances
        except PlanningFailed:
            return ()


def _answer(rejected: object) -> str:
    match rejected:
        case Draft(text=written):
            return written
        case Thought(movements=movements):
            return _serialize(movements)
    return ""


def _serialize(answer: Scene | Movements) -> str:
    """As the model writes it: what may be left out is left out."""
    return answer.model_dump_json(exclude_defaults=True)


def text(name: str) -> str:
    return files(__package__).joinpath("prompts", name).read_text(encoding="utf-8")
