"""What mentions are good for: things to draw, the background, or neither."""

import re
from collections.abc import Sequence
from dataclasses import replace

from planner_service.motion.arrangements import Arrangement
from planner_service.motion.nouns import CONCRETE, Kind, is_a, is_abstract, known
from planner_service.parser.lexicon import lexicon, word_list
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.prepositions import preposition_before
from planner_service.parser.words import Role, Word
from shared.wordnet import senses, supersense

APART = (
    Arrangement.LEFT_OF,
    Arrangement.RIGHT_OF,
    Arrangement.ABOVE,
    Arrangement.BELOW,
    Arrangement.NEXT_TO,
    Arrangement.BEHIND,
)
"""What is so arranged with a place is not in it."""

WEARING = ("in", "with", "wearing")


def with_uses(mentions: Sequence[Mention], words: list[Word]) -> list[Mention]:
    """The mentions, each with its use; what is worn has become part of its wearer's name."""
    quoted = quoted_words(words)
    used = [
        mention
        if mention.use is Use.PRONOUN
        else replace(
            mention,
            use=Use.NOTHING
            if mention.start in quoted
            or _is_worn_by_verb(number, mentions, words)
            or _is_material(number, mentions, words)
            else _use(mention, words),
        )
        for number, mention in enumerate(mentions)
    ]
    owned = [
        replace(mention, use=Use.PRONOUN, head=words[mention.start].lower) if _is_perch(n, used, words) else mention
        for n, mention in enumerate(used)
    ]
    again = [replace(m, use=Use.THING) if _is_again(n, owned) else m for n, m in enumerate(owned)]
    return _worn_by_wearers(_place_of_scene(again, words), words)


def _is_again(number: int, mentions: Sequence[Mention]) -> bool:
    """Whether it is a thing that was mentioned before, whatever its noun means alone: "a traffic light … the light"."""
    mention = mentions[number]
    plain = mention.use is Use.NOTHING and mention.text.lower() == f"the {mention.head}"
    return plain and any(earlier.use is Use.THING and earlier.head == mention.head for earlier in mentions[:number])


def _is_perch(number: int, mentions: Sequence[Mention], words: list[Word]) -> bool:
    """Whether another thing is on or in this part of somebody: "a cat on his lap"."""
    mention = mentions[number]
    before = mentions[number - 1] if number > 0 else None
    if before is None or words[mention.start].lower not in word_list("possessives"):
        return False
    part = lexicon().is_in("worn", mention.name) or mention.head in word_list("perches")
    if before.end < mention.start - 1:  # "a parrot is perched on his shoulder"
        between = words[before.end : mention.start]
        rests = any(word.lemma in word_list("resting") | word_list("landing") for word in between) and all(
            word.text not in ".,;" for word in between
        )
        return (
            part and rests and before.use is Use.THING and between[-1].lower in ("on", "in", "around", "onto", "into")
        )
    first = words[before.start - 1] if before.start > 0 else None
    with_it = first is not None and (first.lower in ("with", ",", "and") or first.lemma in ("carry", "hold"))
    return part and with_it and before.use is Use.THING and words[before.end].lower in ("on", "in", "around")


def quoted_words(words: Sequence[Word]) -> set[int]:
    """The words between double quotation marks: writing, and no things."""
    marks = [word.index for word in words if word.text in ('"', "``", "''", "“", "”")]
    return {index for begin, end in zip(marks[::2], marks[1::2], strict=False) for index in range(begin, end)}


def _use(mention: Mention, words: list[Word]) -> Use:
    parts = mention.name.split(" of ")
    name = parts[1] if len(parts) > 1 and parts[0].split()[-1].lower() in lexicon().nouns["measure"] else parts[0]
    named = " " in name and known(name.split()[-2]) is not None
    if mention.head in ("screen", "frame") and (named or words[mention.start].lower in ("a", "an")):
        return Use.THING  # "a phone screen"
    if mention.head == "one":
        return Use.THING
    opens = mention.start == 0 or words[mention.start - 1].lemma == "be"
    if mention.head in word_list("pictures") and words[mention.start].lower in ("a", "an") and not opens:
        return Use.THING  # "a bird in a picture"
    spelled = words[mention.end - 1].lower if " of " not in mention.name else name.split()[-1].lower()
    if lexicon().is_in("camera", name) or lexicon().is_in("time", name):
        return Use.NOTHING
    before = words[mention.start - 1].lower if mention.start else ""
    if mention.text.lower() == "fire" and before == "on":
        return Use.NOTHING
    one_such = words[mention.start].lower in ("a", "an") and " " in mention.name
    if mention.head in lexicon().nouns["ground"] and one_such and before in ("on", "onto", "off", "across", "over"):
        return Use.THING  # "on a blue bridge"
    climbed = before in ("up", "down") and words[mention.start - 2].lemma in word_list("climbing")
    if mention.head in lexicon().nouns["ground"] and climbed and not mention.plural:
        return Use.THING
    if mention.head in lexicon().nouns["ground"]:
        return Use.BACKGROUND if before in word_list("upon") or mention.plural else Use.THING
    indoors = before in ("in", "inside") and known(name) is None and is_a(mention.head, frozenset(("building", "room")))
    if indoors or (
        mention.head in lexicon().nouns["interior"] and before in ("in", "inside", "at", "into", "through", "from")
    ):
        return Use.BACKGROUND
    if mention.plural and mention.count > 1 and words[mention.start].role is Role.NUMBER:
        return Use.THING  # "five stars"
    is_place = spelled in lexicon().nouns["place"] or (known(name) is None and lexicon().is_in("place", name))
    if is_place or (known(name) is None and mention.head.endswith(lexicon().place_endings)):
        singled_out = (
            words[mention.start].lower in ("a", "an") and " " in mention.name and _is_singled_out(mention, words)
        )
        return Use.THING if singled_out else Use.BACKGROUND
    worn_by = before in WEARING or _is_joined_to_worn(mention, words)
    one_such = one_such and "'s" not in mention.name
    if lexicon().is_in("worn", name) and ((one_such and not worn_by) or _is_apart(mention, words)):
        return Use.THING  # "below a necklace"
    if lexicon().is_in("worn", name):
        return Use.NOTHING
    pair = " ".join([*name.lower().split()[-2:-1], mention.head])
    if " " in pair and supersense(pair) == "noun.location":
        return Use.THING if _is_singled_out(mention, words) else Use.BACKGROUND  # "a parking lot"
    if " " in pair and any(sense.supersense in CONCRETE for sense in senses(pair)):
        return Use.THING  # "a remote control"
    if lexicon().is_in("abstract", name):
        compound = mention.end - mention.start > 1 and words[mention.end - 2].role is Role.NOUN
        return Use.THING if compound and not is_abstract(mention.head) else Use.NOTHING  # "a street light"
    if known(name) is None and supersense(mention.head) == "noun.location":
        return Use.BACKGROUND
    if known(name) is None and is_a(mention.head, word_list("scenery")):
        return Use.BACKGROUND if before in word_list("upon") or mention.plural else Use.THING
    abstract = known(name) is None and is_abstract(mention.head) and not is_called(mention, words)
    return Use.NOTHING if abstract and not _is_on_its_way(mention, words) else Use.THING


def _is_joined_to_worn(mention: Mention, words: list[Word]) -> bool:
    """Whether "and" joins it to what somebody wears: "in a coat and a helmet"."""
    if words[mention.start - 1].lower != "and":
        return False
    nominal = (Role.NOUN, Role.ADJECTIVE, Role.DETERMINER, Role.LINK)
    before = next((word for word in reversed(words[: mention.start - 1]) if word.role not in nominal), None)
    return before is not None and before.lower in WEARING


def is_called(mention: Mention, words: Sequence[Word]) -> bool:
    """Whether it is somebody's name: "Anna"."""
    last = words[mention.end - 1]
    return last.tag in ("NNP", "NNPS") and last.text[:1].isupper() and not mention.determined


def _is_on_its_way(mention: Mention, words: list[Word]) -> bool:
    """Whether the verb after it says that it travels, as no journey does: "a pinball rolls", though that is a game."""
    after = words[mention.end] if mention.end < len(words) else None
    verb = lexicon().verbs.get(after.lemma) if after is not None and after.role is Role.VERB else None
    return verb is not None and verb.travels


def _is_apart(mention: Mention, words: list[Word]) -> bool:
    matched = preposition_before(words, mention.start)
    if matched is None:
        return False
    gone_to = matched[0].goal is not None and matched[1] != "at" and words[mention.start].lower in ("a", "an", "the")
    return gone_to or matched[0].arrangement in (*APART, Arrangement.IN_FRONT_OF)


def _is_singled_out(mention: Mention, words: list[Word]) -> bool:
    """Whether something is beside it or goes to it, rather than in it: "towards a rainbow river"."""
    matched = preposition_before(words, mention.start)
    if matched is None:
        return False
    preposition, phrase, _ = matched
    below = preposition.arrangement is Arrangement.ABOVE and is_a(mention.head, word_list("scenery"))
    return (preposition.arrangement in APART and not below) or phrase in (
        "toward",
        "towards",
        "past",
        "against",
        "away from",
    )


def _place_of_scene(mentions: list[Mention], words: list[Word]) -> list[Mention]:
    """What is unheard of before the first comma is the background: "On a terrace with lanterns, a cat sits".

    All of it is where the clause has a place for its subject: "Under a tree, a cat is on the left of a vase".
    """
    commas = [word.index for word in words if word.text == ","]
    if not commas or words[0].role is not Role.PREPOSITION or words[0].lower in word_list("not_of_scene"):
        return mentions
    comma = commas[0]
    opening = words[:comma]
    if any(word.role in (Role.VERB, Role.AUXILIARY) and word.tag in ("VBZ", "VBP", "VBD") for word in opening):
        return mentions
    elsewhere = any(_is_placed(mention, words) for mention in mentions if mention.start > comma)
    beside = any(word.lower in word_list("relational") or word.lower in ("behind", "next") for word in opening)
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


def _worn_by_wearers(mentions: list[Mention], words: list[Word]) -> list[Mention]:
    """One thing each, and that is their name: "a girl with curly hair", "a man in a black suit"."""
    merged: list[Mention] = []
    for mention in mentions:
        before = merged[-1] if merged else None
        worn = mention.use is Use.NOTHING and lexicon().is_in("worn", mention.name)
        if before is not None and before.use is Use.THING and mention.start == before.end + 1:
            link = words[before.end].lower
            listed = link in ("and", ",", "&") and re.search(r" (?:with|in|wearing) ", before.name) is not None
            wearable = worn or is_wearable(mention)
            plain = mention.plural and not mention.determined and mention.use is not Use.PRONOUN
            lifeless = (noun := known(mention.name)) is None or noun.kind is not Kind.ANIMATE
            if (listed and (wearable or (plain and lifeless))) or _is_attribute(before, mention, link, worn, words):
                tail = f" {link} {mention.text}"
                merged[-1] = replace(before, end=mention.end, name=before.name + tail, text=before.text + tail)
                continue
        if worn and not merged and mention.start == 0:
            mention = replace(mention, use=Use.THING)  # a prompt that begins with it is about it
        merged.append(mention)
    return merged


def _is_attribute(wearer: Mention, mention: Mention, link: str, worn: bool, words: list[Word]) -> bool:
    """Whether it says what another is like: "a man in a green hat", "a cake with candles"; not what has a verb."""
    if link != "in" and any(
        word.role is Role.ADJECTIVE and lexicon().verb_form(word.lower) and word.lower.endswith("ing")
        for word in words[mention.start : mention.end]
    ):
        return False  # "with a fluttering scarf"
    done_to = wearer.start > 0 and words[wearer.start - 1].role is Role.VERB
    if worn and done_to and words[mention.start].lower in word_list("possessives"):
        return False  # "stabs a frog with its beak"
    acts = mention.end < len(words) and words[mention.end].tag == "VBG" and words[mention.end].role is Role.VERB
    if worn and link in ("with", "in", "wearing") and _could_wear(wearer, mention, words):
        return not (acts and words[mention.start].lower in word_list("possessives"))
    if link == "wearing":
        return mention.use is not Use.PRONOUN
    if (
        link in ("in", "with")
        and is_wearable(mention)
        and (_is_dressed(wearer) if link == "with" else _could_wear(wearer, mention, words))
    ):
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


def _is_dressed(wearer: Mention) -> bool:
    """Not "roses with a hose"."""
    noun = known(wearer.name)
    return noun is None or noun.kind is not Kind.SOFT


def is_wearable(mention: Mention) -> bool:
    """Whether people wear it."""
    return lexicon().is_in("wearable", mention.name) or (
        is_a(mention.head, word_list("clothes")) and not is_a(mention.head, frozenset(("shelter",)))
    )


def _is_worn_by_verb(number: int, mentions: Sequence[Mention], words: list[Word]) -> bool:
    """Whether it is what somebody is said to wear: "she is wearing a hat and a scarf"."""
    mention = mentions[number]
    before = words[mention.start - 1] if mention.start else None
    if before is None:
        return False
    if before.role is Role.VERB and before.lemma == "wear":
        return True
    if before.lower == "as" and mention.start > 1 and words[mention.start - 2].lemma in ("dress", "disguise"):
        return True
    joins = number > 0 and before.lower in ("and", ",") and mention.start - mentions[number - 1].end <= 2
    return joins and _is_worn_by_verb(number - 1, mentions, words)


def _is_material(number: int, mentions: Sequence[Mention], words: list[Word]) -> bool:
    """Whether something is said to be made of it: "a dragon made of gears and copper"."""
    mention = mentions[number]
    if [word.lower for word in words[max(0, mention.start - 2) : mention.start]] == ["made", "of"]:
        return True
    joins = number > 0 and words[mention.start - 1].lower in ("and", ",") and not mention.determined
    return joins and mentions[number - 1].end == mention.start - 1 and _is_material(number - 1, mentions, words)


def _could_wear(wearer: Mention, mention: Mention, words: list[Word]) -> bool:
    """Not "a bed with her mouth open"."""
    noun = known(wearer.name)
    return words[mention.start].lower not in word_list("possessives") or noun is None or noun.kind is Kind.ANIMATE
