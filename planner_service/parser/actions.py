"""Verbs: who does what to whom, and which words of the prompt belong to each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from planner_service.cues import Manner
from planner_service.nouns import Kind, known
from planner_service.parser.directions import direction_in, path_in
from planner_service.parser.lexicon import ACTIVITY, Lexicon, Verb
from planner_service.parser.mentions import POSSESSIVES, Mention, Use, quoted_words
from planner_service.parser.prepositions import preposition_before
from planner_service.parser.words import Role, Word
from shared.motion_graph import MotionLabel

SKIPPED = (Role.ADVERB, Role.AUXILIARY)
LINKING = frozenset((",", "and", "&", "or", "/"))
CLAUSE_STARTS = frozenset((",", ";", ".", ":", "while", "as", "and", "then", "when", "whereas", "but"))
RELATIVE = frozenset(("who", "which", "that"))
SUBJECTS = ("nsubj", "nsubjpass", "csubj")
NEGATIONS = frozenset(("not", "n't", "never", "no", "without"))
SEQUENCING = frozenset(("then", "afterwards", "afterward", "finally", "until", "eventually", "subsequently", "later"))
FINITE = ("VBZ", "VBP", "VBD")
WAYS = frozenset(("up", "down", "across", "along", "past"))
ON_ITS_WAY = Verb(travels=True, direction="sideways", manner=Manner.STRIDE)
"""A verb that is in no group, with a way after it: "shimmies down a palm tree"."""
HALTING = frozenset(("stop", "halt", "pause", "freeze", "rest"))


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


def actions_of(words: Sequence[Word], mentions: Sequence[Mention], lexicon: Lexicon) -> list[Action]:
    quoted = quoted_words(words)
    verbs = [
        word
        for word in words
        if word.role is Role.VERB and word.lemma not in lexicon.camera_verbs and word.index not in quoted
    ]
    subjects: dict[int, tuple[int, ...]] = {}
    for word in verbs:
        subjects[word.index] = _subjects(word, words, mentions, subjects)
    actions: list[Action] = []
    acting = {mention for group in subjects.values() for mention in group}
    for position, word in enumerate(verbs):
        group = subjects[word.index]
        entry, particle = _entry(word, words, [mentions[number].head for number in group], lexicon)
        if entry is None:
            continue
        following = verbs[position + 1] if position + 1 < len(verbs) else None
        begin, end = _span(word, following, subjects, words, mentions, lexicon)
        fronted = _fronted(word, group, words, mentions)
        passive = _is_passive(word, words)
        objects = _objects(word, words, mentions, acting)
        inside = [w for w in words[begin:end] if w.index not in particle]
        own = max((w.index + 1 for w in words[begin : word.index] if w.role is Role.PRONOUN), default=begin)
        actions.append(
            Action(
                index=word.index,
                said=word.text,
                lemma=entry,
                verb=ACTIVITY
                if entry == "be" and _is_equated(word, words)
                else _with_way(_of_frame(lexicon.verbs.get(entry), objects, mentions, lexicon), word, words),
                passive=passive,
                subjects=group,
                objects=objects,
                start=begin,
                end=end,
                text=_text(words[own:end]),
                about=_text([*fronted, *inside]),
                negated=any(w.lower in NEGATIONS for w in words[max(0, begin - 1) : word.index]),
            )
        )
    actions += _participles(words, mentions, lexicon)
    actions += [agent for action in actions if (agent := _agent(action, words, mentions)) is not None]
    actions = [part for action in actions for part in _with_ellipses(action, words)]
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


def _text(words: Sequence[Word]) -> str:
    return " ".join(word.lower for word in words)


def _entry(
    word: Word, words: Sequence[Word], heads: Sequence[str], lexicon: Lexicon
) -> tuple[str | None, tuple[int, ...]]:
    """The lexicon's entry for a verb, and the index of its particle; None where it only leads to another verb."""
    base = word.lemma if word.lemma in lexicon.verbs else lexicon.verb_form(word.lower) or word.lemma
    after = words[word.index + 1 : word.index + 4]
    for offset, follower in enumerate(after[:2]):
        phrasal = lexicon.phrasal(base, follower.lower)
        open_ended = offset + 1 >= len(after) or after[offset + 1].role not in (
            Role.DETERMINER, Role.NOUN, Role.ADJECTIVE, Role.NUMBER,
        )  # fmt: skip
        if phrasal is not None and (open_ended or lexicon.verbs[phrasal].object is not None):
            return phrasal, (follower.index,)
        if follower.role is not Role.DETERMINER:
            break
    for head in heads:
        if (phrasal := lexicon.phrasal(head, base)) is not None:
            return phrasal, ()
    if base == "leave" and word.lower != "left":
        return "exit", ()
    if word.lemma in lexicon.aspect_verbs or base in lexicon.aspect_verbs:
        stays = base in ("begin", "start", "continue") and after and after[0].role in (Role.PREPOSITION, Role.DIRECTION)
        return ("be", ()) if stays and after[0].lower != "to" else (None, ())
    if base == "appear" and after and (after[0].lower in ("to", "as") or after[0].role is Role.ADJECTIVE):
        return None, ()
    return base, ()


def _is_equated(word: Word, words: Sequence[Word]) -> bool:
    """Whether "is" says what something is or does, not where: "a person is clay pottery making"."""
    after = words[word.index + 1] if word.index + 1 < len(words) else None
    return after is not None and after.role in (Role.NOUN, Role.ADJECTIVE)


def _of_frame(verb: Verb | None, objects: Sequence[int], mentions: Sequence[Mention], lexicon: Lexicon) -> Verb | None:
    """ "Enters a house" has nothing to do with the frame."""
    crossed = [number for number in objects if not lexicon.is_in(lexicon.camera, mentions[number].name)]
    return replace(verb, frame=None) if verb is not None and verb.frame is not None and crossed else verb


def _with_way(verb: Verb | None, word: Word, words: Sequence[Word]) -> Verb:
    """What a verb says, with the way after it: "somersaults down a hill" goes down it."""
    if verb == ACTIVITY or not _has_a_way(word, words):
        return verb or ACTIVITY
    if verb is None:
        return ON_ITS_WAY
    moves = verb.travels or verb.label is MotionLabel.MOTIONLESS or verb.object not in (None, "made_to")
    return verb if moves else replace(verb, travels=True, direction=verb.direction or "sideways")


def _has_a_way(word: Word, words: Sequence[Word]) -> bool:
    """Whether a preposition of movement follows, and its noun phrase."""
    after = [w for w in words[word.index + 1 : word.index + 4] if w.role is not Role.ADVERB]
    return (
        len(after) > 1
        and after[0].lower in WAYS
        and after[0].tag != "RP"
        and after[1].role in (Role.DETERMINER, Role.NOUN, Role.ADJECTIVE)
    )


def _subjects(
    word: Word, words: Sequence[Word], mentions: Sequence[Mention], earlier: dict[int, tuple[int, ...]]
) -> tuple[int, ...]:
    """The mentions that do (or suffer) the verb; the parse where it says so, then what stands beside the verb."""
    last = next(reversed(earlier.values()), ()) if earlier else ()
    mended = not word.token.tag_.startswith("VB")
    beside = _beside(word, words, mentions)
    if beside is not None and word.tag == "VBG" and mentions[beside].end == word.index:
        first = mentions[beside].start
        if words[first].lower in POSSESSIVES or (first > 0 and words[first - 1].text == ","):
            return (beside,)  # "a truck with its wipers moving", "a snowman in a garden, snow falling"
    if beside is not None and (inverted := _inverted(word, beside, words, mentions)) is not None:
        return (inverted,)
    if not mended:
        for child in word.token.children:
            if child.dep_ in SUBJECTS and child.i < word.index:
                if (number := mention_at(mentions, child.i)) is not None:
                    if word.tag == "VBZ" and beside is not None and number in coordinated(mentions, words, beside):
                        number = beside  # "fixes an engine and a raccoon steals": not both
                    return _group(word, words, mentions, number)
                if child.lower_ in RELATIVE and (number := mention_at(mentions, word.token.head.i)) is not None:
                    return (number,)
                if words[child.i].role is Role.PRONOUN and child.lower_ not in RELATIVE and last:
                    return last
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
        part = mentions[last[0]]
        whole = last[0] - 1
        if words[part.start].lower in POSSESSIVES and whole >= 0 and mentions[whole].use is Use.THING:
            return (whole,)  # "a horse with its mane flowing gallops"
        return last
    things = [number for number, mention in enumerate(mentions) if mention.use is Use.THING]
    if before := [number for number in things if mentions[number].end <= word.index]:
        return (before[0],)
    comma = next((w.index for w in words[word.index :] if w.text == ","), word.index)
    after = [number for number in things if mentions[number].start > comma]
    after = after or [number for number in things if mentions[number].start > word.index]
    return (after[0],) if after else ()


def _beside(word: Word, words: Sequence[Word], mentions: Sequence[Mention]) -> int | None:
    """The mention right before the verb, but for adverbs, auxiliaries and "who"."""
    index = word.index - 1
    while index >= 0 and (words[index].role in SKIPPED or words[index].lower in RELATIVE):
        index -= 1
    number = mention_at(mentions, index) if index >= 0 else None
    if number is None:
        return None
    if word.tag in FINITE:
        number = _head_of(number, words, mentions)
    mention = mentions[number]
    finite = word.tag in (*FINITE, "VBG")
    possessed = mention.use is Use.NOTHING and words[mention.start].lower in POSSESSIVES
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


def _inverted(word: Word, beside: int, words: Sequence[Word], mentions: Sequence[Mention]) -> int | None:
    """The subject after the verb: "to the left of a statue stands a deer"."""
    matched = preposition_before(words, mentions[beside].start)
    if matched is None or word.tag not in FINITE or words[word.index - 1].role in SKIPPED:
        return None
    opens = matched[2] == 0 or words[matched[2] - 1].lower in CLAUSE_STARTS
    number = mention_at(mentions, word.index + 1) if word.index + 1 < len(words) else None
    return number if opens and number is not None and mentions[number].determined else None


def _group(word: Word, words: Sequence[Word], mentions: Sequence[Mention], number: int) -> tuple[int, ...]:
    """A plural verb has all of "a dog and a cat" as its subject, a singular one only the nearest."""
    auxiliaries = [w.lower for w in words[mentions[number].end : word.index] if w.role is Role.AUXILIARY]
    if word.tag == "VBZ" or any(auxiliary in ("is", "was", "has", "does") for auxiliary in auxiliaries):
        return (number, *_with_company(number, words, mentions))
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


def _with_company(number: int, words: Sequence[Word], mentions: Sequence[Mention]) -> tuple[int, ...]:
    """ "A duck with five ducklings swims": animals that are with the subject do as it does."""
    if number + 1 >= len(mentions):
        return ()
    here, after = mentions[number], mentions[number + 1]
    noun = known(after.name)
    joined = [w.lower for w in words[here.end : after.start]] in (["with"], ["along", "with"], ["together", "with"])
    comes = joined and after.use is Use.THING and noun is not None and noun.kind is Kind.ANIMATE
    return (number + 1,) if comes and after.end < len(words) and words[after.end].role is Role.VERB else ()


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


def _agent(action: Action, words: Sequence[Word], mentions: Sequence[Mention]) -> Action | None:
    """The same action of who does it: "a mouse is chased by a cat"."""
    if not action.passive or action.verb.label is MotionLabel.MOTIONLESS:
        return None
    for number, mention in enumerate(mentions):
        said = action.index < mention.start < action.end and words[mention.start - 1].lower == "by"
        noun = known(mention.name)
        if said and mention.use is Use.THING and noun is not None and noun.kind is Kind.ANIMATE:
            return replace(action, passive=False, subjects=(number,), objects=action.subjects, start=mention.end)
    return None


def _span(
    word: Word,
    following: Word | None,
    subjects: dict[int, tuple[int, ...]],
    words: Sequence[Word],
    mentions: Sequence[Mention],
    lexicon: Lexicon,
) -> tuple[int, int]:
    begin = _begin(word, words, lexicon)
    if following is None:
        return begin, len(words)
    group = subjects[following.index]
    starts = [mentions[number].start for number in group if mentions[number].start > word.index]
    if starts and (fronted := _fronted(following, group, words, mentions)):
        starts.append(fronted[0].index)
    return begin, max(word.index + 1, min([_begin(following, words, lexicon), *starts]))


def _begin(word: Word, words: Sequence[Word], lexicon: Lexicon) -> int:
    """Where a verb's adverbs and helpers begin, a pronoun among them: "suddenly it starts to run"."""
    begin = word.index
    while begin > 0:
        before = words[begin - 1]
        helps = before.role is Role.VERB and before.lemma in lexicon.aspect_verbs
        leads = before.lower == "to" and begin > 1 and words[begin - 2].lemma in lexicon.aspect_verbs
        refers = before.lower in ("he", "she", "it", "they")
        if before.role not in SKIPPED and not helps and not leads and not refers:
            break
        begin -= 1
    return begin


def _fronted(word: Word, group: Sequence[int], words: Sequence[Word], mentions: Sequence[Mention]) -> Sequence[Word]:
    """What stands before the subject and says where to: "From left to right, a tram glides", "leftwards a goat trots"."""
    if not group or mentions[group[0]].start > word.index:
        return ()
    end = mentions[group[0]].start
    while end > 0 and words[end - 1].text == ",":
        end -= 1
    begin = end
    while begin > 0 and words[begin - 1].lower not in CLAUSE_STARTS and words[begin - 1].role is not Role.VERB:
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


def _participles(words: Sequence[Word], mentions: Sequence[Mention], lexicon: Lexicon) -> list[Action]:
    """What participles before a noun say: "a speeding boat" speeds, "a left-moving bus" moves left."""
    found = []
    for number, mention in enumerate(mentions):
        for word in words[mention.start : mention.end - 1]:
            base = lexicon.verb_form(word.lower) if word.lower.endswith("ing") else None
            if word.role is Role.ADJECTIVE and base in lexicon.verbs and word.lower != base:
                begin = word.index
                while begin > mention.start and words[begin - 1].role in (Role.LINK, Role.DIRECTION, Role.ADVERB):
                    begin -= 1
                found.append(
                    Action(
                        index=word.index,
                        said=word.text,
                        lemma=base,
                        verb=lexicon.verbs[base],
                        passive=False,
                        subjects=(number,),
                        objects=(),
                        start=begin,
                        end=word.index + 1,
                        text=_text(words[begin : word.index + 1]),
                        about=_text(words[begin : word.index + 1]),
                    )
                )
    return found


def _with_ellipses(action: Action, words: Sequence[Word]) -> list[Action]:
    """The action, and it once more for each "then" that is followed by where to instead of a verb: "left, then right"."""
    if path_in(action.about) is not None:
        return [action]
    marks = [w.index for w in words[action.index + 1 : action.end] if w.lower in SEQUENCING or w.lower == "before"]
    found = [action]
    for mark, end in pairwise([*marks, action.end]):
        text = _text(words[mark:end])
        if direction_in(text, travels=True) is None:
            continue
        last = found[-1]
        before = _text(words[last.start : mark])
        found[-1] = replace(last, end=mark, text=before, about=last.about.removesuffix(_text(words[mark : last.end])))
        found.append(replace(action, index=mark, start=mark, end=end, text=text, about=text, objects=()))
    return found


def _sequenced(actions: list[Action], words: Sequence[Word]) -> list[Action]:
    """Each action with its place in the order of events: "…, then …", "before …", "after …", "walks and stops"."""
    marks = [word.index for word in words if word.lower in SEQUENCING]
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
        earlier = [a for a in ordered if set(a.subjects) & set(action.subjects) and a.sequence == placed + step]
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
    """Whether the same subject does one after the other although no word says so: "runs and stops", "flies up, dives"."""
    if not (_is_told(first, words) and _is_told(second, words)):
        return False
    moves = [_heading(action) for action in (first, second)]
    if first.verb.shown is not None or second.verb.shown is not None:
        return True
    if all(moves):
        return moves[0] != moves[1]
    if moves[0] is not None or first.verb.travels:
        return second.lemma in HALTING or (second.lemma == "hover" and moves[0] is not None)
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
