"""Verbs: who does what to whom, and which words of the prompt belong to each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner_service.parser.lexicon import ACTIVITY, Lexicon, Verb
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.words import Role, Word

SKIPPED = (Role.ADVERB, Role.AUXILIARY)
LINKING = frozenset((",", "and", "&", "or", "/"))
RELATIVE = frozenset(("who", "which", "that"))
SUBJECTS = ("nsubj", "nsubjpass", "csubj")
NEGATIONS = frozenset(("not", "n't", "never", "no", "without"))
SEQUENCING = frozenset(("then", "before", "afterwards", "afterward", "finally", "until", "eventually"))


@dataclass(frozen=True)
class Action:
    index: int
    """The verb's place among the words."""
    lemma: str
    verb: Verb
    listed: bool
    """Whether the lexicon has the verb."""
    passive: bool
    subjects: tuple[int, ...]
    """Indices of mentions."""
    objects: tuple[int, ...]
    start: int
    end: int
    """The words that belong to it: from after its subject up to `end` (exclusive)."""
    text: str
    """Those words, in lower case."""
    negated: bool = False
    """It is said not to happen: "does not run"."""
    sequence: int = 0
    """0 at first; one more after each "then"."""


def actions_of(words: Sequence[Word], mentions: Sequence[Mention], lexicon: Lexicon) -> list[Action]:
    verbs = [word for word in words if word.role is Role.VERB and word.lemma not in lexicon.camera_verbs]
    subjects: dict[int, tuple[int, ...]] = {}
    for word in verbs:
        subjects[word.index] = _subjects(word, words, mentions, subjects)
    actions: list[Action] = []
    acting = {mention for group in subjects.values() for mention in group}
    for position, word in enumerate(verbs):
        if word.lemma in lexicon.aspect_verbs or lexicon.verb_form(word.lower) in lexicon.aspect_verbs:
            continue
        following = verbs[position + 1] if position + 1 < len(verbs) else None
        begin, end = _span(word, following, subjects, words, mentions)
        base = word.lemma if word.lemma in lexicon.verbs else lexicon.verb_form(word.lower)
        actions.append(
            Action(
                index=word.index,
                lemma=base or word.lemma,
                verb=lexicon.verbs[base] if base is not None else ACTIVITY,
                listed=base is not None,
                passive=_is_passive(word, words),
                subjects=subjects[word.index],
                objects=_objects(word, words, mentions, acting),
                start=begin,
                end=end,
                text=" ".join(w.lower for w in words[begin:end]),
                negated=any(w.lower in NEGATIONS for w in words[max(0, begin - 1) : word.index]),
            )
        )
    actions += _participles(words, mentions, lexicon)
    actions.sort(key=lambda action: action.index)
    return _sequenced(actions, words)


def mention_at(mentions: Sequence[Mention], index: int) -> int | None:
    """The mention that covers a word."""
    return next((number for number, mention in enumerate(mentions) if mention.covers(index)), None)


def coordinated(mentions: Sequence[Mention], words: Sequence[Word], number: int) -> tuple[int, ...]:
    """The mention and those that "and" or a comma joins to it from the left."""
    group = [number]
    while group[0] > 0:
        before, first = mentions[group[0] - 1], mentions[group[0]]
        between = words[before.end : first.start]
        if not between or any(word.lower not in LINKING for word in between):
            break
        group.insert(0, group[0] - 1)
    return tuple(group)


def _subjects(
    word: Word, words: Sequence[Word], mentions: Sequence[Mention], earlier: dict[int, tuple[int, ...]]
) -> tuple[int, ...]:
    """The mentions that do (or suffer) the verb; the parse where it says so, then what stands beside the verb."""
    last = next(reversed(earlier.values()), ()) if earlier else ()
    mended = not word.token.tag_.startswith("VB")
    if not mended:
        for child in word.token.children:
            if child.dep_ in SUBJECTS and child.i < word.index:
                if (number := mention_at(mentions, child.i)) is not None:
                    return _group(word, words, mentions, number)
                if child.lower_ in RELATIVE and (number := mention_at(mentions, word.token.head.i)) is not None:
                    return (number,)
                if words[child.i].role is Role.PRONOUN and child.lower_ not in RELATIVE and last:
                    return last
    beside = _beside(word, words, mentions)
    if beside is not None:
        return _group(word, words, mentions, beside)
    head = word.token.head
    if not mended and word.token.dep_ in ("acl", "relcl"):
        number = mention_at(mentions, head.i)
        if number is not None and mentions[number].use is Use.THING:
            return (number,)
    if not mended and word.token.dep_ in ("conj", "advcl", "xcomp", "ccomp") and earlier.get(head.i):
        return earlier[head.i]
    if last:
        return last
    before = [
        number for number, mention in enumerate(mentions) if mention.end <= word.index and mention.use is Use.THING
    ]
    after = [
        number for number, mention in enumerate(mentions) if mention.start > word.index and mention.use is Use.THING
    ]
    if before:
        return (before[0],)
    return (after[0],) if after else ()


def _beside(word: Word, words: Sequence[Word], mentions: Sequence[Mention]) -> int | None:
    """The mention right before the verb, but for adverbs, auxiliaries and "who"."""
    index = word.index - 1
    while index >= 0 and (words[index].role in SKIPPED or words[index].lower in RELATIVE):
        index -= 1
    number = mention_at(mentions, index) if index >= 0 else None
    if number is None:
        return None
    mention = mentions[number]
    finite = word.tag in ("VBZ", "VBP", "VBD", "VBG")
    return number if mention.use is Use.THING or (mention.use is Use.BACKGROUND and finite and number == 0) else None


def _group(word: Word, words: Sequence[Word], mentions: Sequence[Mention], number: int) -> tuple[int, ...]:
    """A plural verb has all of "a dog and a cat" as its subject, a singular one only the nearest."""
    auxiliaries = [w.lower for w in words[mentions[number].end : word.index] if w.role is Role.AUXILIARY]
    if word.tag == "VBZ" or any(auxiliary in ("is", "was", "has", "does") for auxiliary in auxiliaries):
        return (number,)
    last = number
    while last + 1 < len(mentions) and mentions[last + 1].end <= word.index:
        between = words[mentions[last].end : mentions[last + 1].start]
        if not between or any(w.lower not in LINKING for w in between):
            break
        last += 1
    group = coordinated(mentions, words, last)
    first = mentions[group[0]].start
    if (
        first > 0
        and words[first - 1].role in (Role.VERB, Role.PREPOSITION)
        and words[first - 1].lower
        not in (
            "while",
            "as",
            "with",
        )
    ):
        return group[group.index(number) :]
    return group


def _objects(word: Word, words: Sequence[Word], mentions: Sequence[Mention], acting: set[int]) -> tuple[int, ...]:
    """What stands right after the verb, and what "and" joins to it unless that acts itself."""
    index = word.index + 1
    while index < len(words) and (words[index].role is Role.ADVERB or words[index].tag == "RP"):
        index += 1
    number = mention_at(mentions, index) if index < len(words) else None
    if number is None or mentions[number].start < word.index:
        return ()
    found = [number]
    while found[-1] + 1 < len(mentions):
        here, after = mentions[found[-1]], mentions[found[-1] + 1]
        between = words[here.end : after.start]
        if not between or any(w.lower not in LINKING for w in between) or found[-1] + 1 in acting:
            break
        found.append(found[-1] + 1)
    return tuple(found)


def _span(
    word: Word,
    following: Word | None,
    subjects: dict[int, tuple[int, ...]],
    words: Sequence[Word],
    mentions: Sequence[Mention],
) -> tuple[int, int]:
    begin = word.index
    while begin > 0 and words[begin - 1].role in SKIPPED:
        begin -= 1
    if following is None:
        return begin, len(words)
    starts = [mentions[number].start for number in subjects[following.index] if mentions[number].start > word.index]
    own = following.index
    while own - 1 > word.index and words[own - 1].role in SKIPPED:
        own -= 1
    return begin, min([own, *starts])


def _is_passive(word: Word, words: Sequence[Word]) -> bool:
    """By its tag; of "a dog and a cat run" the tagger says so wrongly, for want of an auxiliary."""
    if word.tag != "VBN" or word.token.tag_ != "VBN":
        return False
    helpers = {w.lower for w in words[max(0, word.index - 4) : word.index] if w.role is Role.AUXILIARY}
    return not helpers & {"has", "have", "had", "having"} and (bool(helpers) or word.lower != word.lemma)


def _participles(words: Sequence[Word], mentions: Sequence[Mention], lexicon: Lexicon) -> list[Action]:
    """What participles before a noun say: "a speeding boat" speeds, "a sleeping dog" sleeps."""
    found = []
    for number, mention in enumerate(mentions):
        for word in words[mention.start : mention.end - 1]:
            base = lexicon.verb_form(word.lower) if word.lower.endswith("ing") else None
            if word.role is Role.ADJECTIVE and base is not None and word.lower != base:
                found.append(
                    Action(
                        index=word.index,
                        lemma=base,
                        verb=lexicon.verbs[base],
                        listed=True,
                        passive=False,
                        subjects=(number,),
                        objects=(),
                        start=word.index,
                        end=word.index + 1,
                        text=word.lower,
                    )
                )
    return found


def _sequenced(actions: list[Action], words: Sequence[Word]) -> list[Action]:
    """Each action with the number of "then"s that stand before it."""
    return [
        replace(action, sequence=sum(word.lower in SEQUENCING for word in words[: action.index])) for action in actions
    ]
