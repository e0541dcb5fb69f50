"""Noun phrases: what a prompt mentions, and how many of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from planner_service.motion.nouns import Kind, is_a, singular, table
from planner_service.parser.lexicon import lexicon, word_list
from planner_service.parser.words import Role, Word, spelled_number

BARE_PLURAL = 2
"""How many "dogs" are."""
ORDINAL = re.compile(r"(?:second|third|fourth|fifth|other)\b", re.IGNORECASE)
MOST = 1000
"""How many of one thing are counted at most; how many are drawn is a matter of all that is there."""
INSIDE = (Role.ADJECTIVE, Role.NUMBER, Role.NOUN, Role.LINK)
PERSONS = {"he": ("man", 1), "she": ("woman", 1), "they": ("person", 2), "we": ("person", 2), "i": ("person", 1)}
"""Who a pronoun is that nobody was mentioned before."""


class Use(Enum):
    THING = auto()
    BACKGROUND = auto()
    NOTHING = auto()  # worn, abstract, a time, the camera
    PRONOUN = auto()  # an earlier thing once more: "next to it", "to its left"


@dataclass(frozen=True)
class Mention:
    """A noun phrase; `start` to `end` (exclusive) are indices of words."""

    start: int
    end: int
    name: str
    """Attributes and compounds kept, articles and numbers not; singular where `count` is above one."""
    head: str
    """The last noun, singular, in lower case."""
    text: str
    """As it stands in the prompt."""
    count: int = 1
    definite: bool = False
    determined: bool = False
    """Whether an article, a possessive or a number precedes it."""
    plural: bool = False
    use: Use = Use.THING
    part: bool = False
    """Whether it is some of several that were mentioned before: "one of them"."""

    def covers(self, index: int) -> bool:
        return self.start <= index < self.end


def mentions_of(words: list[Word]) -> list[Mention]:
    """All noun phrases in order, "of" phrases merged."""
    found: list[Mention] = []
    index = 0
    while index < len(words):
        end = _phrase_end(words, index)
        groups = [mention for mention in reversed(found) if mention.count > 1]
        heads = [m for m in groups if m.start == 0 or words[m.start - 1].role is not Role.PREPOSITION]
        group = next(iter(heads or groups), None)
        if group is not None and (some := _some_of(words, index, group, found)) is not None:
            found.append(some)
            index = some.end
        elif end > index:
            mention = _mention(words, index, end)
            more = found and mention.head == "one" and (words[index].lower == "another" or ORDINAL.match(mention.name))
            heads = [m for m in found if m.start == 0 or words[m.start - 1].role is not Role.PREPOSITION]
            found.append(_one_more(mention, (heads or found)[-1 if len(heads) < 2 else 0]) if more else mention)
            index = end
        elif words[index].lower in PERSONS and not found and _is_subject(words, index):
            name, count = PERSONS[words[index].lower]
            found.append(Mention(index, index + 1, name, name, words[index].text, count=count, determined=True))
            index += 1
        elif _is_another(words, index) and found:
            acts = index + 1 < len(words) and words[index + 1].role in (Role.VERB, Role.AUXILIARY)
            ones = [mention for mention in found if words[mention.start].lower == "one"]
            same = found[-1] if acts else (ones or found)[-1 if ones else 0]
            found.append(replace(same, start=index, end=index + 1, text=words[index].text, count=1, definite=False))
            index += 1
        elif _refers_back(words, index):
            said = words[index].lower
            found.append(Mention(index, index + 1, said, said, said, determined=True, use=Use.PRONOUN))
            index += 1
        else:
            index += 1
    found = [_of_many(mention, words) for mention in found]
    return _merge_of([mention for mention in found if not _is_relational(mention, words)], words)


def _some_of(words: list[Word], index: int, group: Mention, found: Sequence[Mention]) -> Mention | None:
    """Some of a group, or the rest of it: "one of them", "two of them", "one flies away, the other stays"."""
    said = [word.lower for word in words[index : index + 3]]
    number = _number_in(words[index : index + 1])
    rest = said[:1] == ["another"] and any(mention.part for mention in found)
    length = 2 if said[:1] == ["the"] and said[1:2] in (["other"], ["others"]) else 1
    if number is not None and said[1:] in (["of", "them"], ["of", "these"], ["of", "those"]):
        length = 3
    elif length == 1 and number is None and not rest:
        return None
    after = words[index + length] if index + length < len(words) else None
    if length < 3 and (after is None or after.role not in (Role.VERB, Role.AUXILIARY, Role.ADVERB)):
        return None
    text = " ".join(word.text for word in words[index : index + length])
    part = number is not None
    count = number if number is not None else group.count
    return replace(
        group, start=index, end=index + length, text=text, count=count, plural=count > 1, definite=not part, part=part
    )


def _one_more(mention: Mention, same: Mention) -> Mention:
    """ "Another one", "a third one", "another red one": one more of the same, with its own attributes."""
    attributes = [word for word in mention.name.split()[:-1] if not ORDINAL.match(word)]
    return replace(mention, name=" ".join([*attributes, same.name]), head=same.head)


def _is_subject(words: list[Word], index: int) -> bool:
    return index + 1 < len(words) and words[index + 1].role in (Role.VERB, Role.AUXILIARY, Role.ADVERB)


def _is_another(words: list[Word], index: int) -> bool:
    """Whether it stands for one more of the same: "a car goes up, another down", "from one rock to another"."""
    return words[index].lower == "another" and index > 0 and words[index - 1].lower != "one"


def _refers_back(words: list[Word], index: int) -> bool:
    """Whether it is an object pronoun, or a possessive before a side: who a subject pronoun is, the verbs tell."""
    word = words[index]
    after = words[index + 1] if index + 1 < len(words) else None
    if word.lower in word_list("possessives") and word.tag != "PRP":
        return after is not None and after.role is Role.DIRECTION
    acts = after is not None and after.role in (Role.VERB, Role.AUXILIARY)
    return word.lower in ("it", "him", "her", "them") and index > 0 and not acts and word.role is not Role.DETERMINER


def _phrase_end(words: list[Word], start: int) -> int:
    """One past the last noun of the phrase that begins at `start`; `start` where none does."""
    index = start
    if words[index].role is Role.DETERMINER:
        index += 1
        if index < len(words) and words[index].role is Role.DETERMINER:
            index += 1
    last = start
    while index < len(words):
        role = words[index].role
        if role is Role.DIRECTION and index + 1 < len(words) and words[index + 1].role is Role.LINK:
            role = Role.ADJECTIVE  # "a left-moving bus"
        if role is Role.ADVERB and index + 1 < len(words) and words[index + 1].role is Role.ADJECTIVE and index > start:
            index += 1
            continue
        if role not in INSIDE:
            break
        if role is Role.NUMBER and last > start:
            break
        if role is Role.NOUN:
            last = index + 1
        index += 1
    return last


def _mention(words: list[Word], start: int, end: int) -> Mention:
    inside = words[start:end]
    owned = next((n for n, word in enumerate(inside) if word.tag == "POS"), None)
    placed = start > 0 and words[start - 1].lower == "on"
    acts = end < len(words) and words[end].role in (Role.VERB, Role.AUXILIARY) and not placed
    if owned and not acts and lexicon().is_in("worn", inside[-1].lower) and inside[owned - 1].role is Role.NOUN:
        return replace(_mention(words, start, start + owned), end=end)  # "a pirate's shoulder"
    head = inside[-1]
    counts = [number for word in inside[:-1] if (number := _number(word)) is not None]
    counts = [spelled] if (spelled := _number_in(inside[:-1])) is not None else counts
    one = inside[0].lower in ("a", "an") and not counts
    several = bool(counts) and max(counts) > 1
    compound = len(inside) > 1 and inside[-2].role is Role.NOUN
    drunk_from = singular(head.lower) in table() and (several or compound)  # "wine glasses"
    one_thing = lexicon().is_in("plural_only", head.lower) and not drunk_from
    plural = head.is_plural and not one and not lexicon().is_in("worn", head.lower) and not one_thing
    count = max(counts) if counts else (BARE_PLURAL if plural else 1)
    kept = [
        word
        for word in inside
        if word.role is not Role.DETERMINER
        and word.role is not Role.NUMBER
        and word.lower not in word_list("determiners")
        and not (word.text == "-" and words[word.index - 1].role is Role.NUMBER)
        and (word is head or word.lower not in lexicon().numbers)
    ]
    tokens = [word.text for word in kept]
    if (plural or count > 1) and not one_thing:
        tokens[-1] = singular(tokens[-1].lower())
    each = lexicon().collectives.get(head.lower)
    noun = table().get(singular(tokens[-2].lower())) if len(tokens) > 1 else None
    if each is not None and count == 1 and noun is not None and noun.kind is Kind.ANIMATE:  # "a wolf pack"
        tokens, count, plural = tokens[:-1], each, True
        head = inside[-2]
    return Mention(
        start=start,
        end=end,
        name=_join(tokens),
        head=head.lower if one_thing else singular(head.lower),
        text=_join([word.text for word in inside]),
        count=count,
        definite=inside[0].lower in ("the", "this", "that", "these", "those", "its", "his", "her", "their"),
        determined=inside[0].role in (Role.DETERMINER, Role.NUMBER) or bool(counts),
        plural=plural,
    )


def _number(word: Word) -> int | None:
    """How many a word says there are, at most MOST."""
    if word.lower in lexicon().numbers:
        return lexicon().numbers[word.lower]
    digits = word.text.replace(",", "")
    if word.role is Role.NUMBER and digits.isdecimal():
        return min(MOST, max(1, int(digits)))
    return _number_in([word])


def _number_in(words: list[Word]) -> int | None:
    """What number words say together: "twenty - five"."""
    said = " ".join(word.lower for word in words if word.role is Role.NUMBER and word.text.isalpha())
    number = spelled_number(said)
    return None if number is None else min(MOST, max(1, number))


def _join(tokens: list[str]) -> str:
    text = " ".join(tokens)
    return text.replace(" - ", "-").replace(" 's", "'s").replace(" '", "'")


def _merge_of(found: list[Mention], words: list[Word]) -> list[Mention]:
    """Collectives are counted, contents named: "a flock of birds" is five birds, "a bowl of soup" one such bowl."""
    merged: list[Mention] = []
    for mention in found:
        before = merged[-1] if merged else None
        joined = before is not None and mention.start == before.end + 1 and words[before.end].lower == "of"
        if before is None or not joined:
            merged.append(mention)
        elif before.head in lexicon().collectives or before.head in lexicon().nouns["camera"]:
            each = lexicon().collectives.get(before.head)
            told = each is None or (mention.determined and mention.count > 1)  # "a group of three children"
            told = told and not lexicon().is_in("plural_only", mention.head)
            number = mention.count if told or each is None else min(MOST, each * before.count)
            if before.head == "pair" and lexicon().is_in("plural_only", mention.head):
                number = before.count  # "a pair of scissors" is one thing
            words_of_name = mention.name.split()
            merged[-1] = replace(
                mention,
                name=" ".join([*words_of_name[:-1], singular(words_of_name[-1])])
                if number > 1 and not lexicon().is_in("plural_only", mention.head)
                else mention.name,
                start=before.start,
                count=number if mention.plural or mention.count == 1 else mention.count,
                plural=mention.plural or number > 1,
                text=f"{before.text} of {mention.text}",
                determined=True,
            )
        elif lexicon().is_in("worn", before.head) and before.definite and mention.determined:
            merged[-1] = replace(mention, start=before.start)  # "the shoulder of a pirate"
        elif (
            before.plural and before.definite and _stay_on(mention, words) and is_a(before.head, word_list("attached"))
        ):
            merged[-1] = replace(mention, start=before.start)  # "the leaves of a maple turn red"
        elif before.head in lexicon().nouns["measure"]:
            merged[-1] = replace(
                mention,
                start=before.start,
                name=f"{before.name} of {mention.name}",
                text=f"{before.text} of {mention.text}",
                count=before.count,
                determined=True,
            )
        else:
            merged[-1] = replace(
                before,
                end=mention.end,
                name=f"{before.name} of {mention.text}",
                text=f"{before.text} of {mention.text}",
            )
    return merged


def _stay_on(whole: Mention, words: list[Word]) -> bool:
    """Whether its parts do not travel by themselves, as leaves that fall do."""
    after = words[whole.end] if whole.end < len(words) else None
    verb = lexicon().verbs.get(after.lemma) if after is not None and after.role is Role.VERB else None
    return after is not None and after.role in (Role.VERB, Role.AUXILIARY) and (verb is None or verb.direction is None)


def _is_relational(mention: Mention, words: list[Word]) -> bool:
    """A place with respect to a thing, and no thing itself: "the top of the bench"."""
    of = mention.end < len(words) and words[mention.end].lower == "of"
    after_side = mention.start > 0 and words[mention.start - 1].role is Role.DIRECTION
    return (of or after_side) and mention.head in word_list("relational")


def _of_many(mention: Mention, words: list[Word]) -> Mention:
    """ "Three of the penguins" are three."""
    if mention.start < 2 or words[mention.start - 1].lower != "of" or not mention.plural:
        return mention
    number = _number(words[mention.start - 2])
    return mention if number is None else replace(mention, count=number, plural=number > 1, part=mention.definite)
