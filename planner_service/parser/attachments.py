"""Prepositions: which thing is where with respect to which other, and where movements end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner_service.motion.arrangements import Arrangement
from planner_service.motion.cues import Goal, Manner
from planner_service.motion.nouns import Habitat, Kind, is_a, noun_of
from planner_service.motion.supports import carries_people, head_of, is_workplace, seat_depth
from planner_service.parser.actions import Action
from planner_service.parser.lexicon import word_list
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.prepositions import Preposition, preposition_around, preposition_before, preposition_of
from planner_service.parser.subjects import coordinates_of, is_person, mention_at
from planner_service.parser.words import Role, Word
from shared.motion_graph import MotionLabel
from shared.wordnet import supersense


@dataclass(frozen=True)
class Attachment:
    """`source` and `target` are indices of mentions; `action` is the one whose movement it ends, if any."""

    source: int
    target: int
    phrase: str
    arrangement: Arrangement | None
    goal: Goal | None = None
    action: int | None = None
    """The verb's word."""
    which: int = 0
    """Which of the target's instances it is, where the source is but one."""


LOW = 0.4
"""Over what is lower than this, animals and vehicles go, and not above it."""
HIGH = 0.5
"""What is so high and has things hanging from it has them inside, as a tree."""
SMALLER = 0.75
"""What is worked with is smaller than who works, by height."""

LIGHT = 0.25
"""What is no higher is in the hand of who takes something from it."""

BESIDE = {"by": Arrangement.NEXT_TO, "around": Arrangement.AT, "at": Arrangement.AT, "against": Arrangement.AT}
"""What says where those are that do not travel."""

OFF = ("off", "off of", "out of")
WORKED_INTO = {phrase: (preposition_of(word), word) for phrase, word in (("into", "in"), ("onto", "on"))}
"""What something is put into it is in afterwards."""
WORKED_AT = {**WORKED_INTO, "at": (preposition_of("on"), "on")}
"""Likewise, and what somebody works on at a table is on it."""

HOLDING = "holding"


def attachments_of(words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> list[Attachment]:
    found = []
    acting = {number for action in actions for number in action.subjects}
    for number, mention in enumerate(mentions):
        side = mention.end == mention.start + 1  # not "on his lap"
        if mention.use is Use.PRONOUN and words[mention.start].role is Role.DETERMINER and side:
            matched = preposition_around(words, mention.start)
        elif mention.use in (Use.THING, Use.PRONOUN):
            matched = preposition_before(words, mention.start)
        else:
            continue
        if (
            matched is None
            or (matched[1] == "with" and (number in acting or _bears_on_it(words, mention)))
            or _is_particle(matched[1], words[matched[2]], _verb_around(actions, matched[2], number))
        ):
            continue
        preposition, phrase, start = matched
        if mention.use is Use.PRONOUN and not side and _is_held_there(mentions[number - 1], mention, words):
            found.append(Attachment(number, number - 1, HOLDING, None))
            continue
        place = mention_at(mentions, start - 1) if phrase == "with" and start > 0 else None
        around = _verb_around(actions, start, number)
        stays = around is None or not (around.verb.travels or place in around.objects)  # not "mops a floor with a mop"
        if place is not None and mentions[place].use is Use.BACKGROUND and stays:
            if around is None and place > 0 and mentions[place - 1].use is Use.THING:
                found.append(Attachment(place - 1, number, "with", None))  # "a robot in a garden with a rake"
            continue  # "in a room with a screen on the wall"
        if place is not None and _is_laid(mentions[place], around) and not _has_legs(mention):
            found.append(Attachment(number, place, "on", Arrangement.ON))
            continue  # "at a table with a bulb"
        if place is not None and around is not None and _is_load(mention, place, around, mentions):
            found.append(Attachment(number, place, *_lies(mentions[place].name)))
            continue  # "carries a tray with two cups"
        if phrase == "by" and any(number in action.subjects and action.index < mention.start for action in actions):
            continue  # "chased by a cat": the cat's own action says it
        sources, action = _sources(words, mentions, actions, start, number, phrase, ends=preposition.goal is not None)
        goal = _goal(preposition, phrase, action, mention.name)
        emitted = all(is_a(mentions[n].head, word_list("emitted")) for n in sources)
        if action is not None and phrase in OFF and _comes_off(action, phrase) and not emitted:
            goal = Goal.RIGHT_OF  # to the ground beside it
        of_verb = action.index if action is not None else None
        work = _verb_around(actions, start, number)
        before = mention_at(mentions, start - 1) if start > 0 else None
        tool = before is not None and words[mentions[before].start - 1].lower in word_list("company")
        own = (
            tool or phrase in WORKED_INTO or before is None or work is None or before in work.objects + work.subjects
        )  # not "in a pot on a stove"
        if work is not None and own and is_worked_on(work, mention, preposition, phrase, mentions):
            found += [
                Attachment(subject, number, "at", Arrangement.AT, None, work.index)
                for subject in work.subjects
                if subject != number
            ]
            sources, action, goal = tuple(n for n in work.objects if n < number), None, None
            of_verb = work.index
            preposition, phrase = WORKED_AT.get(phrase, (preposition, phrase))
        stays = (
            action is None or action.verb.label is MotionLabel.MOTIONLESS or not (action.passive or action.verb.travels)
        )
        arrangement = BESIDE.get(phrase) if stays and (phrase != "at" or action is None) else None
        arrangement = arrangement or preposition.arrangement
        if phrase in ("over", "across", "along") and action is not None and _walks_on(action, mention, mentions):
            phrase, arrangement, goal = "along" if phrase == "along" else "across", Arrangement.ON, None
        if phrase in ("up", "down"):
            phrase = "at"  # "runs up a trunk"
        if not side and words[mention.end - 1].lower in word_list("cradling"):
            phrase, arrangement, goal = "in", Arrangement.IN, Goal.TOWARD if goal else None
        elif goal is None:
            phrase, arrangement = _supported(phrase, arrangement, mention, action, words[start].lower)
            lifeless = action is not None and all(
                noun_of(mentions[n].name).kind is not Kind.ANIMATE for n in action.subjects
            )
            if phrase in ("from", "off") and before is not None and _is_taken(before, mention, work, mentions):
                (phrase, arrangement), sources = _lies(mention.name), (before,)
            if phrase == "out of" and action is not None and lifeless and (emitted or not action.verb.travels):
                phrase, arrangement = "on", Arrangement.ON  # "grows out of a pot"
        if phrase == "between" and (action is None or not action.verb.travels):
            found += [between for source in sources for between in _between(source, number, words, mentions)]
            continue
        found += [
            Attachment(
                source=source,
                target=number,
                phrase=phrase,
                arrangement=None if goal else arrangement,
                goal=goal,
                action=of_verb,
            )
            for source in sources
            if source != number
        ]
    found += _also_with(words, mentions, found, acting)
    return [*found, *_relative(words, mentions, actions)]


def _also_with(
    words: Sequence[Word], mentions: Sequence[Mention], found: Sequence[Attachment], acting: set[int]
) -> list[Attachment]:
    """What "and" joins to what somebody has: "walks with a briefcase and a phone"."""
    return [
        replace(a, target=a.target + 1)
        for a in found
        if a.phrase in word_list("company") and a.target + 1 < len(mentions) and a.target + 1 not in acting
        if mentions[a.target + 1].use is Use.THING
        if [w.lower for w in words[mentions[a.target].end : mentions[a.target + 1].start]] == ["and"]
    ]


def _is_held_there(held: Mention, part: Mention, words: Sequence[Word]) -> bool:
    """Whether somebody only holds or wears it: "with a nut in its mouth", not "with a cat in her lap"."""
    lifeless = held.use is Use.THING and noun_of(held.name).kind is not Kind.ANIMATE
    return lifeless and [word.lower for word in words[held.end : part.start]] in (["in"], ["on"])


def _has_legs(mention: Mention) -> bool:
    noun = noun_of(mention.name)
    return noun.kind in (Kind.ANIMATE, Kind.VEHICLE) or is_a(head_of(mention.name), frozenset(("furniture",)))


def _is_laid(place: Mention, action: Action | None) -> bool:
    """Whether what it comes with is on it: a table, or another piece of furniture that is said to do nothing."""
    rests = action is None or action.verb.label is MotionLabel.MOTIONLESS
    return is_workplace(place.name) or (rests and is_a(head_of(place.name), word_list("laid")))


def _is_taken(number: int, place: Mention, action: Action | None, mentions: Sequence[Mention]) -> bool:
    """Whether somebody gets it from there: "takes a hat from a shelf", "rescues a cat from a tree", not from a cup."""
    noun = noun_of(place.name)
    got = action is not None and number in action.objects and not action.verb.travels and not _is_seeing(action)
    hands = action is not None and any(is_person(mentions[n]) for n in action.subjects)
    drunk = is_a(mentions[number].head, word_list("liquids"))
    return got and not drunk and (noun.height > LIGHT or not hands) and noun.kind is not Kind.ANIMATE


def _lies(place: str) -> tuple[str, Arrangement]:
    """How what is somewhere is there: in what is deep or high, on the rest."""
    inside = noun_of(place).height > HIGH or is_a(head_of(place), word_list("deep"))
    return ("in", Arrangement.IN) if inside else ("on", Arrangement.ON)


def _is_load(mention: Mention, place: int, action: Action, mentions: Sequence[Mention]) -> bool:
    """Whether it lies on or in what somebody holds or moves along."""
    moved = place in action.objects and action.verb.object in ("held", "follows")
    return moved and mention.use is Use.THING and is_a(head_of(mentions[place].name), word_list("bearing"))


def _comes_off(action: Action, phrase: str) -> bool:
    """Whether who does it leaves what it was on or in: "falls off a table", "jumps off a wall", "gets out of a car"."""
    leaves = phrase == "out of" or action.verb.direction == "down" or action.lemma in word_list("landing")
    return action.verb.travels and leaves


def _between(source: int, target: int, words: Sequence[Word], mentions: Sequence[Mention]) -> list[Attachment]:
    """To the right of one and to the left of the other: "between two trees", "between a chair and a table"."""
    after = target + 1
    joined = after < len(mentions) and [w.lower for w in words[mentions[target].end : mentions[after].start]] == ["and"]
    if mentions[target].count < 2 and not joined:
        return []
    other, which = (target, 1) if mentions[target].count > 1 else (after, 0)
    return [
        Attachment(source, target, "to the right of", Arrangement.RIGHT_OF),
        Attachment(source, other, "to the left of", Arrangement.LEFT_OF, which=which),
    ]


def _bears_on_it(words: Sequence[Word], mention: Mention) -> bool:
    """Whether it is on what it comes with: "a sled with two girls on it"."""
    after = [word.lower for word in words[mention.end : mention.end + 2]]
    return len(after) == 2 and after[0] in ("on", "in", "inside") and after[1] in ("it", "them")


def is_worked_on(
    action: Action, mention: Mention, preposition: Preposition, phrase: str, mentions: Sequence[Mention]
) -> bool:
    """Whether "in" and "on" say where the work is, and not who works: "stirs soup in a pot", "types on a laptop".

    Then who works is at the thing, and what the work is done to is in it or on it.
    """
    into = phrase in WORKED_INTO and bool(action.objects) and action.verb.object in (None, "placed", "made_to")
    inside = preposition.arrangement in (Arrangement.IN, Arrangement.ON) and phrase not in WORKED_INTO
    inside = inside or (phrase == "at" and is_workplace(mention.name))
    if not (into or inside) or not action.subjects or action.passive or action.verb.travels:
        return False
    if action.verb.label is MotionLabel.MOTIONLESS or action.verb.object in ("rides", "travels", "held"):
        return False
    doer, thing = noun_of(mentions[action.subjects[0]].name), noun_of(mention.name)
    if doer.kind is not Kind.ANIMATE or thing.kind is Kind.ANIMATE:
        return False
    if action.verb.object == "placed":
        return bool(action.objects)
    if carries_people(mention.name):
        return action.lemma in word_list("depicted") and bool(action.objects)
    worked_at = bool(action.objects) and (thing.height < doer.height or is_workplace(mention.name))
    return worked_at or thing.height < SMALLER * doer.height


def _walks_on(action: Action, mention: Mention, mentions: Sequence[Mention]) -> bool:
    """Whether what goes over, across or along a thing is on it: "a snail crawls along a branch"."""
    goers = [noun_of(mentions[number].name) for number in action.subjects]
    crawls = (
        action.verb.travels and action.lemma not in word_list("landing") and action.verb.manner is not Manner.FLUTTER
    )
    low = noun_of(mention.name).height < LOW and noun_of(mention.name).kind is not Kind.ANIMATE
    return (
        crawls
        and low
        and (action.lemma in word_list("earthbound") or any(goer.habitat is Habitat.GROUND for goer in goers))
    )


def _supported(
    phrase: str, arrangement: Arrangement | None, mention: Mention, action: Action | None, preposition: str
) -> tuple[str, Arrangement | None]:
    """What carries: seats, and vehicles that one sits on rather than in; what things hang from."""
    posture = action is not None and action.verb.label is MotionLabel.MOTIONLESS
    hangs = action is not None and action.lemma in word_list("hanging")
    if phrase in ("on", "in") and is_a(head_of(mention.name), word_list("depicting")):
        return "in", Arrangement.IN  # "a map on a screen"
    if (
        arrangement is Arrangement.IN
        and seat_depth(mention.name) > 0
        and noun_of(mention.name).kind is not Kind.ANIMATE
    ):
        return "on", Arrangement.ON  # "in an armchair", "in a kayak"
    if hangs and preposition in ("from", "on", "off"):
        inside = noun_of(mention.name).height > HIGH
        return ("in", Arrangement.IN) if inside else ("below", Arrangement.BELOW)
    if (
        posture
        and action is not None
        and (preposition == "against" or (action.lemma == "lean" and arrangement is Arrangement.ON))
    ):
        return "against", Arrangement.AT
    stays = action is not None and not action.verb.travels and action.verb.object is None
    across = phrase in ("across", "over") and is_workplace(mention.name)
    if action is not None and stays and (across or (phrase == "to" and action.lemma in word_list("giving"))):
        return "at", Arrangement.AT  # "hands a cup to a guest across the counter"
    if action is not None and stays and not action.objects and _looks(phrase, action):
        return "at", Arrangement.AT  # "looks into a box", "peeks over a wall"
    if phrase == "through" and action is not None and action.lemma == "be":
        return "in", Arrangement.IN  # "is visible through a window"
    if stays and phrase == "from" and action is not None and carries_people(mention.name):
        return "on", Arrangement.ON  # "fishing from a boat", "watches them from a roof"
    return phrase, arrangement


def _looks(phrase: str, action: Action) -> bool:
    """Whether somebody looks into something, or past its edge."""
    return phrase in ("into", "through", "over") and _is_seeing(action)


def _is_seeing(action: Action) -> bool:
    return not action.verb.travels and supersense(action.lemma, "verb") == "verb.perception"


def _is_particle(phrase: str, word: Word, action: Action | None) -> bool:
    """Whether it belongs to the verb: "knocks over a vase", but not "crawls up a stalk"."""
    goes = action is not None and action.verb.travels and action.verb.object is None
    return word.tag == "RP" and phrase == word.lower and not goes


def _goal(preposition: Preposition, phrase: str, action: Action | None, target: str) -> Goal | None:
    """Where the movement ends, if it is one."""
    if action is None or action.verb.label is MotionLabel.MOTIONLESS or action.verb.object == "placed":
        return None
    moves = action.verb.travels or action.verb.object == "travels"
    moves = moves or (preposition.insists and (action.listed or action.sequence > 0))
    lands = action.lemma in word_list("landing") or action.verb.direction == "down"
    if action.lemma in word_list("landing") and phrase == "over":
        return Goal.PAST
    if action.lemma == "board":
        return Goal.ONTO if seat_depth(target) > 0 and preposition.arrangement is Arrangement.ON else Goal.TOWARD
    if phrase == "on" and head_of(target) in word_list("tethers"):
        return None
    if moves and preposition.arrangement is Arrangement.ON and lands and not phrase.startswith(("from", "off")):
        return Goal.ONTO
    if moves and action.verb.direction == "down" and phrase in WORKED_INTO:
        return Goal.ONTO
    return preposition.goal if moves else None


def _sources(
    words: Sequence[Word],
    mentions: Sequence[Mention],
    actions: Sequence[Action],
    start: int,
    target: int,
    phrase: str,
    *,
    ends: bool,
) -> tuple[tuple[int, ...], Action | None]:
    """What a prepositional phrase that begins at `start` is about, and the verb it belongs to.

    `ends`: whether it is one that says where movements end.
    """
    before = mention_at(mentions, start - 1) if start > 0 else None
    action = _verb_around(actions, start, target)
    if start == 0 or words[start - 1].text in word_list("clause_ends"):  # "Next to a tree, a dog sits."
        sentence = words[start].token.sent
        later = [a for a in actions if a.subjects and sentence.start < a.index < sentence.end]
        named = [n for n, m in enumerate(mentions) if target < n and m.use is Use.THING and m.start < sentence.end]
        if later or named:
            return (later[0].subjects, later[0]) if later else (_together(words, mentions, named[0]), None)
    listed = before is not None and words[mentions[before].start - 1].text == "," and not mentions[before].determined
    if listed and (action is None or before not in action.objects + action.subjects):
        action = None  # "cooks shouting, pans on a stove"
    if action is None or not action.subjects:
        if before is not None and mentions[before].use is Use.THING:
            return _together(words, mentions, before), None
        earlier = [n for n, mention in enumerate(mentions) if mention.end <= start and mention.use is Use.THING]
        return tuple(earlier[:1]), None
    if phrase == "from" and _is_seeing(action):
        return action.subjects, action
    sending = (ends or phrase in ("across", "along", "through", "off")) and action.verb.object in ("made_to", "travels")
    sent = sending and before in action.objects
    if sent and before is not None and mentions[before].use is Use.PRONOUN:
        return (before,), action  # "drops it into a bucket"
    if before is not None and before not in action.subjects and mentions[before].use is Use.THING:
        if mentions[target].use is Use.PRONOUN and not ends and action.verb.object is None:
            return (before,), None  # "a castle with a dragon above it"
        carried = action.verb.object == "held" and action.verb.travels
        head = words[start].token.head.i
        about = mention_at(mentions, head)
        if phrase in word_list("company") and before in action.objects:
            return action.subjects, action
        governed = preposition_before(words, mentions[before].start) is not None
        goes = action.verb.travels or (ends and action.lemma not in word_list("giving"))
        near = phrase in ("on", "in") or not (goes or phrase in word_list("company"))
        own = words[mentions[before].start].lower in word_list("possessives")  # "over his head in front of a crowd"
        among = words[mentions[before].start - 1].lower in word_list("company")
        if governed and among and near and not action.verb.travels and carries_people(mentions[target].name):
            return (before, *action.subjects), None  # "plays with blocks on a carpet"
        if governed and before not in action.objects and near and not own:
            return (before,), None  # "to a pot on the stove", "sits on a bench under a tree"
        if (
            before in action.objects
            and phrase in ("on", "in")
            and is_a(head_of(mentions[target].name), word_list("depicting"))
        ):
            return (before,), None  # "watches a fish on a screen"
        if ends and carried:
            return action.subjects, action  # "carries a tray to a table"
        if action.verb.object == "follows" and before in action.objects and phrase in ("on", "in"):
            return (before,), None  # "pushes a girl on a swing"
        if ends and action.verb.object == "follows" and before in action.objects:
            return (before, *action.subjects), action  # "pushes a cart to a shed"
        if sent or (before in action.objects and action.verb.object in ("placed", "travels", "held")):
            return (before,), action
        if about is not None and about == before:
            shared = action.verb.object is None and action.subjects  # who does it is there too
            return (before, *(shared or ())), None
    if sending and ends and not sent and action.objects and before not in action.subjects:
        return action.objects, action  # "slides a cup across a counter to a guest"
    return action.subjects, action


def _verb_around(actions: Sequence[Action], start: int, target: int) -> Action | None:
    """The verb to whose words a prepositional phrase belongs that begins at `start`."""
    verbs = [action for action in actions if action.start <= start < action.end and target not in action.subjects]
    return max(verbs, key=lambda action: action.index) if verbs else None


def _together(words: Sequence[Word], mentions: Sequence[Mention], number: int) -> tuple[int, ...]:
    """The mention with those that are joined to it, if these are not themselves said to be somewhere."""
    group = [n for n in coordinates_of(mentions, words, number) if mentions[n].use is Use.THING]
    governed = preposition_before(words, mentions[group[0]].start) is not None
    return (number,) if governed else tuple(group)


def _relative(words: Sequence[Word], mentions: Sequence[Mention], actions: Sequence[Action]) -> list[Attachment]:
    """ "A boat in which two men sit", "a desk where a lamp stands": who does the next thing is there."""
    found = []
    for word in words[1:]:
        where = word.lower == "where"
        phrase = "on" if where else words[word.index - 1].lower
        last = word.index - (1 if where else 2)
        target = mention_at(mentions, last) if (where or word.lower == "which") and last >= 0 else None
        action = next((a for a in actions if a.index > word.index), None)
        if target is None or action is None or phrase not in ("in", "on", "under", "behind"):
            continue
        arrangement = preposition_of(phrase).arrangement
        phrase, arrangement = _supported(phrase, arrangement, mentions[target], action, phrase)
        found += [
            Attachment(n, target, phrase, arrangement, None, action.index) for n in action.subjects if n != target
        ]
    return found
