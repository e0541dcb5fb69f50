"""Prompts as people type them, a line each with what anybody expects to see: `kinds.txt`."""

import re
from itertools import product
from pathlib import Path

import pytest

from planner_service import reasoning
from planner_service.reasoning import Request
from shared.errors import PlanningFailed
from shared.geometry import Box
from shared.plan import Plan

LINES = [
    line
    for line in Path(__file__).with_name("kinds.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
FRAMES = 49
MOMENTS = {"first": 0, "middle": FRAMES // 2, "last": FRAMES - 1}
WAYS = {"right": (0, 1), "left": (0, -1), "down": (1, 1), "up": (1, -1)}
FAR, STILL, ALIKE, TOUCHING = 0.05, 0.02, 0.1, 0.03


class Seen:
    """A plan, asked by words in its instances' names."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tracks = {track.instance: track for track in plan.tracks}

    def having(self, word: str) -> list[str]:
        return [i.id for i in self.plan.graph.instances if word.replace("_", " ") in i.name.lower()]

    def way(self, name: str) -> tuple[float, float]:
        track = self.tracks[name]
        shown = [box for box, there in zip(track.boxes, track.present, strict=True) if there]
        (ax, ay), (bx, by) = shown[0].center, shown[-1].center
        return bx - ax, by - ay

    def goes(self, name: str, way: str) -> bool:
        axis, sign = WAYS[way]
        return self.way(name)[axis] * sign > FAR

    def holds(self, expected: str) -> bool:
        match expected.split():
            case ["has", *words]:
                return bool(self.having(" ".join(words)))
            case ["no", *words]:
                word = re.escape(" ".join(words))
                pattern = re.compile(rf"(?<![a-z]){word}s?(?![a-z])")
                return not any(pattern.search(i.name.lower()) for i in self.plan.graph.instances)
            case ["exactly", number]:
                return len(self.plan.tracks) == int(number)
            case ["count", word, number]:
                return len(self.having(word)) == int(number)
            case [word, "goes", way]:
                return bool(self.having(word)) and all(self.goes(name, way) for name in self.having(word))
            case [word, "not", way]:
                return bool(self.having(word)) and not any(self.goes(name, way) for name in self.having(word))
            case [word, "stays"]:
                return bool(self.having(word)) and all(max(map(abs, self.way(n))) < STILL for n in self.having(word))
            case [word, "absent", half]:
                there = self.tracks[self.having(word)[0]].present
                first, second = there[: FRAMES // 2 - 1], there[FRAMES // 2 + 1 :]
                gone, here = (first, second) if half == "first" else (second, first)
                return not any(gone) and any(here)
            case [word, "at", moment, side, level]:
                x, y = self.tracks[self.having(word)[0]].boxes[MOMENTS[moment]].center
                sides = {"left": x < 0.5, "right": x > 0.5, "any": True}
                levels = {"top": y < 0.5, "bottom": y > 0.5, "any": True}
                return sides[side] and levels[level]
            case ["apart", word]:
                pairs = [(a, b) for a, b in product(self.having(word), repeat=2) if a < b]
                return bool(pairs) and all(
                    one.overlap(other) < 0.3 * one.area for a, b in pairs for one, other in self.boxes(a, b)[:1]
                )
            case [word, "motionless" | "rigid" | "non_rigid" as label]:
                return {self.plan.graph[name].label.value for name in self.having(word)} == {label}
            case ["style:" | "camera:" | "excluded:" as field, *words]:
                return any(" ".join(words) in said for said in map(str.lower, getattr(self.plan.graph, field[:-1])))
            case [relation, one, other]:
                pairs = [(a, b) for a, b in product(self.having(one), self.having(other)) if a != b]
                return any(getattr(self, f"is_{relation}")(a, b) for a, b in pairs)
        raise ValueError(expected)

    def boxes(self, a: str, b: str) -> list[tuple[Box, Box]]:
        return list(zip(self.tracks[a].boxes, self.tracks[b].boxes, strict=True))

    def is_near(self, a: str, b: str) -> bool:
        return sum(touching(*both) for both in self.boxes(a, b)) >= FRAMES / 2

    def is_in(self, a: str, b: str) -> bool:
        one, other = self.boxes(a, b)[0]
        return one.overlap(other) > 0.95 * one.area

    def is_end(self, a: str, b: str) -> bool:
        return touching(*self.boxes(a, b)[-1])

    def is_together(self, a: str, b: str) -> bool:
        return sum(abs(p - q) for p, q in zip(self.way(a), self.way(b), strict=True)) < ALIKE

    def is_bigger(self, a: str, b: str) -> bool:
        one, other = self.boxes(a, b)[0]
        return one.height > other.height

    def is_left(self, a: str, b: str) -> bool:
        return sum(one.center[0] < other.center[0] for one, other in self.boxes(a, b)) >= FRAMES / 2

    def is_behind(self, a: str, b: str) -> bool:
        """Farther in the depth order, and standing higher in the picture."""
        one, other = self.boxes(a, b)[0]
        return self.plan.depth_order.index(a) > self.plan.depth_order.index(b) and one.y1 <= other.y1 + 1e-6


def touching(a: Box, b: Box) -> bool:
    return max(b.x0 - a.x1, a.x0 - b.x1, b.y0 - a.y1, a.y0 - b.y1) < TOUCHING


def unmet(parser, line: str) -> list[str]:
    prompt, _, expected = line.partition(" | ")
    listed = [item.strip() for item in expected.split(";")]
    try:
        plan = reasoning.plan(parser, Request(prompt, FRAMES, 720, 480, 0))
    except PlanningFailed as error:
        return [] if listed == ["refused"] else [f"no plan: {error}"]
    seen = Seen(plan)
    names = ", ".join(f"{i.id}={i.name}" for i in plan.graph.instances)
    return [f"{item} ({names})" for item in listed if item == "refused" or not seen.holds(item)]


@pytest.mark.parametrize("line", LINES)
def test_kind(parser, line):
    assert unmet(parser, line) == []
