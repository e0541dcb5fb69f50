"""What the planner without a language model makes of many prompts, and how long that takes.

    python benchmarks/planner_parser.py PROMPTS [PROMPTS ...] [--frames 49] [--width 720] [--height 480]

PROMPTS are files with one prompt a line.  A row for each file:

plans       how many prompts gave a valid plan
outside     boxes that leave the frame, which no rule of the planner's allows
no area     boxes without width or height
jumps       boxes with a side more than 1.5 times that of the frame before, or of the frame after
instances   things that are drawn a prompt: mean, and the most
ms a plan   of a core's time, prompt to plan: median, 95th percentile and the most
"""

import argparse
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, quantiles

from planner_service import reasoning
from planner_service.motion.kinematics import MAXIMUM_GROWTH
from planner_service.parser.planner import Parser
from planner_service.reasoning import Request
from shared.errors import PlanningFailed
from shared.geometry import Box
from shared.plan import Plan

HEADER = (
    "prompts",
    "plans",
    "outside",
    "no area",
    "jumps",
    "instances: mean",
    "most",
    "ms a plan: median",
    "p95",
    "most",
)


@dataclass
class Tally:
    prompts: int = 0
    outside: int = 0
    without_area: int = 0
    jumps: int = 0
    instances: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def count(self, plan: Plan) -> None:
        self.instances.append(len(plan.tracks))
        for track in plan.tracks:
            self.outside += sum(min(box) < 0 or max(box) > 1 for box in track.boxes)
            self.without_area += sum(box.width <= 0 or box.height <= 0 for box in track.boxes)
            self.jumps += sum(growth(a, b) > MAXIMUM_GROWTH + 1e-6 for a, b in pairwise(track.boxes))

    def row(self) -> list[str]:
        return [
            f"{self.prompts:,}",
            f"{len(self.instances):,}",
            *map(str, (self.outside, self.without_area, self.jumps)),
            f"{mean(self.instances):.1f}",
            str(max(self.instances)),
            f"{1000 * median(self.seconds):.1f}",
            f"{1000 * quantiles(self.seconds, n=20)[-1]:.1f}",
            f"{1000 * max(self.seconds):.1f}",
        ]


def growth(a: Box, b: Box) -> float:
    """The larger ratio of a side to the same side in the other box."""
    return max(a.width / b.width, b.width / a.width, a.height / b.height, b.height / a.height)


def measure(parser: Parser, prompts: list[str], request: Request) -> Tally:
    tally = Tally(prompts=len(prompts))
    for prompt in prompts:
        began = time.process_time()
        try:
            made = reasoning.plan(parser, Request(prompt, request.frames, request.width, request.height, request.seed))
        except PlanningFailed as failed:
            print(f"no plan: {prompt!r}: {failed}")  # noqa: T201
            continue
        tally.seconds.append(time.process_time() - began)
        tally.count(made)
    return tally


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("prompts", type=Path, nargs="+")
    arguments.add_argument("--frames", type=int, default=49)
    arguments.add_argument("--width", type=int, default=720)
    arguments.add_argument("--height", type=int, default=480)
    given = arguments.parse_args()
    parser = Parser()
    request = Request("a dog runs", given.frames, given.width, given.height, 0)
    reasoning.plan(parser, request)  # what is read once is read now
    print(f"| file | {' | '.join(HEADER)} |")  # noqa: T201
    print("| --- " * (len(HEADER) + 1) + "|")  # noqa: T201
    for path in given.prompts:
        prompts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        print(f"| {path.stem} | {' | '.join(measure(parser, prompts, request).row())} |")  # noqa: T201


if __name__ == "__main__":
    main()
