"""Relations that boxes can show: from an edge's phrase to something that can be checked.

The 2-D ones are those of T2V-CompBench's spatial metric: "left of" means that the centres are farther apart in x
than in y, and so on.  Depth is a matter of order first; boxes show it where the farther one is partly covered.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import cache

from shared.geometry import Box
from shared.motion_graph import MotionGraph, Relation, RelationKind
from shared.wordnet import base_form, supersense

TOUCHING = 0.06
"""How far apart "on" may be, a fraction of the frame's height."""
NEAR = 0.25
"""How far apart "next to", "behind" and "in front of" may be, a fraction of the frame."""
HIDDEN = 0.9
"""How much of what is behind may be covered by what is in front of it."""


class Arrangement(StrEnum):
    LEFT_OF = "left of"
    RIGHT_OF = "right of"
    ABOVE = "above"
    ON = "on"
    BELOW = "below"
    IN = "in"
    NEXT_TO = "next to"
    BEHIND = "behind"
    IN_FRONT_OF = "in front of"
    TOWARD = "toward"
    AWAY_FROM = "away from"
    PAST = "past"
    AT = "at"  # within reach: who works at a table, what leans against a wall


DEPTH = (Arrangement.BEHIND, Arrangement.IN_FRONT_OF)

PHRASES: dict[str, Arrangement] = {
    phrase: arrangement
    for arrangement, phrases in {
        Arrangement.LEFT_OF: ("left of", "left side of"),
        Arrangement.RIGHT_OF: ("right of", "right side of"),
        Arrangement.ABOVE: ("above", "over"),
        Arrangement.ON: ("on", "onto", "upon", "atop", "top of", "on the back of", "along", "across"),
        Arrangement.BELOW: ("below", "under", "underneath", "beneath", "bottom of"),
        Arrangement.IN: ("in", "inside", "into", "within"),
        Arrangement.NEXT_TO: ("next to", "beside", "alongside", "near", "close to", "by"),
        Arrangement.BEHIND: ("behind", "back of"),
        Arrangement.IN_FRONT_OF: ("in front of", "front of"),
        Arrangement.TOWARD: ("toward", "towards"),
        Arrangement.AWAY_FROM: ("away from",),
        Arrangement.PAST: ("past", "pass", "passes", "passing", "passes by", "passing by", "pass by", "overtakes"),
        Arrangement.AT: ("at", "against", "with", "around"),
    }.items()
    for phrase in phrases
}  # fmt: skip

NO_END = ("by", "along", "across")
"""What says of a movement who does it, or the way: nothing about where it ends."""
REACHING = frozenset(
    ("verb.body", "verb.change", "verb.competition", "verb.consumption", "verb.contact", "verb.creation", "verb.motion",
     "verb.possession", "verb.social", "verb.stative")
)  # fmt: skip
"""WordNet's kinds of verbs that are done within reach: all but seeing, saying, feeling and thinking."""
WITH_HANDS = frozenset(("read", "catch", "pick", "examine", "touch", "sniff", "smell", "tickle", "strum", "type"))
AT_A_DISTANCE = frozenset(
    ("chase", "follow", "pursue", "pass", "approach", "overtake", "leave", "avoid", "escape", "guard", "seek",
     "hunt", "find", "lose", "want", "need", "join", "await", "photograph", "film", "resemble", "face", "light")
)  # fmt: skip


def arrangement_of(phrase: str, kind: RelationKind) -> Arrangement | None:
    """What an edge asks of the boxes: "sits on the left side of" is LEFT_OF; None if nothing checkable.

    A dynamic "by" is no place: "is chased by" says who does it.  A verb alone is reached for: "stirs" is AT.
    """
    words = phrase.lower().split()
    spaced = f" {' '.join(words)} "
    found = max((words for words in PHRASES if f" {words} " in spaced), key=len, default=None)
    if kind is RelationKind.SPATIAL:
        return PHRASES[found] if found is not None else None
    if found is None:
        return Arrangement.AT if len(words) == 1 and is_reached_for(base_form(words[0])) else None
    if found == "at" and not is_reached_for(base_form(words[0])):
        return None  # "looks at"
    return None if found in NO_END else PHRASES[found]


@cache
def is_reached_for(verb: str) -> bool:
    """Whether who does it to something is where that is: who stirs or hugs it, but not who watches it."""
    if verb in WITH_HANDS or verb in AT_A_DISTANCE:
        return verb in WITH_HANDS
    return (kind := supersense(verb, "verb")) is not None and kind in REACHING


def holds(arrangement: Arrangement, a: Box, b: Box) -> bool:
    """Whether `a` is so placed with respect to `b`; depth order and movement are not a matter of one frame's boxes."""
    (ax, ay), (bx, by) = a.center, b.center
    dx, dy = ax - bx, ay - by
    match arrangement:
        case Arrangement.LEFT_OF:
            return dx < 0 and abs(dx) > abs(dy)
        case Arrangement.RIGHT_OF:
            return dx > 0 and abs(dx) > abs(dy)
        case Arrangement.ABOVE:
            return dy < 0 and abs(dy) > abs(dx)
        case Arrangement.ON:
            return dy < 0 and (abs(dy) > abs(dx) or b.x0 <= ax <= b.x1) and a.y1 > b.y0 - TOUCHING
        case Arrangement.BELOW:
            return dy > 0 and abs(dy) > abs(dx)
        case Arrangement.IN:
            return b.x0 <= ax <= b.x1 and b.y0 <= ay <= b.y1
        case Arrangement.NEXT_TO | Arrangement.AT:
            return gap(a, b) <= NEAR
        case Arrangement.BEHIND:
            return _shows_depth(far=a, near=b)
        case Arrangement.IN_FRONT_OF:
            return _shows_depth(far=b, near=a)
        case Arrangement.TOWARD | Arrangement.AWAY_FROM | Arrangement.PAST:
            return True


def is_attachment(graph: MotionGraph, relation: Relation) -> bool:
    """Whether it says of a part and its whole that one is on or in the other, which is what being a part means."""
    ends = (graph[relation.source].parent, graph[relation.target].parent)
    return arrangement_of(relation.phrase, relation.kind) in (Arrangement.ON, Arrangement.IN) and (
        relation.target == ends[0] or relation.source == ends[1]
    )


def depths(relations: Sequence[Relation]) -> Iterator[tuple[int, str, str]]:
    """What the relations say of depth: index, which is farther, and than which."""
    for index, relation in enumerate(relations):
        match arrangement_of(relation.phrase, relation.kind):
            case Arrangement.BEHIND:
                yield index, relation.source, relation.target
            case Arrangement.IN_FRONT_OF:
                yield index, relation.target, relation.source


def find_misordered(relations: Sequence[Relation], depth_order: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Those of `depths` that an order from near to far contradicts."""
    for index, far, near in depths(relations):
        if depth_order.index(far) < depth_order.index(near):
            yield index, far, near


def passes(before: tuple[Box, Box], after: tuple[Box, Box]) -> bool:
    """Whether the order of the two changes along the axis on which they move most against one another."""
    (a, b), (c, d) = before, after
    apart = [p - q for p, q in zip(a.center, b.center, strict=True)]
    later = [p - q for p, q in zip(c.center, d.center, strict=True)]
    axis = max((0, 1), key=lambda axis: abs(later[axis] - apart[axis]))
    return apart[axis] * later[axis] < 0


def _shows_depth(far: Box, near: Box) -> bool:
    """They are together, and enough of the farther one is to be seen."""
    return gap(far, near) <= NEAR and far.overlap(near) <= HIDDEN * far.area


def gap(a: Box, b: Box) -> float:
    """The larger of the two distances between the boxes' sides, 0 where they overlap."""
    return max(0.0, a.x0 - b.x1, b.x0 - a.x1, a.y0 - b.y1, b.y0 - a.y1)
