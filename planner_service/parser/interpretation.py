"""Which of the things that a prompt mentions are drawn, and what comes of them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from planner_service.explanation import Explained
from planner_service.motion.nouns import Kind, is_a, known
from planner_service.parser.actions import Action, actions_of
from planner_service.parser.attachments import attachments_of
from planner_service.parser.composition import compose
from planner_service.parser.lexicon import lexicon, word_list
from planner_service.parser.members import members_of, with_members, with_places
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.picture import Picture
from planner_service.parser.prepositions import preposition_before
from planner_service.parser.pronouns import antecedents
from planner_service.parser.riding import shares_count
from planner_service.parser.scene import scene_of
from planner_service.parser.sequence import in_sequence
from planner_service.parser.subjects import gender, mention_at
from planner_service.parser.unsaid import unsaid
from planner_service.parser.uses import is_called
from planner_service.parser.words import Role, Word
from shared.motion_graph import MotionLabel
from shared.wordnet import senses, supersense

CHANGING = ("verb.change", "verb.weather", "verb.perception")
"""Kinds of verbs that say how a place looks, and not that it is a thing: "the sky darkens"."""

FILLED = (["with"], ["full", "of"])
"""Between a place and what is there."""


def interpret(prompt: str, words: Sequence[Word], mentions: Sequence[Mention], picture: Picture) -> Explained:
    mentions = list(mentions)
    told = actions_of(words, mentions)
    mentions = _promote_acting(words, mentions, told)
    drawn = _choose_drawn(words, mentions, told)
    members = members_of(mentions, drawn)
    mentions, told = with_members(members, mentions, told)
    actions = in_sequence(told, words, drawn)
    for one, other in equate(words, mentions, actions):
        if drawn.get(one) == one and drawn.get(other) == other:  # what it is says more than what it is called
            mentions[one] = replace(mentions[one], name=mentions[other].name, head=mentions[other].head)
            drawn[other] = one
    if not drawn:
        mentions, drawn = _something(prompt, mentions)
    for pronoun, number in antecedents(words, mentions, actions).items():
        if number in drawn:
            drawn[pronoun] = drawn[number]
    for action in actions:
        owners = sum(mentions[n].count for n in action.subjects)
        for n in action.objects:
            if words[mentions[n].start].lower == "their" and mentions[n].plural:  # "three knights lift their swords"
                mentions[n] = replace(mentions[n], count=max(mentions[n].count, owners))
    said = attachments_of(words, mentions, actions)
    attachments = with_places(members, mentions, [*said, *unsaid(words, mentions, actions, said)])
    for a in attachments:
        if shares_count(mentions[a.source], mentions[a.target], a):
            mentions[a.target] = replace(mentions[a.target], count=mentions[a.source].count)
    return compose(scene_of(prompt, words, mentions, actions, attachments, drawn, picture))


def _promote_acting(words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> list[Mention]:
    """The mentions; a place or a part that does something, or that something is done to, is a thing after all."""
    seen = list(mentions)
    for action in actions:
        moves = action.verb.label is not MotionLabel.MOTIONLESS
        changes = action.lemma == "become" or supersense(action.lemma, "verb") in CHANGING
        for number in action.subjects:
            worn = seen[number].use is Use.NOTHING and lexicon().is_in("worn", seen[number].name)
            acts = worn and moves and action.listed and not action.passive
            opens = number == 0 and seen[0].start == 0 and action.lemma != "be"  # "Silk river standing on an elephant"
            does = (moves or opens) and not action.passive and not (changes and not action.verb.travels)
            does = does and not seen[number].start <= action.index < seen[number].end  # "in a rushing river"
            if acts or (does and seen[number].use is Use.BACKGROUND):
                seen[number] = replace(seen[number], use=Use.THING)
        for number in action.objects:
            of_camera = lexicon().is_in("camera", seen[number].name)
            picked = action.verb.object == "held" or not of_camera  # "holding a camera"
            shown = seen[number].head not in word_list("face")
            handled = action.verb.object is not None and seen[number].determined and picked and shown
            one_such = seen[number].text.lower().startswith(("a ", "an "))
            if one_such and action.verb.object in ("passed", "approached") and seen[number].use is Use.BACKGROUND:
                seen[number] = replace(seen[number], use=Use.THING)  # "passes a gas station"
            if handled and seen[number].use is Use.NOTHING:
                seen[number] = replace(seen[number], use=Use.THING)
        if action.lemma == "become":
            for number in action.objects:
                if not seen[number].determined:
                    seen[number] = replace(seen[number], use=Use.NOTHING)  # "turns gold"
    return seen


def _choose_drawn(words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> dict[int, int]:
    """Which mentions are of an instance, each with the first mention of the same one."""
    acting = {number for action in actions for number in action.subjects}
    acting |= {number for action in actions if action.verb.object == "follows" for number in action.objects}
    drawn: dict[int, int] = {}
    for number, mention in enumerate(mentions):
        if mention.use is not Use.THING:
            continue
        if number not in acting and not _is_shown(number, words, mentions):
            continue
        earlier = [first for first in drawn if drawn[first] == first and mentions[first].end <= mention.start]
        if mention.part or (mention.head == "one" and mention.definite and _is_of_group(mention, earlier, mentions)):
            drawn[number] = number
            continue
        same = [
            first
            for first in earlier
            if _is_same(mentions[first], mention)
            and len({_side(mentions[first], words), _side(mention, words), ""}) < 3
        ]
        same = same or [first for first in reversed(earlier) if _is_called(mentions[first], mention)]
        drawn[number] = same[0] if same else number
    return drawn


def equate(words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> Iterator[tuple[int, int]]:
    """What is said to be another, and that: "the speaker is a tall man"."""
    for action in actions:
        after = action.index + 1
        number = mention_at(mentions, after) if action.lemma == "be" and after < len(words) else None
        if number is None or mentions[number].start != after or words[after].lower not in ("a", "an", "the"):
            continue
        told = [n for n in action.subjects if mentions[n].end <= action.index and mentions[n].count == 1]
        if len(told) == 1 and mentions[number].count == 1 and mentions[told[0]].use is Use.THING:
            yield told[0], number


def _is_shown(number: int, words: Sequence[Word], mentions: Sequence[Mention]) -> bool:
    mention = mentions[number]
    before = words[mention.start - 1] if mention.start else None
    matched = preposition_before(words, mention.start)
    located = matched is not None and (matched[0].arrangement is not None or matched[1] == "out of")
    after = words[mention.end] if mention.end < len(words) else None
    if before is not None and before.lower == "as" and after is not None and after.role is Role.VERB:
        return True  # "as a snail looks on"
    if number > 0 and _fills(mention, mentions[number - 1], words):
        return True
    close_up = [word.lower for word in words[max(0, mention.start - 3) : mention.start]] == ["close", "up", "of"]
    if before is not None and before.lower in word_list("not_shown") and before.role is Role.PREPOSITION:
        return located or close_up
    into = after is not None and after.lower in ("into", "onto", "over")
    poured = into and before is not None and before.lemma in ("pour", "spill")
    handled = before_is_verb(before) and bool(senses(mention.head))
    handled = handled and (poured or not is_a(mention.head, word_list("liquids")))
    landed_on = (
        matched is not None and matched[1] in ("on", "onto", "upon") and is_a(mention.head, word_list("footing"))
    )
    unheard_of = known(mention.name) is None and not handled and not landed_on
    beside = before is not None and (before.lower in word_list("beside_names") or before_is_verb(before))
    named = beside and is_called(mention, words)
    if unheard_of and not named and not mention.determined and before is not None and before.role is not Role.OTHER:
        return False
    if number > 0 and before is not None and not mention.determined:
        neighbour = mentions[number - 1]
        describes_place = neighbour.use is Use.BACKGROUND and mention.start - neighbour.end <= 1 and before.text != ","
        noun = known(mention.name)
        things = noun is not None and noun.kind is not Kind.SOFT and " " in mention.name
        things = things or before_is_verb(words[mention.start - 2])  # "plays with blocks"
        if describes_place or (
            mention.plural and not things and before.lower in ("among", "through", "between", "of", "from", "with")
        ):
            return False
    return True


def _fills(mention: Mention, place: Mention, words: Sequence[Word]) -> bool:
    """Whether it is what there is in a place: "a harbor with boats", not "she waits in a harbor with boats"."""
    told_of = place.start == 0 or words[place.start - 1].role is not Role.PREPOSITION
    between = [word.lower for word in words[place.end : mention.start]]
    return place.use is Use.BACKGROUND and told_of and between in FILLED and known(mention.name) is not None


def before_is_verb(before: Word | None) -> bool:
    return before is not None and before.role is Role.VERB


def _is_of_group(one: Mention, earlier: Sequence[int], mentions: Sequence[Mention]) -> bool:
    """Whether "the red one" is one of several, and not what is red already."""
    said = set(one.name.lower().split()[:-1])
    alike = [n for n in earlier if mentions[n].count == 1 and said <= set(mentions[n].name.lower().split())]
    return not alike and any(mentions[n].count > 1 for n in earlier)


def _side(mention: Mention, words: Sequence[Word]) -> str:
    """The side that tells it from another: "the man on the left"."""
    after = [word.lower for word in words[mention.end : mention.end + 3]]
    return after[-1] if after[:2] == ["on", "the"] and after[-1] in ("left", "right") else ""


def _is_same(first: Mention, second: Mention) -> bool:
    """A definite mention of a noun that was there already: "a rabbit … then the rabbit"."""
    if second.head == "one":
        return second.definite and set(second.name.lower().split()[:-1]) <= set(first.name.lower().split())
    said, again = set(first.name.lower().split()), set(second.name.lower().split())
    return second.definite and first.head == second.head and (again <= said or first.name.lower() == first.head)


def _is_called(first: Mention, second: Mention) -> bool:
    """Whether a definite mention says by another noun what was there already: "a sparrow … the bird"."""
    plain = second.name.lower() == second.head and second.text.lower().startswith("the ")
    if plain and f" {second.head} of " in f" {first.text.lower()}":
        return True  # "a herd of elephants … the herd"
    if plain and gender(second) is not None and second.head in first.name.lower().split()[:-1]:
        return True  # "a mother bear … the mother"
    return (
        plain
        and first.count == second.count
        and first.head != second.head
        and is_a(first.head, frozenset((second.head,)))
    )


def _something(prompt: str, mentions: list[Mention]) -> tuple[list[Mention], dict[int, int]]:
    """A place, or whatever the prompt says, where it mentions nothing else; of "a beach with palm trees" the trees."""
    places = [number for number, mention in enumerate(mentions) if mention.use is Use.BACKGROUND]
    scenery = [number for number in places if known(mentions[number].name) is not None]
    ignored = [number for number, mention in enumerate(mentions) if mention.use is Use.NOTHING]
    if (number := next(iter((*scenery, *places, *ignored)), None)) is not None:
        count = mentions[number].count if number in scenery else 1
        mentions[number] = replace(mentions[number], use=Use.THING, count=count)
        return mentions, {number: number}
    name = " ".join(re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", prompt))[:120]
    mentions.append(Mention(start=0, end=0, name=name, head=name.split()[-1].lower(), text=name, use=Use.THING))
    return mentions, {len(mentions) - 1: len(mentions) - 1}
