"""Many prompts at once: plans and flat layouts as JSON lines, and a picture of each."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from planner_service import reasoning
from planner_service.drawing.picture import draw_plan
from planner_service.reasoning import Planner
from shared.errors import ServiceError
from shared.plan import Plan


@dataclass(frozen=True)
class Outcome:
    """A prompt's plan, or why there is none."""

    prompt: str
    plan: Plan | None = None
    error: str | None = None


def plan_all(planner: Planner, prompts: Iterable[str], request: reasoning.Request) -> Iterator[Outcome]:
    """One outcome for each prompt, in order; `request` gives all but the prompt."""
    for prompt in prompts:
        try:
            yield Outcome(prompt, plan=reasoning.plan(planner, replace(request, prompt=prompt)))
        except (ServiceError, ValueError) as error:
            yield Outcome(prompt, error=str(error))


def flat(plan: Plan) -> dict[str, Any]:
    """The layout alone, frame by frame; what is not there in a frame rests in its box and is marked as absent."""
    names = {instance.id: instance.name for instance in plan.graph.instances}
    return {
        "prompt": plan.prompt,
        "frames": [
            [
                {
                    "id": track.instance,
                    "name": names[track.instance],
                    "box": [round(side, 6) for side in track.boxes[frame]],
                    **({} if track.present[frame] else {"absent": True}),
                }
                for track in plan.tracks
            ]
            for frame in range(plan.frames)
        ],
    }


def flat_line(plan: Plan) -> str:
    return json.dumps(flat(plan), ensure_ascii=False)


def draw_to(folder: Path, number: int, plan: Plan, aspect: float) -> Path:
    """Write the picture of the `number`-th plan."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:04d}.png"
    draw_plan(plan, aspect).save(path)
    return path
