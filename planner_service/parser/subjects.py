"""Who does what a verb says."""

from collections.abc import Sequence

from planner_service.motion.nouns import Kind, is_a, known, noun_of
from planner_service.parser.lexicon import lexicon, word_list
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.prepositions import preposition_before
from planner_service.parser.words import FINITE, Role, Word

SKIPPED = (Role.ADVERB, Role.AUXILIARY)
GENDERS = {
    "he": frozenset(
        ("man", "boy", "male", "father", "brother", "son", "grandfather", "uncle", "husband", "king", "prince",
         "grandson")
    ),
    "she": frozenset(
        ("woman", "girl", "female", "mother", "sister", "daughter", "grandmother", "aunt", "wife",
         "queen", "granddaughter")
    ),
}  # fmt: skip
"""Who is "he" or "she": what is one of these or a kind of it."""
SUBJECTS = ("nsubj", "nsubjpass", "csubj")


def subjects_of(
    word: Word, words: Sequence[Word], mentions: Sequence[Mention], earlier: dict[int, tuple[int, ...]]
) -> tuple[int, ...]:
    """The mentions that do (or suffer) the verb; the parse where it says so, then what stands beside the verb."""
    last = next(reversed(earlier.values()), ()) if earlier else ()
    if word.index and words[word.index - 1].tag == "EX":
        told = mention_at(mentions, word.index + 1) if word.index + 1 < len(words) else None
        group = [told] if told is not None else []
        while group and group[-1] + 1 < len(mentions):
            between = words[mentions[group[-1]].end : mentions[group[-1] + 1].start]
            if not between or any(w.lower not in word_list("linking") for w in between):
                break
            group.append(group[-1] + 1)
        return tuple(group)  # "there is a vase, a cup and a plate"
    mended = not word.token.tag_.startswith("VB")
    beside = _beside(word, words, mentions)
    if beside is not None and word.tag == "VBG" and last and _is_seat_of_doer(word, beside, words, mentions):
        return last  # "sits on a bench reading a book"
    if beside is not None and word.tag == "VBG" and _is_absolute(word, mentions[beside], words):
        return (beside,)
    if beside is not None and (inverted := _inverted_subject(word, beside, words, mentions)) is not None:
        return (inverted,)
    taught = word.token.head.i if word.token.dep_ in ("xcomp", "ccomp") else word.index
    if words[taught].lemma in word_list("controlling") and words[word.index - 1].lower == "to":
        pupil = mention_at(mentions, word.index - 2)
        if pupil is not None and mentions[pupil].start > taught:
            return (pupil,)  # "teaches a girl to ride"
    if beside is not None and word.tag == "VBZ" and mentions[beside].end == word.index:
        first = mentions[beside].start
        if first > 0 and words[first - 1].lower in ("as", "while", "when"):
            return (beside,)  # "… as a girl touches it"
    if not mended:
        for child in reversed(list(word.token.children)):
            if child.dep_ in SUBJECTS and child.i < word.index:
                if (number := mention_at(mentions, child.i)) is not None:
                    number = _head_of(number, words, mentions) if word.tag in FINITE else number
                    disguised = mentions[number].use is Use.NOTHING and words[mentions[number].start - 1].lower == "as"
                    number -= disguised and number > 0  # "dressed as a king"
                    if word.tag == "VBZ" and beside is not None and number in coordinates_of(mentions, words, beside):
                        number = beside  # "fixes an engine and a raccoon steals": not both
                    if beside is not None and _begins_anew(word, number, beside, words, mentions):
                        number = beside  # "a tree swaying in the wind, a bird flies past"
                    return _group(word, words, mentions, number)
                if (
                    child.lower_ in word_list("relative")
                    and (number := mention_at(mentions, word.token.head.i)) is not None
                ):
                    return (number,)
                if words[child.i].role is Role.PRONOUN and child.lower_ not in word_list("relative") and last:
                    return _resolve_pronoun(child.lower_, last, child.i, mentions)
    if beside is not None:
        return _group(word, words, mentions, beside)
    head = word.token.head
    meant = words[word.index - 1].lower == "to" and last  # "climbs a ladder to pick an apple"
    if not mended and not meant and word.token.dep_ in ("acl", "relcl"):
        number = mention_at(mentions, head.i)
        if number is not None and mentions[number].use in (Use.THING, Use.NOTHING):
            return (number,)
    if not mended and word.token.dep_ in ("conj", "advcl", "xcomp", "ccomp") and earlier.get(head.i):
        return earlier[head.i]
    if last:
        return last
    things = [number for number, mention in enumerate(mentions) if mention.use is Use.THING]
    if before := [number for number in things if mentions[number].end <= word.index]:
        return (before[0],)
    comma = next((w.index for w in words[word.index :] if w.text == ","), word.index)
    after = [number for number in things if mentions[number].start > comma]
    after = after or [number for number in things if mentions[number].start > word.index]
    return (after[0],) if after else ()


def _begins_anew(word: Word, number: int, beside: int, words: Sequence[Word], mentions: Sequence[Mention]) -> bool:
    """Whether a clause begins with what is beside the verb, after a comma that ends what the other one is doing."""
    busy = mentions[number].end < len(words) and words[mentions[number].end].tag == "VBG"
    return busy and word.tag in FINITE and number < beside and words[mentions[beside].start - 1].text == ","


def _is_absolute(word: Word, beside: Mention, words: Sequence[Word]) -> bool:
    """Whether a participle has a subject of its own after a comma: "a street at night, cars passing"."""
    return beside.end == word.index and beside.start > 0 and words[beside.start - 1].text == ","


def _is_seat_of_doer(word: Word, beside: int, words: Sequence[Word], mentions: Sequence[Mention]) -> bool:
    """Whether it is where somebody is, and cannot do what the verb says."""
    verb, before = lexicon().verbs.get(word.lemma), words[mentions[beside].start - 1].lower
    placed = mentions[beside].start > 0 and before in (
        "on", "in", "at", "against", "by", "near", "up", "down", "along"
    )  # fmt: skip
    moves = verb is not None and (verb.travels or verb.label is not None or verb.manner is not None)
    moves = moves and verb is not None and verb.object != "held"  # "climbs down a ladder carrying a cat"
    return placed and not moves and noun_of(mentions[beside].name).kind is Kind.OBJECT


def _resolve_pronoun(pronoun: str, last: tuple[int, ...], index: int, mentions: Sequence[Mention]) -> tuple[int, ...]:
    """Who a subject pronoun is: who acted last, unless that is a person and "it" is not, or the other way round."""
    if pronoun in GENDERS:
        singles = [n for n, m in enumerate(mentions) if m.use is Use.THING and m.end <= index and m.count == 1]
        gendered = [n for n in singles if gender(mentions[n]) == pronoun]
        if gendered:
            return tuple(n for n in last if n in gendered)[-1:] or (gendered[-1],)
        last = tuple(n for n in last if gender(mentions[n]) is None) or last
    if pronoun not in ("it", "he", "she") or is_person(mentions[last[0]]) == (pronoun != "it"):
        return last
    things = [n for n, m in enumerate(mentions) if m.use is Use.THING and m.end <= index and m.count == 1]
    fitting = [n for n in things if is_person(mentions[n]) == (pronoun != "it")]
    return (fitting[-1],) if fitting else last


def gender(mention: Mention) -> str | None:
    """The pronoun of somebody whose noun says whether it is a man or a woman."""
    if is_person(mention) and mention.head.endswith("ess"):
        return "she"
    said = (p for p, kinds in GENDERS.items() if mention.head in kinds or is_a(mention.head, kinds))
    return next(said, None)


def is_person(mention: Mention) -> bool:
    return is_a(mention.head, frozenset(("person",)))


def mention_at(mentions: Sequence[Mention], index: int) -> int | None:
    """The mention that covers a word."""
    return next((number for number, mention in enumerate(mentions) if mention.covers(index)), None)


def coordinates_of(mentions: Sequence[Mention], words: Sequence[Word], number: int) -> tuple[int, ...]:
    """The mention and those that "and" joins to it from the left, with commas before; commas alone only list."""
    group = [number]
    joint = words[mentions[number - 1].end : mentions[number].start] if number > 0 else []
    if all(word.text == "," for word in joint):
        return (number,)
    while group[0] > 0:
        before, first = mentions[group[0] - 1], mentions[group[0]]
        between = words[before.end : first.start]
        if not between or any(word.lower not in word_list("linking") for word in between):
            break
        group.insert(0, group[0] - 1)
    return tuple(group)


def _beside(word: Word, words: Sequence[Word], mentions: Sequence[Mention]) -> int | None:
    """The mention right before the verb, but for adverbs, auxiliaries and "who"."""
    index = word.index - 1
    while index >= 0 and (words[index].role in SKIPPED or words[index].lower in word_list("relative")):
        index -= 1
    number = mention_at(mentions, index) if index >= 0 else None
    if number is None:
        return None
    if word.tag in FINITE:
        number = _head_of(number, words, mentions)
    mention = mentions[number]
    finite = word.tag in (*FINITE, "VBG")
    adjacent = word.tag == "VBG" and mention.end == word.index  # "a hand holding a cup"
    possessed = mention.use is Use.NOTHING and (adjacent or words[mention.start].lower in word_list("possessives"))
    place = mention.use is Use.BACKGROUND and (number == 0 or words[mention.start - 1].role is not Role.PREPOSITION)
    return number if mention.use is Use.THING or (finite and (place or possessed)) else None


def _head_of(number: int, words: Sequence[Word], mentions: Sequence[Mention]) -> int:
    """What a mention with a preposition right after another is added to: of "a bird in a tree sings" the bird."""
    while number > 0:
        matched = preposition_before(words, mentions[number].start)
        begin = matched[2] if matched is not None else mentions[number].start
        begin -= matched is not None and begin > 0 and words[begin - 1].tag == "VBN"  # "ridden by a knight"
        before = mentions[number - 1]
        if matched is None or before.end != begin or before.use is not Use.THING:
            break
        number -= 1
    return number


def _inverted_subject(word: Word, beside: int, words: Sequence[Word], mentions: Sequence[Mention]) -> int | None:
    """The subject after the verb: "to the left of a statue stands a deer"."""
    matched = preposition_before(words, mentions[beside].start)
    if matched is None or word.tag not in FINITE or words[word.index - 1].role in SKIPPED:
        return None
    opens = matched[2] == 0 or words[matched[2] - 1].lower in word_list("clause_starts")
    number = mention_at(mentions, word.index + 1) if word.index + 1 < len(words) else None
    return number if opens and number is not None and mentions[number].determined else None


def _group(word: Word, words: Sequence[Word], mentions: Sequence[Mention], number: int) -> tuple[int, ...]:
    """A plural verb has all of "a dog and a cat" as its subject, a singular one only the nearest that is one."""
    if (
        word.tag == "VBZ"
        and number > 0
        and words[mentions[number].end - 1].is_plural
        and not mentions[number].determined
    ):
        before = mentions[number - 1]  # "a couple holding hands walks"
        number -= " of " not in mentions[number].text and before.use is Use.THING and before.count == 1
    auxiliaries = [w.lower for w in words[mentions[number].end : word.index] if w.role is Role.AUXILIARY]
    if word.tag == "VBZ" or any(auxiliary in ("is", "was", "has", "does") for auxiliary in auxiliaries):
        return (number, *_with_company(number, words, mentions))
    last = number
    while last + 1 < len(mentions) and mentions[last + 1].end <= word.index:
        between = words[mentions[last].end : mentions[last + 1].start]
        if not between or any(w.lower not in word_list("linking") for w in between):
            break
        last += 1
    group = coordinates_of(mentions, words, last)
    first = mentions[group[0]].start
    if (
        first > 0
        and words[first - 1].role in (Role.VERB, Role.PREPOSITION)
        and words[first - 1].lower not in ("while", "as", "with")
    ):
        group = group[group.index(number) :]
    if word.tag == "VBG" and noun_of(mentions[number].name).kind is Kind.ANIMATE:  # "with stalls and people walking"
        return tuple(n for n in group if not is_a(mentions[n].head, word_list("fixtures")))
    return group


def _with_company(number: int, words: Sequence[Word], mentions: Sequence[Mention]) -> tuple[int, ...]:
    """ "A duck with five ducklings swims": animals that are with the subject do as it does."""
    if number + 1 >= len(mentions):
        return ()
    here, after = mentions[number], mentions[number + 1]
    noun = known(after.name)
    joined = [w.lower for w in words[here.end : after.start]] in (["with"], ["along", "with"], ["together", "with"])
    comes = joined and after.use is Use.THING and noun is not None and noun.kind is Kind.ANIMATE
    return (number + 1,) if comes and after.end < len(words) and words[after.end].role is Role.VERB else ()
