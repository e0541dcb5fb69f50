"""What a language model makes of ten prompts as people type them, and what the parser does: `make score-llm`.

    python -m benchmarks.planner_users [--weights FILE] [--answers FILE]

Asks the server that PLANNER_LANGUAGE_MODEL_URL and PLANNER_LANGUAGE_MODEL_NAME say, or serves WEIGHTS, a GGUF file, on
one thread by llama.cpp; ANSWERS takes what it was told and wrote, a call a line.  `user_prompts.json` says what people
expect of each prompt, by words in the names of instances ("retriever|dog": either one):

things          are there
nothing         is called so
counts          so many are called so
goes            net way of the centre: left, right, up, down, still
begins, ends    in that half or quarter of the frame
touch           the two, at the end
appears         in the second half, and not before

Each plan that falls short is named with what it lacks; then a row for each planner.
"""

import argparse
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Literal, TextIO, TypeVar

from pydantic import BaseModel, Field, TypeAdapter

from planner_service.language_model.client import LanguageModel
from planner_service.language_model.completion import Completion
from planner_service.language_model.planner import LanguageModelPlanner
from planner_service.motion.arrangements import gap
from planner_service.parser.planner import Parser
from planner_service.reasoning import Planner, Request, plan
from planner_service.settings import Settings
from shared.errors import LanguageModelUnavailable, ServiceError
from shared.geometry import Box
from shared.plan import Plan, Track
from shared.wire import WireModel

REPOSITORY = Path(__file__).parents[1]
CONTEXT = 8192
START_SECONDS = 300.0
COMPLETION_SECONDS = 3600.0
"""A language model on one busy core takes minutes."""
HEADER = ("planner", "prompts", "plans", "hold", "completions", "tokens", "seconds a plan: median", "most")
MOVES, RESTS, TOUCHES = 0.05, 0.02, 0.03
"""Fractions of the frame: how far at least, how far at most, and how near."""

Way = Literal["left", "right", "up", "down", "still"]


class Expected(WireModel):
    """By words in the names of instances."""

    prompt: str
    things: tuple[str, ...] = ()
    nothing: tuple[str, ...] = ()
    counts: Mapping[str, int] = Field(default_factory=dict)
    goes: Mapping[str, Way] = Field(default_factory=dict)
    begins: Mapping[str, str] = Field(default_factory=dict)
    ends: Mapping[str, str] = Field(default_factory=dict)
    touch: tuple[tuple[str, str], ...] = ()
    appears: tuple[str, ...] = ()


def shortfalls(expected: Expected, made: Plan) -> Iterator[str]:
    """What the plan lacks."""

    def called(words: str) -> list[Track]:
        return [
            track
            for instance, track in zip(made.graph.instances, made.tracks, strict=True)
            if re.search(words, instance.name, re.IGNORECASE)
        ]

    for words in expected.things:
        if not called(words):
            yield f"no {words}"
    for words in expected.nothing:
        if called(words):
            yield f"a box for {words}"
    for words, count in expected.counts.items():
        if len(called(words)) != count:
            yield f"{len(called(words))} × {words}, not {count}"
    for words, way in expected.goes.items():
        if not called(words) or not all(way in ways(track) for track in called(words)):
            yield f"{words} does not go {way}" if way != "still" else f"{words} is not still"
    for moment, places in ((0, expected.begins), (-1, expected.ends)):
        for words, place in places.items():
            if not called(words) or not all(is_in(place, seen(track)[moment]) for track in called(words)):
                yield f"{words} is not {'at first' if moment == 0 else 'at last'} {place}"
    for one, other in expected.touch:
        if not any(gap(a.boxes[-1], b.boxes[-1]) < TOUCHES for a in called(one) for b in called(other)):
            yield f"{one} does not touch {other}"
    half = made.frames // 2
    for words in expected.appears:
        if any(any(track.present[: half - 1]) or not track.present[-1] for track in called(words)):
            yield f"{words} is there too early, or not at all"


def seen(track: Track) -> list[Box]:
    return [box for box, there in zip(track.boxes, track.present, strict=True) if there]


def ways(track: Track) -> Iterator[Way]:
    boxes = seen(track)
    dx, dy = (b - a for a, b in zip(boxes[0].center, boxes[-1].center, strict=True))
    if abs(dx) > MOVES:
        yield "right" if dx > 0 else "left"
    if abs(dy) > MOVES:
        yield "down" if dy > 0 else "up"
    if max(abs(dx), abs(dy)) < RESTS:
        yield "still"


def is_in(place: str, box: Box) -> bool:
    x, y = box.center
    halves = {"left": x < 0.5, "right": x > 0.5, "upper": y < 0.5, "lower": y > 0.5}
    return all(halves[half] for half in place.split("_"))


Answer = TypeVar("Answer", bound=BaseModel)


class Noted(LanguageModel):
    """It writes down what it is told and what comes back, a call a line."""

    notes: TextIO | None = None

    def complete(self, messages: Any, answer: type[Answer], *arguments: Any, **options: Any) -> Answer:
        came: object = None
        try:
            came = made = super().complete(messages, answer, *arguments, **options)
            return made
        except Exception as error:
            came = error
            raise
        finally:
            if self.notes is not None:
                said = came.model_dump_json(exclude_defaults=True) if isinstance(came, BaseModel) else repr(came)
                written = getattr(came, "text", said)
                print(json.dumps({"told": messages[1:], "wrote": written, "came": said}), file=self.notes, flush=True)


def row(planner: Planner, prompts: list[Expected], completions: list[Completion]) -> str:
    plans, holds, seconds = 0, 0, []
    for expected in prompts:
        began = time.perf_counter()
        try:
            made = plan(planner, Request(expected.prompt, 49, 720, 480, 0))
        except ServiceError as error:
            say(f"no plan: {expected.prompt!r}: {error}")
            continue
        finally:
            seconds.append(time.perf_counter() - began)
        plans += 1
        lacks = list(shortfalls(expected, made))
        holds += not lacks
        if lacks:
            say(f"{expected.prompt!r}: {'; '.join(lacks)}")
    tokens = sum(completion.completion_tokens for completion in completions)
    figures = (len(prompts), plans, holds, len(completions), tokens, f"{median(seconds):.2f}", f"{max(seconds):.2f}")
    return f"| {planner.model} | {' | '.join(map(str, figures))} |"


@contextmanager
def served(weights: Path) -> Iterator[str]:
    """The base URL of llama.cpp with these weights."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    script = REPOSITORY / "tests" / "llm" / "serve_llama_cpp.py"
    command = [sys.executable, script, weights, str(port), str(CONTEXT)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def wait_until_ready(language_model: LanguageModel) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return language_model.check()
        except LanguageModelUnavailable as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the language model does not start: {error}") from error
        time.sleep(1)


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--weights", type=Path)
    arguments.add_argument("--answers", type=Path)
    given = arguments.parse_args()
    settings = Settings()
    listed = (REPOSITORY / "benchmarks" / "user_prompts.json").read_bytes()
    prompts = TypeAdapter(list[Expected]).validate_json(listed)
    parser = Parser()
    completions: list[Completion] = []
    with ExitStack() as stack:
        url, name = settings.language_model_url, settings.language_model_name
        if given.weights is not None and url is None:
            url, name = stack.enter_context(served(given.weights)), given.weights.stem
        rows = [row(parser, prompts, [])]
        if url is not None:
            key = settings.language_model_key
            language_model = Noted(
                url,
                name,
                key.get_secret_value() if key is not None else None,
                COMPLETION_SECONDS,
                on_completion=completions.append,
            )
            stack.callback(language_model.close)
            if given.answers is not None:
                given.answers.parent.mkdir(parents=True, exist_ok=True)
                language_model.notes = stack.enter_context(given.answers.open("w", encoding="utf-8"))
            wait_until_ready(language_model)
            completions.clear()
            rows.append(row(LanguageModelPlanner(language_model, parser), prompts, completions))
    say("\n".join([f"| {' | '.join(HEADER)} |", "| --- " * len(HEADER) + "|", *rows]))


if __name__ == "__main__":
    main()
