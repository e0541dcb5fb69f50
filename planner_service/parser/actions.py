"""Verbs: who does what to whom, and which words of the prompt belong to each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner_service.motion.cues import Manner
from planner_service.motion.nouns import Kind, is_a, known, noun_of
from planner_service.parser.entries import entry_of, goes_along, meaning_of
from planner_service.parser.lexicon import ACTIVITY, Verb, lexicon, word_list
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.subjects import SKIPPED, mention_at, subjects_of
from planner_service.parser.uses import quoted_words
from planner_service.parser.words import Role, Word
from shared.motion_graph import MotionLabel
from shared.wordnet import senses

SMALL = 0.35
"""What is no higher than this share of a doer's height is moved by hand."""


@dataclass(frozen=True)
class Action:
    index: int
    """The verb's place among the words."""
    said: str
    """The verb as it stands in the prompt."""
    lemma: str
    """The lexicon's entry, a verb's base form if it has none."""
    verb: Verb
    passive: bool
    subjects: tuple[int, ...]
    """Indices of mentions."""
    objects: tuple[int, ...]
    start: int
    end: int
    """The words that belong to it: from after its subject up to `end` (exclusive)."""
    text: str
    """Those words, in lower case."""
    about: str
    """The words that say where and how: those, and what stands before the subject, without the entry's particle."""
    negated: bool = False
    """It is said not to happen: "does not run"."""
    sequence: int = 0
    """0 at first; one more after each "then"."""

    @property
    def listed(self) -> bool:
        """Whether the lexicon says more of the verb than that it is one."""
        return self.verb != ACTIVITY


def actions_of(words: Sequence[Word], mentions: Sequence[Mention]) -> list[Action]:
    quoted = quoted_words(words)
    verbs = [
        word
        for word in words
        if word.role is Role.VERB and word.index not in quoted and not _is_of_camera(word, words, mentions)
    ]
    subjects: dict[int, tuple[int, ...]] = {}
    for word in verbs:
        subjects[word.index] = subjects_of(word, words, mentions, subjects)
    actions: list[Action] = []
    acting = {mention for group in subjects.values() for mention in group}
    for position, word in enumerate(verbs):
        group = subjects[word.index]
        entry, particle = entry_of(word, words, [mentions[number].head for number in group])
        if entry is None:
            continue
        following = verbs[position + 1] if position + 1 < len(verbs) else None
        begin, end = _span(word, following, subjects, words, mentions)
        fronted = _fronted(word, group, words, mentions)
        passive = _is_passive(word, words)
        objects = () if goes_along(entry, word, words) else _objects(word, words, mentions, acting, particle)
        crossed = any(not lexicon().is_in("camera", mentions[number].name) for number in objects)
        meaning = lexicon().verbs.get(entry)
        goes = meaning is not None and (meaning.travels or meaning.object == "travels" or meaning.direction is not None)
        idle = {w.index for w in words[word.index + 1 : end] if w.tag == "RP" and not goes}  # "folds up a chair"
        inside = [
            w
            for w in words[begin:end]
            if w.index not in particle and w.index not in idle and not _is_along(w, words, mentions)
        ]
        own = max((w.index + 1 for w in words[begin : word.index] if w.role is Role.PRONOUN), default=begin)
        actions.append(
            Action(
                index=word.index,
                said=word.text,
                lemma=entry,
                verb=_of_object(entry, meaning_of(entry, word, words, crossed=crossed), group, objects, mentions),
                passive=passive,
                subjects=group,
                objects=objects,
                start=begin,
                end=end,
                text=text_of(words[own:end]),
                about=text_of([*fronted, *inside]),
                negated=any(w.lower in word_list("negations") for w in words[max(0, begin - 1) : word.index]),
            )
        )
    actions += _participles(words, mentions)
    actions += [agent for action in actions if (agent := _agent(action, words, mentions)) is not None]
    return sorted(actions, key=lambda action: action.index)


def _of_object(
    entry: str, verb: Verb, doers: Sequence[int], objects: Sequence[int], mentions: Sequence[Mention]
) -> Verb:
    """Who moves a small thing stays where they are: "moves a pawn", not "moves a sofa"; who drives sheep rides none.

    A mountain that rises only stands there.
    """
    if entry == "rise" and doers and all(is_a(mentions[number].head, word_list("rising")) for number in doers):
        return lexicon().verbs["tower"]
    if not doers or not objects:
        return verb
    doer, thing = noun_of(mentions[doers[0]].name), noun_of(mentions[objects[0]].name)
    if entry == "move" and thing.height < SMALL * doer.height:
        return replace(verb, object="made_to")
    return lexicon().verbs["herd"] if entry == "drive" and thing.kind is Kind.ANIMATE else verb


def _is_along(word: Word, words: Sequence[Word], mentions: Sequence[Mention]) -> bool:
    """Whether "up" or "down" means along what follows: "down the street", but not "down the stairs"."""
    if word.lower not in ("up", "down") or word.index + 1 >= len(words):
        return False
    number = mention_at(mentions, word.index + 1)
    if number is None or mentions[number].start != word.index + 1:
        return False
    level = mentions[number].use is Use.BACKGROUND or is_a(mentions[number].head, word_list("level"))
    return level and not is_a(mentions[number].head, word_list("steep"))


def _is_of_camera(word: Word, words: Sequence[Word], mentions: Sequence[Mention]) -> bool:
    """Whether it is about the picture: "zooms in on a leaf", but not "a race car zooms past"."""
    if word.lemma not in lexicon().camera_verbs:
        return False
    number = mention_at(mentions, word.index - 1) if word.index > 0 else None
    of_thing = number is not None and mentions[number].use is Use.THING and word.lemma in lexicon().verbs
    return not of_thing or any(after.lower in ("in", "out") for after in words[word.index + 1 : word.index + 2])


def text_of(words: Sequence[Word]) -> str:
    return " ".join(word.lower for word in words)


def _objects(
    word: Word, words: Sequence[Word], mentions: Sequence[Mention], acting: set[int], particle: tuple[int, ...]
) -> tuple[int, ...]:
    """What stands right after the verb, and what "and" joins to it unless that acts itself."""
    index = word.index + 1
    while index < len(words) and (words[index].role is Role.ADVERB or words[index].tag == "RP" or index in particle):
        index += 1
    number = mention_at(mentions, index) if index < len(words) else None
    if number is None or mentions[number].start < word.index:
        return ()
    found = [number]
    if _has_two(word, number, mentions):
        found = [number + 1]  # "gives a girl a rose"
    while found[-1] + 1 < len(mentions):
        here, after = mentions[found[-1]], mentions[found[-1] + 1]
        between = words[here.end : after.start]
        if not between or any(w.lower not in word_list("linking") for w in between) or found[-1] + 1 in acting:
            break
        following = words[after.end].lower if after.end < len(words) else ""
        if all(w.text == "," for w in between) and following not in word_list("linking"):
            break  # "carries a child, smoke in the background"
        found.append(found[-1] + 1)
    return tuple(found)


def _has_two(word: Word, number: int, mentions: Sequence[Mention]) -> bool:
    """Whether the first of two that follow a verb is who gets the other."""
    after = mentions[number + 1] if number + 1 < len(mentions) else None
    follows = after is not None and after.start == mentions[number].end and after.determined
    return follows and word.lemma in word_list("giving")


def _agent(action: Action, words: Sequence[Word], mentions: Sequence[Mention]) -> Action | None:
    """The same action of who does it: "a mouse is chased by a cat"."""
    if not action.passive or action.verb.label is MotionLabel.MOTIONLESS:
        return None
    for number, mention in enumerate(mentions):
        said = action.index < mention.start < action.end and words[mention.start - 1].lower == "by"
        noun = known(mention.name)
        able = noun is not None and (noun.kind is Kind.ANIMATE or (noun.kind is Kind.VEHICLE and action.verb.travels))
        if said and mention.use is Use.THING and (able or action.verb.object == "follows"):
            return replace(action, passive=False, subjects=(number,), objects=action.subjects, start=mention.end)
    return None


def _span(
    word: Word,
    following: Word | None,
    subjects: dict[int, tuple[int, ...]],
    words: Sequence[Word],
    mentions: Sequence[Mention],
) -> tuple[int, int]:
    begin = _begin(word, words)
    clause = next((w.index for w in words[word.index :] if w.text in word_list("clause_ends")), len(words))
    if following is None:
        return begin, clause
    group = subjects[following.index]
    starts = [mentions[number].start for number in group if mentions[number].start > word.index]
    if starts and (fronted := _fronted(following, group, words, mentions)):
        starts.append(fronted[0].index)
    return begin, max(word.index + 1, min([_begin(following, words), clause, *starts]))


def _begin(word: Word, words: Sequence[Word]) -> int:
    """Where a verb's adverbs and helpers begin, a pronoun among them: "suddenly it starts to run"."""
    begin = word.index
    while begin > 0:
        before = words[begin - 1]
        helps = before.role is Role.VERB and before.lemma in lexicon().aspect_verbs
        leads = before.lower == "to" and begin > 1 and words[begin - 2].lemma in lexicon().aspect_verbs
        refers = before.lower in ("he", "she", "it", "they")
        if before.role not in SKIPPED and not helps and not leads and not refers:
            break
        begin -= 1
    return begin


def _fronted(word: Word, group: Sequence[int], words: Sequence[Word], mentions: Sequence[Mention]) -> Sequence[Word]:
    """What stands before the subject and says where to: "From left to right, a tram glides"."""
    if not group or mentions[group[0]].start > word.index:
        return ()
    pronouns = [w.index for w in words[mentions[group[0]].end : word.index] if w.role is Role.PRONOUN]
    end = pronouns[-1] if pronouns else mentions[group[0]].start
    while end > 0 and words[end - 1].text == ",":
        end -= 1
    begin = end
    while (
        begin > 0
        and words[begin - 1].lower not in word_list("clause_starts")
        and words[begin - 1].role is not Role.VERB
    ):
        begin -= 1
    before = words[begin:end]
    if not before or (begin > 0 and words[begin - 1].role is Role.VERB):
        return ()
    opens = before[0].role in (Role.PREPOSITION, Role.DIRECTION, Role.ADVERB)
    return before if opens else ()


def _is_passive(word: Word, words: Sequence[Word]) -> bool:
    """By its tag; of "a dog and a cat run" the tagger says so wrongly, for want of an auxiliary."""
    if word.tag != "VBN" or word.token.tag_ != "VBN":
        return False
    helpers = {w.lower for w in words[max(0, word.index - 4) : word.index] if w.role is Role.AUXILIARY}
    return not helpers & {"has", "have", "had", "having"} and (bool(helpers) or word.lower != word.lemma)


def _is_for(verb: Verb, mention: Mention) -> bool:
    """Whether it says what a thing is for and not what it does: "riding boots"."""
    noun = known(mention.name)
    walks = verb.manner is Manner.STRIDE or verb.object == "rides"
    return walks and noun is not None and noun.kind is Kind.OBJECT


def _participles(words: Sequence[Word], mentions: Sequence[Mention]) -> list[Action]:
    """What participles before a noun say: "a speeding boat" speeds, "a left-moving bus" moves left."""
    found = []
    for number, mention in enumerate(mentions):
        for word in words[mention.start : mention.end - 1]:
            base = lexicon().verb_form(word.lower) if word.lower.endswith("ing") else None
            listed = base is not None and base in lexicon().verbs and word.lower != base
            if (
                base is not None
                and listed
                and word.role is Role.ADJECTIVE
                and not senses(f"{word.lower} {mention.head}")  # "a rolling pin"
                and not _is_for(lexicon().verbs[base], mention)
            ):
                begin = word.index
                while begin > mention.start and words[begin - 1].role in (Role.LINK, Role.DIRECTION, Role.ADVERB):
                    begin -= 1
                found.append(
                    Action(
                        index=word.index,
                        said=word.text,
                        lemma=base,
                        verb=lexicon().verbs[base],
                        passive=False,
                        subjects=(number,),
                        objects=(),
                        start=begin,
                        end=word.index + 1,
                        text=text_of(words[begin : word.index + 1]),
                        about=text_of(words[begin : word.index + 1]),
                    )
                )
    return found
