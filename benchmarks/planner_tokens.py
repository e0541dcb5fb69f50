"""How many tokens the language model writes for a plan, and how many it would for boxes frame by frame.

    python benchmarks/planner_tokens.py TOKENIZER [PROMPTS]

TOKENIZER is a `tokenizer.json`; `make test-llm` leaves SmolLM2's in var/llm/smollm2.  PROMPTS has one prompt a line;
without it a few of our own are planned.

The answers are the parser's readings written as the language model writes them, every field of reasoning as long as
the schema lets it be, and every instance with place and size.  The boxes are
those of the plan in the format of LLM-grounded Video Diffusion (arXiv:2309.17444): for each frame a line that lists
id, name and box of every object, in pixels of 512 × 512.  They are counted twice: SmolLM2 takes a number digit by
digit, while Llama 3 has one token for up to three digits.
"""

import argparse
import re
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from tokenizers import Tokenizer

from planner_service.language_model.answers import (
    THOUGHT_CHARACTERS,
    THOUGHTS_CHARACTERS,
    Movement,
    Movements,
    Scene,
    Seen,
)
from planner_service.motion.cues import Place, Reading, Size
from planner_service.parser.planner import Parser
from planner_service.reasoning import Request, plan
from shared.plan import Plan

FRAMES = 49
CANVAS = 512
PROMPTS = (
    "a red car drives to the right while two dogs run to the left behind it and a tree stands still",
    "three ducks swim across a pond while a swan flies up",
    "a man riding a horse passes a woman who walks a dog on a beach",
    "a leaf lies on a bench, then it is blown away, while a boy and a girl chase a ball",
    "a bus and a truck pass by, with a bird perching in a tree behind",
    "a kite flies above two children who run to the right, and a boat drifts slowly",
)


def longest(text: str, characters: int) -> str:
    """So many characters of the text, over and over."""
    return "".join(islice(cycle(text + " "), characters)).strip()


def answers(prompt: str, reading: Reading) -> tuple[str, str]:
    """The two answers that say this reading, with as many thoughts as are allowed."""
    thought = longest(prompt, THOUGHT_CHARACTERS)
    thoughts = longest(prompt, THOUGHTS_CHARACTERS)
    scene = Scene(
        thoughts=thoughts,
        instances=tuple(Seen(words=thought, why=thought, node=node) for node in reading.graph.instances),
        relations=reading.graph.relations,
        background=reading.background,
        depth_order=reading.depth_order,
    )
    begins = {"place": Place.LOWER_RIGHT, "size": Size(width=0.25, height=0.35)}
    movements = Movements(
        thoughts=thoughts,
        movements=tuple(Movement(why=thought, cues=cues.model_copy(update=begins)) for cues in reading.cues),
    )
    return scene.model_dump_json(exclude_defaults=True), movements.model_dump_json(exclude_defaults=True)


def frame_by_frame(made: Plan) -> str:
    """As LLM-grounded Video Diffusion has GPT-4 write it, less the reasoning."""
    lines = []
    for frame in range(made.frames):
        objects = []
        for number, track in enumerate(made.tracks):
            box = track.boxes[frame]
            left, top, width, height = (round(CANVAS * side) for side in (box.x0, box.y0, box.width, box.height))
            name = made.graph[track.instance].name
            objects.append(f"{{'id': {number}, 'name': '{name}', 'box': [{left}, {top}, {width}, {height}]}}")
        lines.append(f"Frame {frame + 1}: [{', '.join(objects)}]")
    return "\n".join([*lines, f"Background keyword: {made.background}"])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("tokenizer", type=Path)
    arguments.add_argument("prompts", type=Path, nargs="?")
    given = arguments.parse_args()
    tokenizer = Tokenizer.from_file(str(given.tokenizer))
    prompts = given.prompts.read_text(encoding="utf-8").splitlines() if given.prompts else PROMPTS
    parser = Parser()

    def tokens(*texts: str) -> int:
        return sum(len(tokenizer.encode(text).ids) for text in texts)

    counts: dict[int, list[tuple[int, int, int]]] = {}
    for prompt in filter(None, map(str.strip, prompts)):
        reading = parser.read(prompt, 0, None).reading
        boxes = frame_by_frame(plan(parser, Request(prompt, FRAMES, 720, 480, 0)))
        spelled = tokens(boxes)
        whole = spelled - sum(len(number) - 1 for number in re.findall(r"\d+", boxes))
        counts.setdefault(len(reading.graph.instances), []).append((tokens(*answers(prompt, reading)), spelled, whole))
    print(f"| instances | prompts | two answers: median | largest | boxes of {FRAMES} frames | whole numbers |")  # noqa: T201
    print("| --- | --- | --- | --- | --- | --- |")  # noqa: T201
    for instances, rows in sorted(counts.items()):
        ours, spelled_out, in_whole = zip(*rows, strict=True)
        cells = [instances, len(rows), median(ours), max(ours), median(spelled_out), median(in_whole)]
        print("| " + " | ".join(f"{cell:,.0f}" for cell in cells) + " |")  # noqa: T201


if __name__ == "__main__":
    main()
