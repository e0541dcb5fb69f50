"""When in the clip something is seen: "only in the second half", "is gone at the end"."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from planner_service.parser.actions import Action
from planner_service.parser.lexicon import word_list

OF = r"(?: of the (?:video|clip|film|movie|shot|footage|scene|animation|sequence))?"
THROUGH = r"(?: through)?(?: the (?:video|clip|film|movie|shot|scene))?"
IN = r"\b(?:in|during|for|throughout) the"
TIMES: tuple[tuple[str, bool, float], ...] = (
    (rf"{IN} (?:first|opening|initial) (?:half|part){OF}", False, 0.5),
    (rf"{IN} (?:second|last|latter|final|other|closing) (?:half|part){OF}", True, 0.5),
    (rf"\b(?:half|mid|part) ?-? ?way{THROUGH}|\bin the middle of the (?:video|clip|film)", True, 0.5),
    (rf"\b(?:at|near|toward|towards|by|in) the (?:very )?end{OF}(?! of)", True, 0.75),
    (rf"\b(?:at|in) the (?:very )?(?:beginning|start){OF}(?! of)", False, 0.25),
)
"""Words for a time; whether it is the later part of the clip; where that begins, or the earlier part ends."""
VISIBLE = re.compile(r"\b(?:visible|present|there|seen|shown|on screen)\b")
GONE = re.compile(
    r"\b(?:gone|absent|missing|invisible|not there|no longer (?:there|visible|present)|not (?:visible|present|seen))\b"
)


@dataclass(frozen=True)
class Seen:
    """Seen up to, or from, a share of the clip on."""

    from_on: bool
    share: float
    said: str


def seen_when(actions: Sequence[Action]) -> Seen | None:
    """When what does all this is seen, if a time is named for its coming or going."""
    for action in actions:
        for pattern, later, share in TIMES:
            match = re.search(pattern, action.about)
            if match is None:
                continue
            shown = action.lemma in word_list("shown") or (
                action.lemma == "be" and VISIBLE.search(action.text) is not None
            )
            gone = action.lemma in word_list("unshown") or GONE.search(action.text) is not None
            if gone and not (action.lemma in word_list("unshown") and not later):
                return Seen(from_on=not later, share=share, said=match.group().strip())
            if shown:
                return Seen(from_on=later, share=share, said=match.group().strip())
    return None
