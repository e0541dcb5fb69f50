"""What object pronouns and possessives refer to."""

from collections.abc import Sequence

from planner_service.motion.nouns import Kind, is_a, known, noun_of
from planner_service.parser.actions import Action
from planner_service.parser.lexicon import word_list
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.prepositions import preposition_around, preposition_before
from planner_service.parser.subjects import gender, mention_at
from planner_service.parser.words import Role, Word

PEOPLE = frozenset(("person", "social group"))
"""What is one of these is not "it"."""


def antecedents(words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> dict[int, int]:
    """For each pronoun's mention the last thing before it that it fits, and that is not what acts there.

    "A goat starts on the left of a barrel, then jumps onto it": the goat cannot jump onto itself.  What was only said
    to be where another is comes after that: of "a cake on a table, a dog in front of it" it is the cake.
    """
    found: dict[int, int] = {}
    for number, mention in enumerate(mentions):
        if mention.use is not Use.PRONOUN:
            continue
        located = _located_thing(words, mentions, mention)
        of_body = mention.end > mention.start + 1  # "in its mouth"
        bearer = _bearer(words, mentions, located) if not of_body else None
        if bearer is not None and (
            words[mention.start].role is not Role.DETERMINER or _fits(mention.head, mentions[bearer])
        ):
            found[number] = bearer
            continue
        around = [a for a in actions if a.start <= mention.start < a.end and a.index < mention.start]
        excluded = {n for a in around for n in a.subjects} if located is None else {located}
        candidates = [
            n
            for n, other in enumerate(mentions)
            if other.use is Use.THING and other.end <= mention.start and n not in excluded
        ]
        alive = [n for n in candidates if noun_of(mentions[n].name).kind is Kind.ANIMATE] if of_body else []
        candidates = [n for n in alive or candidates if _fits(mention.head, mentions[n])] or candidates
        pronoun = {"him": "he", "his": "he", "her": "she"}.get(mention.head)
        if pronoun is not None:
            people = [n for n in candidates if is_a(mentions[n].head, word_list("person"))] or candidates
            candidates = [n for n in people if gender(mentions[n]) == pronoun] or people
        heads = [n for n in candidates if words[mentions[n].start - 1].role is not Role.PREPOSITION]
        if candidates:
            found[number] = (heads or candidates)[-1]
    return found


def _bearer(words: Sequence[Word], mentions: Sequence[Mention], located: int | None) -> int | None:
    """What has it: of "a table with two plates on it" the table."""
    if located is None or located == 0 or words[mentions[located].start - 1].lower != "with":
        return None
    before = mentions[located - 1]
    return located - 1 if before.end == mentions[located].start - 1 and before.use is Use.THING else None


def _located_thing(words: Sequence[Word], mentions: Sequence[Mention], pronoun: Mention) -> int | None:
    """What stands right before the preposition: of "a dog in front of it" the dog."""
    possessive = words[pronoun.start].role is Role.DETERMINER and pronoun.end == pronoun.start + 1
    matched = (preposition_around if possessive else preposition_before)(words, pronoun.start)
    if matched is None or matched[2] == 0 or matched[0].goal is not None:
        return None  # "from the left of a box to its right" is not about the box
    number = mention_at(mentions, matched[2] - 1)
    return number if number is not None and mentions[number].use is Use.THING else None


def _fits(pronoun: str, mention: Mention) -> bool:
    noun = known(mention.name)
    match pronoun:
        case "them" | "their":
            return mention.count > 1
        case "him" | "his" | "her":
            return noun is not None and noun.kind is Kind.ANIMATE
        case _:
            return mention.count == 1 and not (pronoun == "it" and is_a(mention.head, PEOPLE))
