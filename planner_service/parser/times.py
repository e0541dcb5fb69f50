"""When in the clip something is seen: "only in the second half", "is gone at the end"."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from planner_service.parser.actions import Action

CLIP = r"(?: of the (?:video|clip|film|movie|shot|footage|scene|animation|sequence))?"
HALVES: tuple[tuple[re.Pattern[str], bool, float], ...] = (
    (re.compile(rf"\b(?:in|during|for|throughout) the (?:first|opening|initial) (?:half|part){CLIP}"), False, 0.5),
    (re.compile(rf"\b(?:in|during|for|throughout) the (?:second|last|latter|final|other|closing) (?:half|part){CLIP}"), True, 0.5),
    (re.compile(rf"\b(?:half ?- ?way|half way|midway|partway)(?: through)?(?: the (?:video|clip|film|shot|scene))?|\bin the middle of the (?:video|clip|film)"), True, 0.5),
    (re.compile(r"\b(?:at|near|toward|towards|by|in) the (?:very )?end(?: of the (?:video|clip|film|movie|shot|footage|scene))?(?![\w ]* of)"), True, 0.75),
    (re.compile(r"\b(?:at|in) the (?:very )?(?:beginning|start)(?: of the (?:video|clip|film|movie|shot|footage|scene))?(?! of)"), False, 0.25),
)
"""Words for a time, whether it is the later part of the clip, and where that begins, or the earlier ends."""
SHOWN = frozenset(("appear", "materialize", "show up", "emerge", "pop up", "arrive"))
UNSHOWN = frozenset(("disappear", "vanish", "fade", "fade away", "evaporate", "leave", "exit"))
VISIBLE = re.compile(r"\b(?:visible|present|there|seen|shown|on screen)\b")
GONE = re.compile(r"\b(?:gone|absent|missing|invisible|not there|no longer (?:there|visible|present)|not (?:visible|present|seen))\b")


@dataclass(frozen=True)
class Seen:
    """Seen up to, or from, a share of the clip on."""

    from_on: bool
    share: float
    said: str


def seen_when(actions: Sequence[Action]) -> Seen | None:
    """When what does all this is seen, if a time is named for its coming or going."""
    for action in actions:
        for pattern, later, share in HALVES:
            match = pattern.search(action.about)
            if match is None:
                continue
            shown = action.lemma in SHOWN or (action.lemma == "be" and VISIBLE.search(action.text) is not None)
            gone = action.lemma in UNSHOWN or GONE.search(action.text) is not None
            if gone and not (action.lemma in UNSHOWN and not later):
                return Seen(from_on=not later, share=share, said=match.group().strip())
            if shown:
                return Seen(from_on=later, share=share, said=match.group().strip())
    return None
