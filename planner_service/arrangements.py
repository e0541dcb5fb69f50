"""Relations that boxes can show: from an edge's phrase to something that can be checked.

The 2-D ones are those of T2V-CompBench's spatial metric: "left of" means that the centres are farther apart in x
than in y, and so on.  Depth is a matter of `depth_order`, not of boxes.
"""

from enum import StrEnum

from shared.geometry import Box

TOUCHING = 0.06
"""How far apart "on" may be, a fraction of the frame's height."""
NEAR = 0.25
"""How far apart "next to" may be, a fraction of the frame."""


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


PHRASES: dict[str, Arrangement] = {
    "left of": Arrangement.LEFT_OF,
    "left side of": Arrangement.LEFT_OF,
    "right of": Arrangement.RIGHT_OF,
    "right side of": Arrangement.RIGHT_OF,
    "above": Arrangement.ABOVE,
    "over": Arrangement.ABOVE,
    "on": Arrangement.ON,
    "onto": Arrangement.ON,
    "upon": Arrangement.ON,
    "atop": Arrangement.ON,
    "top of": Arrangement.ON,
    "below": Arrangement.BELOW,
    "under": Arrangement.BELOW,
    "underneath": Arrangement.BELOW,
    "beneath": Arrangement.BELOW,
    "bottom of": Arrangement.BELOW,
    "in": Arrangement.IN,
    "inside": Arrangement.IN,
    "into": Arrangement.IN,
    "within": Arrangement.IN,
    "next to": Arrangement.NEXT_TO,
    "beside": Arrangement.NEXT_TO,
    "alongside": Arrangement.NEXT_TO,
    "near": Arrangement.NEXT_TO,
    "close to": Arrangement.NEXT_TO,
    "by": Arrangement.NEXT_TO,
    "behind": Arrangement.BEHIND,
    "back of": Arrangement.BEHIND,
    "in front of": Arrangement.IN_FRONT_OF,
    "front of": Arrangement.IN_FRONT_OF,
    "toward": Arrangement.TOWARD,
    "towards": Arrangement.TOWARD,
    "away from": Arrangement.AWAY_FROM,
}


def arrangement_of(phrase: str) -> Arrangement | None:
    """What an edge's phrase asks of the boxes: "sits on the left side of" is LEFT_OF; None if nothing checkable."""
    spaced = f" {' '.join(phrase.lower().split())} "
    found = [words for words in PHRASES if f" {words} " in spaced]
    return PHRASES[max(found, key=len)] if found else None


def holds(arrangement: Arrangement, a: Box, b: Box) -> bool:
    """Whether `a` is so placed with respect to `b`; depth and movement are not a matter of one frame's boxes."""
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
            return dy < 0 and abs(dy) > abs(dx) and a.y1 > b.y0 - TOUCHING
        case Arrangement.BELOW:
            return dy > 0 and abs(dy) > abs(dx)
        case Arrangement.IN:
            return b.x0 <= ax <= b.x1 and b.y0 <= ay <= b.y1
        case Arrangement.NEXT_TO:
            return gap(a, b) <= NEAR
        case Arrangement.BEHIND | Arrangement.IN_FRONT_OF | Arrangement.TOWARD | Arrangement.AWAY_FROM:
            return True


def gap(a: Box, b: Box) -> float:
    """The larger of the two distances between the boxes' sides, 0 where they overlap."""
    return max(0.0, a.x0 - b.x1, b.x0 - a.x1, a.y0 - b.y1, b.y0 - a.y1)
