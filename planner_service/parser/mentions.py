"""Noun phrases: what a prompt mentions, how many of it, and whether it could be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from planner_service.arrangements import Arrangement
from planner_service.nouns import Kind, known, singular
from planner_service.parser.lexicon import Lexicon
from planner_service.parser.prepositions import preposition_before
from planner_service.parser.words import DETERMINERS, Role, Word

BARE_PLURAL = 2
"""How many "dogs" are."""
MOST = 8
"""How many of one thing are drawn at most."""
INSIDE = (Role.ADJECTIVE, Role.NUMBER, Role.NOUN, Role.LINK)
UPON = frozenset(
    ("on", "in", "at", "across", "through", "along", "up", "down", "from", "off", "onto", "into", "around", "inside")
)
"""What is a place after these is a thing after others: "on a bridge", "under a bridge"."""
APART = (
    Arrangement.LEFT_OF,
    Arrangement.RIGHT_OF,
    Arrangement.ABOVE,
    Arrangement.BELOW,
    Arrangement.NEXT_TO,
    Arrangement.BEHIND,
)
"""What is so arranged with a place is not in it."""
NOT_OF_SCENE = frozenset(("with", "as", "after", "before", "while", "when", "to", "from"))
PERSONS = {"he": ("man", 1), "she": ("woman", 1), "they": ("person", 2), "we": ("person", 2), "i": ("person", 1)}
"""Who a pronoun is that nobody was mentioned before."""
POSSESSIVES = frozenset(("its", "his", "her", "their", "whose"))
RELATIONAL = frozenset(("left", "right", "side", "top", "bottom", "front", "back", "underside"))


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
    again: bool = field(default=False)
    """Whether an earlier mention was of the same thing."""

    def covers(self, index: int) -> bool:
        return self.start <= index < self.end


def mentions_of(words: list[Word], lexicon: Lexicon) -> list[Mention]:
    """All noun phrases in order, "of" phrases merged, each with its use."""
    found: list[Mention] = []
    index = 0
    while index < len(words):
        end = _phrase_end(words, index)
        if end > index:
            found.append(_mention(words, index, end, lexicon))
            index = end
        elif words[index].lower in PERSONS and not found and _is_subject(words, index):
            name, count = PERSONS[words[index].lower]
            found.append(Mention(index, index + 1, name, name, words[index].text, count=count, determined=True))
            index += 1
        elif _is_another(words, index) and found:
            found.append(replace(found[-1], start=index, end=index + 1, text=words[index].text, count=1))
            index += 1
        elif _refers_back(words, index):
            said = words[index].lower
            found.append(Mention(index, index + 1, said, said, said, determined=True, use=Use.PRONOUN))
            index += 1
        else:
            index += 1
    found = [_of_many(mention, words, lexicon) for mention in found]
    things = [mention for mention in found if not _is_relational(mention, words)]
    merged = [
        m if m.use is Use.PRONOUN else replace(m, use=_use(m, words, lexicon))
        for m in _merge_of(things, words, lexicon)
    ]
    quoted = quoted_words(words)
    merged = [replace(m, use=Use.NOTHING) if m.start in quoted else m for m in merged]
    return _worn_by_wearers(_place_of_scene(merged, words), words, lexicon)


def quoted_words(words: Sequence[Word]) -> set[int]:
    """The words between double quotation marks: writing, and no things."""
    marks = [word.index for word in words if word.text in ('"', "``", "''", "“", "”")]
    return {index for begin, end in zip(marks[::2], marks[1::2], strict=False) for index in range(begin, end)}


def _is_subject(words: list[Word], index: int) -> bool:
    return index + 1 < len(words) and words[index + 1].role in (Role.VERB, Role.AUXILIARY, Role.ADVERB)


def _is_another(words: list[Word], index: int) -> bool:
    """Whether it stands for one more of the same: "a car goes up while another goes down"."""
    after = words[index + 1] if index + 1 < len(words) else None
    return words[index].lower == "another" and after is not None and after.role in (Role.VERB, Role.AUXILIARY)


def _refers_back(words: list[Word], index: int) -> bool:
    """Whether it is an object pronoun, or a possessive before a side: who a subject pronoun is, the verbs tell."""
    word = words[index]
    after = words[index + 1] if index + 1 < len(words) else None
    if word.lower in POSSESSIVES:
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


def _mention(words: list[Word], start: int, end: int, lexicon: Lexicon) -> Mention:
    inside = words[start:end]
    head = inside[-1]
    counts = [number for word in inside[:-1] if (number := _number(word, lexicon)) is not None]
    one = inside[0].lower in ("a", "an") and not counts
    plural = head.is_plural and not one and not lexicon.is_in(lexicon.worn, head.lower)
    count = max(counts) if counts else (BARE_PLURAL if plural else 1)
    kept = [
        word
        for word in inside
        if word.role is not Role.DETERMINER
        and word.role is not Role.NUMBER
        and word.lower not in DETERMINERS
        and (word is head or word.lower not in lexicon.numbers)
    ]
    tokens = [word.text for word in kept]
    if plural or count > 1:
        tokens[-1] = singular(tokens[-1].lower())
    return Mention(
        start=start,
        end=end,
        name=_joined(tokens),
        head=singular(head.lower),
        text=_joined([word.text for word in inside]),
        count=count,
        definite=inside[0].lower in ("the", "this", "that", "these", "those", "its", "his", "her", "their"),
        determined=inside[0].role in (Role.DETERMINER, Role.NUMBER) or bool(counts),
        plural=plural,
    )


def _number(word: Word, lexicon: Lexicon) -> int | None:
    """How many a word says there are, at most MOST; a number word that is not listed is a large one."""
    if word.lower in lexicon.numbers:
        return lexicon.numbers[word.lower]
    if word.role is not Role.NUMBER:
        return None
    digits = word.text.replace(",", "")
    if digits.isdecimal():
        return min(MOST, max(1, int(digits)))
    return MOST if word.text.isalpha() else None


def _joined(tokens: list[str]) -> str:
    text = " ".join(tokens)
    return text.replace(" - ", "-").replace(" 's", "'s").replace(" '", "'")


def _merge_of(found: list[Mention], words: list[Word], lexicon: Lexicon) -> list[Mention]:
    """Collectives are counted, contents named: "a flock of birds" is five birds, "a bowl of soup" one such bowl."""
    merged: list[Mention] = []
    for mention in found:
        before = merged[-1] if merged else None
        joined = before is not None and mention.start == before.end + 1 and words[before.end].lower == "of"
        if before is None or not joined:
            merged.append(mention)
        elif before.head in lexicon.collectives or before.head in lexicon.camera:
            each = lexicon.collectives.get(before.head)
            told = each is None or (mention.determined and mention.count > 1)  # "a group of three children"
            number = mention.count if told or each is None else min(MOST, each * before.count)
            words_of_name = mention.name.split()
            merged[-1] = replace(
                mention,
                name=" ".join([*words_of_name[:-1], singular(words_of_name[-1])]) if number > 1 else mention.name,
                start=before.start,
                count=number if mention.plural or mention.count == 1 else mention.count,
                text=f"{before.text} of {mention.text}",
                determined=True,
            )
        elif before.head in lexicon.measures:
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


def _is_relational(mention: Mention, words: list[Word]) -> bool:
    """A place with respect to a thing, and no thing itself: "the top of the bench"."""
    of = mention.end < len(words) and words[mention.end].lower == "of"
    after_side = mention.start > 0 and words[mention.start - 1].role is Role.DIRECTION
    return (of or after_side) and mention.head in RELATIONAL


def _of_many(mention: Mention, words: list[Word], lexicon: Lexicon) -> Mention:
    """ "Three of the penguins" are three."""
    if mention.start < 2 or words[mention.start - 1].lower != "of" or not mention.plural:
        return mention
    number = _number(words[mention.start - 2], lexicon)
    return replace(mention, count=number) if number is not None else mention


def _place_of_scene(mentions: list[Mention], words: list[Word]) -> list[Mention]:
    """What is unheard of before the first comma is the background: "On a terrace with lanterns, a cat sits".

    All of it is where the clause has a place for its subject: "Under a tree, a cat is on the left of a vase".
    """
    commas = [word.index for word in words if word.text == ","]
    if not commas or words[0].role is not Role.PREPOSITION or words[0].lower in NOT_OF_SCENE:
        return mentions
    comma = commas[0]
    opening = words[:comma]
    if any(word.role in (Role.VERB, Role.AUXILIARY) and word.tag in ("VBZ", "VBP", "VBD") for word in opening):
        return mentions
    elsewhere = any(_is_placed(mention, words) for mention in mentions if mention.start > comma)
    beside = any(word.lower in RELATIONAL or word.lower in ("behind", "next") for word in opening)
    if beside and not elsewhere:
        return mentions
    placed = []
    for mention in mentions:
        unheard_of = known(mention.name) is None or mention.plural or mention.start > 2
        scenic = elsewhere or unheard_of or words[0].lower in ("by", "near", "at", "around")
        opens = mention.end <= comma and scenic and mention.use is Use.THING
        placed.append(replace(mention, use=Use.BACKGROUND) if opens else mention)
    return placed


def _is_placed(mention: Mention, words: list[Word]) -> bool:
    """Whether a place beside it is named: "on the left of a vase"."""
    matched = preposition_before(words, mention.start)
    if matched is None:
        return False
    preposition, phrase, _ = matched
    return preposition.arrangement in (Arrangement.LEFT_OF, Arrangement.RIGHT_OF) or "top of" in phrase


def _worn_by_wearers(mentions: list[Mention], words: list[Word], lexicon: Lexicon) -> list[Mention]:
    """One thing each, and that is their name: "a girl with curly hair", "a man in a black suit"."""
    merged: list[Mention] = []
    for mention in mentions:
        before = merged[-1] if merged else None
        worn = mention.use is Use.NOTHING and lexicon.is_in(lexicon.worn, mention.name)
        if before is not None and before.use is Use.THING and mention.start == before.end + 1:
            link = words[before.end].lower
            if _is_attribute(before, mention, link, worn, words, lexicon):
                tail = f" {link} {mention.text}"
                merged[-1] = replace(before, end=mention.end, name=before.name + tail, text=before.text + tail)
                continue
        if worn and not merged and mention.start == 0:
            mention = replace(mention, use=Use.THING)  # a prompt that begins with it is about it
        merged.append(mention)
    return merged


def _could_wear(wearer: Mention, mention: Mention, words: list[Word]) -> bool:
    """Not "a bed with her mouth open"."""
    noun = known(wearer.name)
    return words[mention.start].lower not in POSSESSIVES or noun is None or noun.kind is Kind.ANIMATE


def _is_attribute(
    wearer: Mention, mention: Mention, link: str, worn: bool, words: list[Word], lexicon: Lexicon
) -> bool:
    """Whether it says what another is like: "a man in a green hat", "a cake with candles"; not what has a verb."""
    if any(
        word.role is Role.ADJECTIVE and lexicon.verb_form(word.lower) and word.lower.endswith("ing")
        for word in words[mention.start : mention.end]
    ):
        return False  # "with a fluttering scarf"
    acts = mention.end < len(words) and words[mention.end].tag == "VBG" and words[mention.end].role is Role.VERB
    if worn and link in ("with", "in", "wearing") and _could_wear(wearer, mention, words):
        return not (acts and words[mention.start].lower in POSSESSIVES)
    if link == "wearing":
        return mention.use is not Use.PRONOUN
    if link in ("in", "with") and lexicon.is_in(lexicon.wearable, mention.name):
        return True
    noun = known(mention.name)
    lifeless = noun is None or noun.kind is not Kind.ANIMATE
    return (
        link == "with"
        and mention.use is Use.THING
        and mention.plural
        and not mention.determined
        and lifeless
        and not acts
    )


def _is_apart(mention: Mention, words: list[Word]) -> bool:
    matched = preposition_before(words, mention.start)
    return matched is not None and matched[0].arrangement in APART


def _is_singled_out(mention: Mention, words: list[Word]) -> bool:
    """Whether something is beside it or goes to it, rather than in it: "towards a rainbow river"."""
    matched = preposition_before(words, mention.start)
    if matched is None:
        return False
    preposition, phrase, _ = matched
    return preposition.arrangement in APART or phrase in ("toward", "towards", "past", "against", "away from")


def _use(mention: Mention, words: list[Word], lexicon: Lexicon) -> Use:
    parts = mention.name.split(" of ")
    name = parts[1] if len(parts) > 1 and parts[0].split()[-1].lower() in lexicon.measures else parts[0]
    whole_screen = mention.head == "screen" and " " in name and known(name.split()[-2]) is not None
    if whole_screen:
        return Use.THING  # "a phone screen"
    whole_words = mention.name.lower().split()
    spelled = words[mention.end - 1].lower if " of " not in mention.name else name.split()[-1].lower()
    if lexicon.is_in(lexicon.camera, name) or lexicon.is_in(lexicon.times, name):
        return Use.NOTHING
    if " ".join(whole_words[-2:]) in lexicon.places:
        return Use.BACKGROUND
    before = words[mention.start - 1].lower if mention.start else ""
    one_such = words[mention.start].lower in ("a", "an") and " " in mention.name
    if mention.head in lexicon.grounds and one_such and before in ("on", "onto", "off"):
        return Use.THING  # "on a blue bridge"
    if mention.head in lexicon.grounds:
        return Use.BACKGROUND if before in UPON or mention.plural else Use.THING
    if mention.head in lexicon.interiors and before in ("in", "inside", "at", "into", "through", "from"):
        return Use.BACKGROUND
    if mention.plural and mention.count > 1 and words[mention.start].role is Role.NUMBER:
        return Use.THING  # "five stars"
    is_place = spelled in lexicon.places or (known(name) is None and lexicon.is_in(lexicon.places, name))
    if is_place or (known(name) is None and mention.head.endswith(lexicon.place_endings)):
        singled_out = (
            words[mention.start].lower in ("a", "an") and " " in mention.name and _is_singled_out(mention, words)
        )
        return Use.THING if singled_out else Use.BACKGROUND
    worn_by = before in ("in", "with", "wearing")
    one_such = one_such and "'s" not in mention.name
    if lexicon.is_in(lexicon.worn, name) and ((one_such and not worn_by) or _is_apart(mention, words)):
        return Use.THING  # "below a necklace"
    if lexicon.is_in(lexicon.worn, name) or lexicon.is_in(lexicon.abstract, name):
        return Use.NOTHING
    return Use.THING
