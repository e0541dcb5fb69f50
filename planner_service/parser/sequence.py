"""In which order things are done."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from planner_service.parser.actions import Action, text_of
from planner_service.parser.directions import direction_in, path_in
from planner_service.parser.lexicon import word_list
from planner_service.parser.words import FINITE, Role, Word
from shared.motion_graph import MotionLabel


def in_sequence(actions: Sequence[Action], words: Sequence[Word], drawn: Mapping[int, int]) -> list[Action]:
    """Each action with its place in the order of events: "…, then …", "before …", "after …", "walks and stops".

    `drawn`: each mention's first of the same thing.
    """
    actions = [part for action in actions for part in _with_ellipses(action, words)]
    actions.sort(key=lambda action: action.index)
    marks = [word.index for word in words if word.lower in word_list("sequencing")]
    shifts: list[tuple[range, int]] = []
    for word in words:
        if word.lower in ("before", "after") and (clause := _clause(word, actions, words)) is not None:
            opens = word.index == 0 or words[word.index - 1].lower in (".", ";")
            if word.lower == "before" and not opens:
                marks.append(word.index)
            else:
                shifts.append((clause, 1 if word.lower == "before" else -1))
    ordered: list[Action] = []
    step = 0
    for action in actions:
        placed = sum(mark <= action.index for mark in marks) + sum(
            by for clause, by in shifts if action.index in clause
        )
        doers = {drawn.get(n, n) for n in action.subjects}
        earlier = [a for a in ordered if a.sequence == placed + step and doers & {drawn.get(n, n) for n in a.subjects}]
        step += bool(earlier) and not shifts and any(_gives_way(a, action, words) for a in earlier)
        ordered.append(replace(action, sequence=placed + step))
    return ordered


def _clause(word: Word, actions: Sequence[Action], words: Sequence[Word]) -> range | None:
    """The words up to the next comma that "before" or "after" is about, if there is a verb among them."""
    end = next((w.index for w in words[word.index :] if w.text in (",", ".", ";")), len(words))
    for action in actions:
        verb = words[action.index]
        if word.index < action.index < end and (action.index == word.index + 1 or verb.tag in FINITE):
            return range(word.index, end)
    return None


def _gives_way(first: Action, second: Action, words: Sequence[Word]) -> bool:
    """Whether the same subject does one after the other although no word says so: "runs and stops"."""
    if not (_is_told(first, words) and _is_told(second, words)):
        return False
    if second.lemma in ("end up", "end", "finish") and first.verb.travels:
        return True
    moves = [_heading(action) for action in (first, second)]
    if first.verb.shown is not None or second.verb.shown is not None:
        return True
    if second.verb.object == "placed" and second.objects:
        return (
            first.verb.object != "placed" and first.verb.label is not MotionLabel.MOTIONLESS
        )  # "lifts a cup, puts it"
    if all(moves):
        return moves[0] != moves[1]
    if moves[0] is not None or first.verb.travels:
        return second.lemma in word_list("halting") or (second.lemma == "hover" and moves[0] is not None)
    return (
        first.verb.label is MotionLabel.MOTIONLESS
        and first.lemma != "be"
        and (moves[1] is not None or second.verb.travels)
    )


def _heading(action: Action) -> str | None:
    found = direction_in(action.about, travels=action.verb.travels)
    vertical = action.verb.direction if action.verb.direction in ("up", "down") else None
    return found.value.value if found is not None else vertical


def _is_told(action: Action, words: Sequence[Word]) -> bool:
    """Whether it is told and not only added: not "sitting in a car"."""
    helped = any(w.role is Role.AUXILIARY for w in words[action.start : action.index])
    return words[action.index].tag in FINITE or helped


def _with_ellipses(action: Action, words: Sequence[Word]) -> list[Action]:
    """The action, and it once more for each "then" with where to instead of a verb: "left, then right"."""
    if path_in(action.about) is not None:
        return [action]
    marks = [
        w.index
        for w in words[action.index + 1 : action.end]
        if w.lower in word_list("sequencing") or w.lower == "before"
    ]
    found = [action]
    for mark, end in pairwise([*marks, action.end]):
        text = text_of(words[mark:end])
        if direction_in(text, travels=True) is None:
            continue
        last = found[-1]
        before = text_of(words[last.start : mark])
        found[-1] = replace(last, end=mark, text=before, about=last.about.removesuffix(text_of(words[mark : last.end])))
        found.append(replace(action, index=mark, start=mark, end=end, text=text, about=text, objects=()))
    return found
