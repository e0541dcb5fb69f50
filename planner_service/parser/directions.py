"""Where a movement goes, from the words around its verb."""

import re
from typing import Generic, NamedTuple, TypeVar

from planner_service.motion.cues import MAXIMUM_PATH, Direction, Distance, Edge, Place

Value = TypeVar("Value")


class Found(NamedTuple, Generic[Value]):
    """What words say, and the words."""

    value: Value
    words: str


class Path(NamedTuple):
    """Places of the frame: where a movement begins, and what it goes through."""

    start: Place | None
    stops: tuple[Place, ...]


SIDE = r"(?:the )?(?:far )?{}(?:(?: - | |-)hand)?(?: side)?(?: of the (?:screen|frame|image|picture|scene|view))?"
FRAME = "(?:screen|frame|image|picture|scene|view)"
NOT_OF_A_THING = rf"(?! (?:- )?(?:hand )?(?:side )?of (?!the {FRAME}))"
"""Not followed by "of the bench": then it is about the bench, and not about the frame."""
TO_THE = r"(?:to|towards?) (?:the |its |his |her )?"
INTO_THE = r"(?:to|towards?|into) (?:the )?"
LEFT, RIGHT = SIDE.format("left"), SIDE.format("right")
TOP, BOTTOM = SIDE.format("(?:top|upper)"), SIDE.format("(?:bottom|lower)")


def _diagonal(vertical: str, edge: str, side: str) -> str:
    """ "up and to the left", "to the left and upwards", "to the upper left"."""
    return (
        rf"\b{vertical}(?:wards?)?\W+(?:and )?(?:(?:to|towards?) )?(?:the )?{side}(?:wards?)?\b{NOT_OF_A_THING}"
        rf"|\b{side}(?:wards?)? and {vertical}(?:wards?)?\b(?! (?:to|the)\b)"
        rf"|\b{INTO_THE}(?:{edge})\W+{side}\b{NOT_OF_A_THING}"
    )


EXPLICIT: tuple[tuple[str, Direction], ...] = (
    (_diagonal("up", "upper|top", "left"), Direction.UP_LEFT),
    (_diagonal("up", "upper|top", "right"), Direction.UP_RIGHT),
    (_diagonal("down", "lower|bottom", "left"), Direction.DOWN_LEFT),
    (_diagonal("down", "lower|bottom", "right"), Direction.DOWN_RIGHT),
    (rf"\b{LEFT} to {RIGHT}\b", Direction.RIGHT),
    (rf"\b{RIGHT} to {LEFT}\b", Direction.LEFT),
    (rf"\b{BOTTOM} to {TOP}\b", Direction.UP),
    (rf"\b{TOP} to {BOTTOM}\b", Direction.DOWN),
    (r"\bleftwards?\b", Direction.LEFT),
    (r"\brightwards?\b", Direction.RIGHT),
    (r"\b(?:upwards?|skywards?)\b", Direction.UP),
    (r"\bdownwards?\b", Direction.DOWN),
    (rf"\b{TO_THE}(?:far )?left\b{NOT_OF_A_THING}", Direction.LEFT),
    (rf"\b{TO_THE}(?:far )?right\b{NOT_OF_A_THING}", Direction.RIGHT),
    (r"\bfrom (?:the )?left\b", Direction.RIGHT),
    (r"\bfrom (?:the )?right\b", Direction.LEFT),
    (rf"\b{INTO_THE}(?:night |blue |open |clear )*(?:sky|top|clouds|heavens|air)\b{NOT_OF_A_THING}", Direction.UP),
    (r"\bout of the (?:water|ocean|sea|ground)\b", Direction.UP),
    (r"\b(?:to|towards?|onto) (?:the )?(?:ground|bottom|floor)\b", Direction.DOWN),
)
"""Words that name a direction whatever the verb; the first match decides."""

WITH_TRAVEL: tuple[tuple[str, Direction], ...] = (
    (r"(?<!on the )(?<!of the )(?<!from )\bleft\b(?! (?:side |hand side )?of)(?! to\b)", Direction.LEFT),
    (r"(?<!on the )(?<!of the )(?<!from )\bright\b(?! (?:side |hand side )?of)(?! to\b)", Direction.RIGHT),
    (r"\b(?:up(?! to\b)|upstairs|uphill|upstream|aloft)\b", Direction.UP),
    (r"\b(?:down|downstairs|downhill)\b", Direction.DOWN),
)
"""Words that name a direction only beside a verb of movement: not "stirs up", not "is on the right"."""

OSCILLATING = re.compile(
    r"\b(?:up and down|down and up|back and forth|to and fro|left and right|right and left|(?:from )?side to side"
    r"|in (?:a |wide |small |big |tight )*circles?|round and round|around and around)\b"
)
"""Back again and again: no direction."""
IN_A_CORNER = re.compile(r"\b(?:in|at) the (?:upper|top|lower|bottom)[ -]+(?:left|right)(?:[ -]+hand)?(?: corner)?\b")
"""Where something is, and not where it goes."""
US = "(?:the )?(?:camera|viewers?|us|screen|foreground)"
APPROACHING = re.compile(
    rf"\b(?:towards?|(?:closer|nearer) to|approach(?:es|ing|ed)?) {US}\b|\b(?:closer|nearer)\b(?! (?:to|and)\b)"
)
RECEDING = re.compile(rf"\baway from {US}\b|\binto the (?:distance|background|horizon)\b|\breced(?:es?|ing|ed)\b")
FAR = re.compile(
    r"\b(?:in|at|on) the (?:\w+ ){0,2}(?:background|distance|horizon|backdrop|rear)\b|\bfar (?:away|off)\b"
)
NEAR = re.compile(r"\bin the (?:\w+ )?foreground\b|\bin front\b(?! of)|\bup close\b")
SPEEDING_UP = re.compile(r"\b(?:accelerat\w+|speeds? up|speeding up|faster and faster)\b")
SLOWING_DOWN = re.compile(r"\b(?:slows? down|slowing down|decelerat\w+|comes? to a (?:stop|halt))\b")
SUDDENLY = re.compile(
    r"\b(?:suddenly|abruptly|all at once|all of a sudden|out of nowhere|out of the blue|in an instant|instantly)\b"
)
SLOWLY = re.compile(r"\b(?:slow|slowly|gently|gradually|leisurely|lazily|gracefully|calmly)\b")
QUICKLY = re.compile(r"\b(?:fast|quick|quickly|rapidly|swiftly|at (?:high|full) speed)\b")

PLACES: tuple[tuple[str, Place], ...] = (
    (r"\b(?:in|at|on) the (?:upper|top)[ -]left", Place.UPPER_LEFT),
    (r"\b(?:in|at|on) the (?:upper|top)[ -]right", Place.UPPER_RIGHT),
    (r"\b(?:in|at|on) the (?:lower|bottom)[ -]left", Place.LOWER_LEFT),
    (r"\b(?:in|at|on) the (?:lower|bottom)[ -]right", Place.LOWER_RIGHT),
    (rf"\b(?:in|at|on|to) the (?:far )?left\b{NOT_OF_A_THING}", Place.LEFT),
    (rf"\b(?:in|at|on|to) the (?:far )?right\b{NOT_OF_A_THING}", Place.RIGHT),
    (rf"\b(?:in|at) the (?:center|centre|middle)\b{NOT_OF_A_THING}", Place.CENTER),
    (rf"\b(?:at|on) the top\b{NOT_OF_A_THING}", Place.TOP),
    (rf"\b(?:at|on) the bottom\b{NOT_OF_A_THING}", Place.BOTTOM),
    (r"\b(?:overhead|in the sky|in the air)\b", Place.TOP),
)


EDGES: tuple[tuple[str, Edge], ...] = (
    (r"\b(?:left|leftwards?)\b", Edge.LEFT),
    (r"\b(?:right|rightwards?)\b", Edge.RIGHT),
    (r"\b(?:top|above|upwards?|up)\b", Edge.TOP),
    (r"\b(?:bottom|below|downwards?|down)\b", Edge.BOTTOM),
)
OPPOSITE_EDGE = {Edge.LEFT: Edge.RIGHT, Edge.RIGHT: Edge.LEFT, Edge.TOP: Edge.BOTTOM, Edge.BOTTOM: Edge.TOP}
PICTURE = r"(?:the )?(?:screen|frame|picture|scene|view|shot|image)"
ENTERING = re.compile(rf"\b(?:into|onto) {PICTURE}\b|\binto (?:view|frame|shot)\b")
LEAVING = re.compile(
    rf"\b(?:out of|off(?: of)?) {PICTURE}\b|\bout of (?:sight|view|frame|shot)\b|\boff[ -]*(?:screen|frame|camera)\b"
)
FROM_EDGE = re.compile(r"\b(?:from|at|on|through) (?:the )?(?:far )?(left|right|top|bottom|above|below)\b")

CORNERS = {
    "left": Place.LEFT,
    "right": Place.RIGHT,
    "top": Place.TOP,
    "bottom": Place.BOTTOM,
    "center": Place.CENTER,
    **{f"{vertical} {side}": Place(f"{level}_{side}") for vertical, level in
       (("upper", "upper"), ("top", "upper"), ("lower", "lower"), ("bottom", "lower")) for side in ("left", "right")},
}  # fmt: skip
PLAIN = frozenset((Place.LEFT, Place.RIGHT, Place.TOP, Place.BOTTOM))
"""To these one goes by a direction."""
STOP = re.compile(
    r"\b(from|to|towards?|into|through|via|passe?s?|crosse?s?|reach(?:es)?|at|in|on|then|and|,) (?:the )?(?:far )?"
    r"((?:upper|top|lower|bottom)[ -]+(?:left|right)|left|right|top|bottom|cent(?:er|re)|middle)"
    rf"(?:[ -]+hand)?(?: (?:side|corner|edge|half|part))?(?: of (?:the )?{FRAME})?\b(?! of\b)"
)


def direction_in(text: str, *, travels: bool) -> Found[Direction] | None:
    """The direction that words name; those that only do so beside a verb of movement count if `travels`."""
    text = IN_A_CORNER.sub(" ", OSCILLATING.sub(" ", text))
    for pattern, direction in EXPLICIT + (WITH_TRAVEL if travels else ()):
        if match := re.search(pattern, text):
            return Found(direction, match.group().strip())
    return None


def place_in(text: str) -> Found[Place] | None:
    for pattern, place in PLACES:
        if match := re.search(pattern, text):
            return Found(place, match.group())
    return None


def named_places(text: str) -> list[Found[Place]]:
    """The places of the frame that are named as where something is or comes to, in order."""
    return [Found(_place_of(match), match.group()) for match in STOP.finditer(text)]


def _place_of(match: re.Match[str]) -> Place:
    return CORNERS[re.sub(r"[ -]+", " ", match.group(2)).replace("centre", "center").replace("middle", "center")]


def path_in(text: str, *, alone: bool = False, arrives: bool = False) -> Found[Path] | None:
    """A way through named places, where a direction would not do: by a corner or the centre, or by several places.

    `alone`: one place is enough, for more are named elsewhere.  `arrives`: "in" and "at" say where it ends.
    """
    start: Place | None = None
    stops: list[Place] = []
    matches = list(STOP.finditer(text))
    for match in matches:
        place = _place_of(match)
        if match.group(1) in ("from", "at", "in", "on") and not stops and not arrives:
            start = place
        elif arrives or match.group(1) not in ("at", "in", "on"):
            stops.append(place)
    plain = {*stops, start} <= {Place.LEFT, Place.RIGHT, Place.TOP, Place.BOTTOM, None}
    if stops and alone:
        return Found(Path(start, tuple(stops[:MAXIMUM_PATH])), text[matches[0].start() : matches[-1].end()])
    if not stops or (plain and len(stops) < 2) or (start is None and stops[0] is not Place.CENTER and len(stops) < 2):
        return None
    if plain and start is None:
        return None  # "to the left, then to the right" is two directions
    words = text[matches[0].start() : matches[-1].end()]
    return Found(Path(start, tuple(stops[:MAXIMUM_PATH])), words)


def distance_in(text: str) -> Found[Distance] | None:
    """Whether words say that something is far from the camera, or near."""
    for pattern, distance in ((FAR, Distance.FAR), (NEAR, Distance.NEAR)):
        if match := pattern.search(text):
            return Found(distance, match.group())
    return None


def edge_in(text: str) -> Edge | None:
    """The edge of the frame that words name."""
    return next((edge for pattern, edge in EDGES if re.search(pattern, text)), None)
