"""What object pronouns and possessives refer to."""

from collections.abc import Sequence

from planner_service.nouns import Kind, known
from planner_service.parser.actions import Action, mention_at
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.prepositions import preposition_around, preposition_before
from planner_service.parser.words import Role, Word


def antecedents(words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> dict[int, int]:
    """For each pronoun's mention the last thing before it that it fits, and that is not what acts there.

    "A goat starts on the left of a barrel, then jumps onto it": the goat cannot jump onto itself.
    """
    found: dict[int, int] = {}
    for number, mention in enumerate(mentions):
        if mention.use is not Use.PRONOUN:
            continue
        acting = {
            n for a in actions if a.start <= mention.start < a.end and a.index < mention.start for n in a.subjects
        }
        located = _located(words, mentions, mention)
        candidates = [
            n
            for n, other in enumerate(mentions)
            if other.use is Use.THING and other.end <= mention.start and n not in acting and n != located
        ]
        fitting = [n for n in candidates if _fits(mention.head, mentions[n])]
        if candidates:
            found[number] = (fitting or candidates)[-1]
    return found


def _located(words: Sequence[Word], mentions: Sequence[Mention], pronoun: Mention) -> int | None:
    """What stands right before the preposition: of "a dog in front of it" the dog."""
    possessive = words[pronoun.start].role is Role.DETERMINER
    matched = (preposition_around if possessive else preposition_before)(words, pronoun.start)
    return mention_at(mentions, matched[2] - 1) if matched is not None and matched[2] > 0 else None


def _fits(pronoun: str, mention: Mention) -> bool:
    noun = known(mention.name)
    match pronoun:
        case "them" | "their":
            return mention.count > 1
        case "him" | "his" | "her":
            return noun is not None and noun.kind is Kind.ANIMATE
        case _:
            return mention.count == 1
