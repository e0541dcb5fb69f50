"""Everything found in one prompt put together: instances, cues, relations, background."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from planner_service.explanation import About, Explained, Reason
from planner_service.motion.arrangements import Arrangement, arrangement_of
from planner_service.motion.cues import MAXIMUM_PHASES, Distance, InstanceCues, Phase, Place, Reading
from planner_service.motion.nouns import Habitat, Kind, noun_of
from planner_service.motion.wordnet import supersense
from planner_service.parser import directions
from planner_service.parser.actions import Action
from planner_service.parser.attachments import COMPANY, Attachment
from planner_service.parser.cueing import Because, Cued, Setting, cued, mutual_goal, sent
from planner_service.parser.directions import Found
from planner_service.parser.lexicon import Lexicon
from planner_service.parser.mentions import Mention, Use
from planner_service.parser.picture import Picture
from planner_service.parser.prepositions import preposition_before
from planner_service.parser.reasons import (
    reason_of_background,
    reason_of_part,
    reasons_of_instance,
    reasons_of_relations,
)
from planner_service.parser.times import Seen, seen_when
from planner_service.parser.wholes import wholes_of
from planner_service.parser.wording import article, gerund, third_person, trimmed
from planner_service.parser.words import Role, Word
from shared.motion_graph import (
    MAXIMUM_INSTANCES,
    MAXIMUM_PHRASES,
    MAXIMUM_RELATIONS,
    Instance,
    MotionGraph,
    MotionLabel,
    Relation,
    RelationKind,
)

DEFAULT_BACKGROUND = "a plain background"
AIRBORNE = frozenset(("fly", "soar", "swoop", "hover", "float"))
"""What does this is in the air, though it may usually be found on the ground."""
OF_FRAME = frozenset(("center", "centre", "middle", "top", "bottom", "side", "corner", "edge", "front", "back"))
"""Alone these are places of the picture, not of the scene."""
SENDING = ("travels", "follows", "rides")
"""What such verbs are done to travels too."""
FIXED = 0.4
"""Things of this height and more are not thrown, a fraction of the frame's."""
TOGETHER = ("verb.contact", "verb.competition")
"""What several do is done to one another, where WordNet's verb is one of these and nothing else is done it to."""
TIME_PREPOSITIONS = frozenset(("at", "during", "in", "on"))


class Composition:
    """Everything found in one prompt, and the reading that comes of it."""

    def __init__(
        self,
        prompt: str,
        words: Sequence[Word],
        mentions: Sequence[Mention],
        actions: Sequence[Action],
        attachments: Sequence[Attachment],
        drawn: dict[int, int],
        picture: Picture,
        lexicon: Lexicon,
    ) -> None:
        self.prompt = prompt
        self.picture = picture
        self.words = words
        self.mentions = mentions
        self.drawn = drawn
        self.lexicon = lexicon
        self.actions = [
            replace(
                action,
                subjects=tuple(dict.fromkeys(drawn[n] for n in action.subjects if n in drawn)),
                objects=tuple(dict.fromkeys(drawn[n] for n in action.objects if n in drawn)),
            )
            for action in actions
        ]
        self.attachments = [
            replace(a, source=drawn[a.source], target=drawn[a.target])
            for a in attachments
            if a.source in drawn and a.target in drawn and drawn[a.source] != drawn[a.target]
        ]
        self.actions = [self._with_vehicle(self._with_company(action)) for action in self.actions]
        self.attachments += self._rides()
        counts, self.left_out = self._counts()
        self.ids = self._identifiers(counts)
        self.distances = self._distances()
        self.wholes = wholes_of(words, mentions, self.actions, self.attachments, tuple(self.ids), lexicon)

    def explained(self) -> Explained:
        instances: list[Instance] = []
        cues: list[InstanceCues] = []
        reasons: list[Reason] = []
        for number, identifiers in self.ids.items():
            told = self._carried(number, self._told(number))
            phases = _timed(told)
            longest = max(phases, key=lambda phase: phase.label is not MotionLabel.MOTIONLESS)
            place = self._place(number, told)
            start = next((Found(c.start, c.start.value) for c in told[:1] if c.start is not None), place)
            whole = self.wholes.get(number)
            for identifier in identifiers:
                instances.append(
                    Instance(
                        id=identifier,
                        name=self.mentions[number].name[:120],
                        description=self._description(number),
                        attributes=self._attributes(number),
                        label=longest.label,
                        parent=self.ids[whole][0] if whole is not None else None,
                    )
                )
                own = self._mutual(number, identifier, phases)
                cues.append(
                    InstanceCues(
                        instance=identifier,
                        place=start.value if start else None,
                        distance=self.distances.get(number),
                        phases=own,
                    )
                )
                reasons += reasons_of_instance(self.prompt, identifier, self.mentions[number], told, place)
                if whole is not None:
                    owner = self.mentions[whole].text
                    reasons.append(reason_of_part(self.prompt, identifier, self.ids[whole][0], owner))
        relations = self._relations()
        graph = MotionGraph(
            instances=tuple(instances),
            relations=tuple(relation for relation, _ in relations),
            style=_phrases(self.picture.style),
            camera=_phrases(self.picture.camera),
            excluded=_phrases(self.picture.excluded),
            left_out=self.left_out,
        )
        reading = Reading(graph=graph, background=self._background(), cues=tuple(cues), depth_order=self._depth(graph))
        reasons += reasons_of_relations(self.prompt, relations)
        if reading.background != DEFAULT_BACKGROUND:
            reasons.append(reason_of_background(self.prompt, reading.background))
        return Explained(reading, tuple(reasons))

    def _counts(self) -> tuple[dict[int, int], tuple[str, ...]]:
        """How many are drawn of each first mention, and what is left out where they are too many.

        Those that do something, or that something is done to, come before what only stands there; then there are fewer
        of the most numerous.
        """
        firsts = list(dict.fromkeys(self.drawn.values()))
        busy = {number for action in self.actions for number in action.subjects + action.objects}
        kept = sorted(firsts, key=lambda number: number not in busy)[:MAXIMUM_INSTANCES]
        counts = {number: self.mentions[number].count for number in firsts if number in kept}
        while sum(counts.values()) > MAXIMUM_INSTANCES:
            counts[max(counts, key=lambda number: counts[number])] -= 1
        left_out = [
            self.mentions[n].name if n not in counts else f"{count - counts[n]} of {count}: {self.mentions[n].name}"
            for n in firsts
            if counts.get(n) != (count := self.mentions[n].count)
        ]
        return counts, _phrases(left_out)

    def _identifiers(self, counts: Mapping[int, int]) -> dict[int, list[str]]:
        """`dog`, or `dog_1`, `dog_2`, … for each first mention."""
        used: set[str] = set()
        identifiers: dict[int, list[str]] = {}
        for number, count in counts.items():
            slug = re.sub(r"[^a-z0-9]+", "_", self.mentions[number].head.lower()).strip("_")[:30]
            stem = slug if slug and slug[0].isalpha() else "thing"
            names = [stem] if count == 1 else [f"{stem}_{index}" for index in range(1, count + 1)]
            suffix = 2
            while not used.isdisjoint(names):
                names = [f"{stem}{suffix}"] if count == 1 else [f"{stem}{suffix}_{i}" for i in range(1, count + 1)]
                suffix += 1
            used.update(names)
            identifiers[number] = names
        return identifiers

    def _with_company(self, action: Action) -> Action:
        """ "A hiker walks with a dog": animals and people that are with who travels do as that does."""
        company = [
            a.target
            for a in self.attachments
            if action.verb.travels
            and a.phrase in COMPANY
            and a.action == action.index
            and a.source in action.subjects
            and noun_of(self.mentions[a.target].name).kind is Kind.ANIMATE
        ]
        return replace(action, subjects=tuple(dict.fromkeys([*action.subjects, *company])))

    def _with_vehicle(self, action: Action) -> Action:
        """ "A man in a kayak paddles" rides the kayak, a cowboy who gallops on a horse the horse."""
        if not action.verb.travels:
            return action
        for attachment in self.attachments:
            if attachment.source not in action.subjects:
                continue
            kind = noun_of(self.mentions[attachment.target].name).kind
            inside = attachment.arrangement in (Arrangement.IN, Arrangement.ON) and action.verb.object == "rides"
            mounted = attachment.arrangement is Arrangement.ON and kind is Kind.ANIMATE
            on_wheels = kind is Kind.VEHICLE and attachment.arrangement is Arrangement.ON
            mounted = mounted or (on_wheels and action.verb.direction == "sideways")
            if action.objects and mounted and attachment.target not in action.subjects:
                return replace(action, subjects=(*action.subjects, attachment.target))  # "a cowboy on a horse chases"
            if not action.objects and ((kind is Kind.VEHICLE and inside) or mounted):
                return replace(action, verb=replace(action.verb, object="rides"), objects=(attachment.target,))
        return action

    def _rides(self) -> list[Attachment]:
        """Who rides a horse is on it, who drives a car is in it."""
        rides = []
        for action in self.actions:
            if action.verb.object == "rides":
                driven = action.lemma in ("drive", "pilot", "steer", "row", "paddle")
                arrangement = Arrangement.IN if driven else Arrangement.ON
                for rider in action.subjects:
                    rides += [
                        Attachment(rider, mount, arrangement.value, arrangement)
                        for mount in action.objects[:1]
                        if mount != rider
                    ]
        return rides

    def _told(self, number: int) -> tuple[Cued, ...]:
        """The cues for each of "…, then …"; within a phase those of the action that moves most."""
        by_sequence: dict[int, list[Cued]] = {}
        for action in self.actions:
            if number in action.subjects or (number in action.objects and action.verb.object == "made_to"):
                by_sequence.setdefault(action.sequence, []).append(cued(action, self._setting(number, action)))
            elif self._is_sent(number, action):
                by_sequence.setdefault(action.sequence, []).append(sent(action, self._setting(number, action)))
        own = [action for action in self.actions if number in action.subjects]
        if (time := seen_when(own)) is not None:
            while_seen = [cue for cues in by_sequence.values() for cue in cues if cue.shown is None]
            return _seen_for_a_time(while_seen, time, self.mentions[number].name)
        if not by_sequence:
            return (cued(None, Setting(self.mentions[number].name, arranged=False)),)
        chosen = [_merged(by_sequence[sequence]) for sequence in sorted(by_sequence)]
        steps: list[Cued] = []
        for index, told in enumerate(chosen):
            if told.shown == "after":
                steps += [told.unseen(), *([told] if index + 1 == len(chosen) else [])]
            elif told.shown == "before":
                seen = any(not step.phase.absent for step in steps)
                steps += [*([] if seen else [told]), told.unseen()]
            else:
                steps.append(told)
        return tuple(steps[:MAXIMUM_PHASES])

    def _carried(self, number: int, told: tuple[Cued, ...]) -> tuple[Cued, ...]:
        """The cues of what carries it, where it is on or in something that travels and goes nowhere by itself."""
        if (whole := self.wholes.get(number)) is not None:
            moving = any(cued.phase.travels for cued in self._told(whole))
            return tuple(cued.moved_along() for cued in told) if moving else told
        for attachment in self.attachments:
            if attachment.source != number or attachment.arrangement not in (Arrangement.ON, Arrangement.IN):
                continue
            carrier = self._told(attachment.target)
            rides = len(carrier) == len(told) and any(
                action.verb.object == "rides" and number in action.subjects and attachment.target in action.objects
                for action in self.actions
            )
            travels = any(cued.phase.travels for cued in told)
            if any(cued.phase.travels for cued in carrier) and (rides or not travels):
                own = [*told, *told[-1:] * len(carrier)]
                return tuple(mine.carried_by(theirs) for mine, theirs in zip(own, carrier, strict=False))
        return told

    def _mutual(self, number: int, identifier: str, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        """The phases, with respect to the other where two move toward each other, or apart."""
        for action in self.actions:
            goal = mutual_goal(action)
            group = [name for subject in action.subjects for name in self.ids.get(subject, ())]
            if goal is not None and number in action.subjects and len(group) > 1:
                other = group[1] if identifier == group[0] else group[0]
                changes = {"direction": None, "goal": goal, "target": other}
                return tuple(
                    phase if phase.label is MotionLabel.MOTIONLESS else phase.model_copy(update=changes)
                    for phase in phases
                )
        return phases

    def _setting(self, number: int, action: Action) -> Setting:
        about = action.subjects if action.verb.object == "rides" and number in action.objects else (number,)
        goals = [a for a in self.attachments if a.source in about and a.goal and a.action == action.index]
        held = (Arrangement.BEHIND, Arrangement.IN_FRONT_OF, None)
        before = {other.index for other in self.actions if other.sequence < action.sequence}
        arranged = any(
            a.arrangement not in held and not self._goes_along(action, a)
            for a in self.attachments
            if a.source == number and a.action not in before
        )
        target = self.ids[goals[0].target][0] if goals and goals[0].target in self.ids else None
        return Setting(
            self.mentions[number].name,
            arranged=arranged,
            goal=goals[0].goal if target else None,
            target=target,
            phrase=goals[0].phrase if goals else "",
            toured=bool(self._tour(number)),
            causes=number in action.subjects and self._moves_another(number, action),
        )

    def _moves_another(self, number: int, action: Action) -> bool:
        """Whether the object does what the verb says: "a boy flies a kite", "a girl kicks a ball"."""
        throws = action.verb.object == "travels" and noun_of(self.mentions[number].name).kind is Kind.ANIMATE
        caused = throws or action.verb.object == "made_to"
        return caused and bool(action.objects) and not action.passive and not action.negated

    def _is_sent(self, number: int, action: Action) -> bool:
        """Whether it goes where the action goes; what is large stays where it is when it is hit."""
        noun = noun_of(self.mentions[number].name)
        fixed = action.verb.object == "travels" and noun.kind is Kind.OBJECT and noun.height >= FIXED
        return number in action.objects and action.verb.object in SENDING and not action.negated and not fixed

    def _goes_along(self, action: Action, attachment: Attachment) -> bool:
        """Whether what an instance is arranged with travels as it does."""
        if action.verb.object == "rides" and attachment.target in action.objects:
            return True
        if attachment.arrangement in (Arrangement.ON, Arrangement.IN) and attachment.target in action.subjects:
            return True
        if attachment.phrase in ("along", "across"):
            return True
        return attachment.arrangement in (Arrangement.NEXT_TO, Arrangement.AT) and any(
            other.verb.travels for other in self.actions if attachment.target in other.subjects
        )

    def _relations(self) -> list[tuple[Relation, str]]:
        """The edges, each with the prompt's words for it."""
        relations: dict[tuple[str, str], tuple[Relation, str]] = {}
        edges = [*self.attachments, *self._transitive()]
        for attachment in edges:
            doing = [action for action in self.actions if action.index == attachment.action]
            action = next((a for a in doing if attachment.source in a.subjects), doing[0] if doing else None)
            dynamic = attachment.goal is not None or attachment.arrangement is None
            if attachment.source not in self.ids or attachment.target not in self.ids or (dynamic and action is None):
                continue
            if self.wholes.get(attachment.source) == attachment.target:
                continue
            phrase = attachment.phrase
            if dynamic and action is not None and action.passive and phrase == "by":
                attachment = replace(attachment, source=attachment.target, target=attachment.source, phrase="")
                phrase = third_person(action.lemma)
            elif dynamic and action is not None:
                predicate = f"is {action.said.lower()}" if action.passive else third_person(action.lemma)
                if attachment.source not in action.subjects:
                    predicate = "goes"
                phrase = f"{predicate} {phrase}".strip()
                if (
                    attachment.goal is not None
                    and not self._has_goal(attachment)
                    and arrangement_of(phrase, RelationKind.DYNAMIC) not in (None, Arrangement.PAST)
                ):
                    phrase = f"{predicate} with respect to"
            target = self.ids[attachment.target][0]
            for source in self.ids[attachment.source]:
                relation = Relation(
                    source=source,
                    target=target,
                    kind=RelationKind.DYNAMIC if dynamic else RelationKind.SPATIAL,
                    phrase=phrase[:120],
                )
                said = attachment.phrase or (action.said if action is not None else phrase)
                relations.setdefault((source, target), (relation, said))
        for relation, said in self._between():
            relations.setdefault((relation.source, relation.target), (relation, said))
        return list(relations.values())[:MAXIMUM_RELATIONS]

    def _transitive(self) -> list[Attachment]:
        """Who does something to whom."""
        return [
            Attachment(subject, acted_on, "", None, None, action.index)
            for action in self.actions
            if not action.passive and not action.negated
            for subject in action.subjects
            for acted_on in action.objects
            if subject != acted_on
        ]

    def _between(self) -> Iterator[tuple[Relation, str]]:
        """What those do with one another who do it together: "two wrestlers fight"."""
        for action in self.actions:
            group = [name for subject in action.subjects for name in self.ids.get(subject, ())]
            hands_on = supersense(action.lemma, "verb") in TOGETHER and not action.verb.travels
            if len(group) < 2 or action.objects or action.passive or action.negated or not hands_on:
                continue
            if action.verb.label is MotionLabel.MOTIONLESS or any(a.action == action.index for a in self.attachments):
                continue
            for source, target in pairwise(group):
                phrase = f"{third_person(action.lemma)} with"
                yield Relation(source=target, target=source, kind=RelationKind.DYNAMIC, phrase=phrase), action.said

    def _has_goal(self, attachment: Attachment) -> bool:
        target = self.ids[attachment.target][0]
        return any(cued.phase.target == target for cued in self._told(attachment.source))

    def _place(self, number: int, told: Sequence[Cued]) -> Found[Place] | None:
        """Where in the frame the prompt puts an instance that stays there, or that goes on from there."""
        if self._tour(number):
            first = self._tour(number)[0]
            return first if first.words.split()[0] in ("in", "at", "on", "from") else None
        if any(cued.named and cued.phase.travels for cued in told):
            return None
        for action in self.actions:
            if number not in action.subjects or directions.direction_in(action.about, travels=action.verb.travels):
                continue
            if (place := directions.place_in(action.text)) is not None:
                return place
            if (
                action.lemma in AIRBORNE
                and not action.objects
                and noun_of(self.mentions[number].name).habitat is Habitat.GROUND
            ):
                return Found(Place.TOP, action.said)
        end = self.mentions[number].end
        goes = any(
            action.start <= end < action.end and directions.direction_in(action.about, travels=action.verb.travels)
            for action in self.actions
        )
        if goes or end >= len(self.words) or self.words[end].role is not Role.PREPOSITION:
            return None
        after = " ".join(word.lower for word in self.words[end : end + 5])
        found = directions.place_in(after)
        return found if found is not None and after.startswith(found.words) else None

    def _distances(self) -> dict[int, Distance]:
        """What is in the background, and in the foreground: what stands before those words, else who does it."""
        found: dict[int, Distance] = {}
        for number in self.ids:
            after = " ".join(word.lower for word in self.words[self.mentions[number].end :][:6])
            told = directions.distance_in(after)
            if told is not None and after.startswith(told.words):
                found[number] = told.value
        taken = {found_word for n in found for found_word in range(self.mentions[n].end, self.mentions[n].end + 6)}
        for action in self.actions:
            told = directions.distance_in(action.about)
            said = [w for w in self.words[action.start : action.end] if told and w.lower == told.words.split()[-1]]
            if told is None or any(word.index in taken for word in said):
                continue
            for number in (*action.subjects, *action.objects):
                found.setdefault(number, told.value)
        return found

    def _tour(self, number: int) -> list[Found[Place]]:
        """The places of the frame that are named for it in turn, if a direction would not do for them."""
        own = [action for action in self.actions if number in action.subjects]
        places = [place for action in own for place in directions.named_places(action.about)]
        toured = len(places) > 1 and any(place.value not in directions.PLAIN for place in places)
        return places if toured and any(action.verb.travels for action in own) else []

    def _depth(self, graph: MotionGraph) -> tuple[str, ...]:
        """Nearest first: what is before something precedes it, then the smaller precedes the larger."""
        areas = {i.id: noun_of(i.name).height ** 2 * noun_of(i.name).aspect for i in graph.instances}
        nearer: set[tuple[str, str]] = set()
        for attachment in self.attachments:
            if attachment.source not in self.ids or attachment.target not in self.ids:
                continue
            for source in self.ids[attachment.source]:
                for target in self.ids[attachment.target]:
                    pair = (target, source) if attachment.arrangement is Arrangement.BEHIND else (source, target)
                    if attachment.arrangement is not None and (pair[1], pair[0]) not in nearer:
                        nearer.add(pair)
        far = {
            name for n, distance in self.distances.items() if distance is Distance.FAR for name in self.ids.get(n, ())
        }
        near = {
            name for n, distance in self.distances.items() if distance is Distance.NEAR for name in self.ids.get(n, ())
        }
        nearer |= {
            (a, b) for a in graph.ids for b in graph.ids if (b in far and a not in far) or (a in near and b not in near)
        }
        nearer |= {(i.id, i.parent) for i in graph.instances if i.parent is not None}
        waiting = sorted(graph.ids, key=lambda name: areas[name])
        order: list[str] = []
        while waiting:
            free = [name for name in waiting if not any((other, name) in nearer for other in waiting)]
            order.append((free or waiting)[0])
            waiting.remove(order[-1])
        return tuple(order)

    def _attributes(self, number: int) -> tuple[str, ...]:
        return tuple(dict.fromkeys(trimmed(action.text)[:120] for action in self.actions if number in action.subjects))[
            :4
        ]

    def _description(self, number: int) -> str:
        """The regional description: the instance and what it does, "a red car driving to the right"."""
        name = self.mentions[number].name
        described = f"{article(name)}{name}"
        for action in self.actions:
            if number in action.subjects and action.start >= self.mentions[number].end:
                described += f" {self._doing(action)}"
                break
        return described.strip()[:400]

    def _doing(self, action: Action) -> str:
        rest = trimmed(" ".join(word.lower for word in self.words[action.index + 1 : action.end]))
        if action.lemma == "be":
            return rest
        verb = self.words[action.index].lower
        if action.passive:
            return f"{verb} {rest}".strip()
        return f"{'not ' if action.negated else ''}{gerund(action.lemma)} {rest}".strip()

    def _background(self) -> str:
        """The places and times of the prompt, with their prepositions."""
        phrases: list[str] = []
        for number, mention in enumerate(self.mentions):
            matched = preposition_before(self.words, mention.start)
            phrase = matched[1] if matched is not None else ""
            is_time = self.lexicon.is_in(self.lexicon.times, mention.name) and phrase in TIME_PREPOSITIONS
            if (mention.use is Use.BACKGROUND or is_time) and number not in self.drawn and mention.name not in OF_FRAME:
                phrases.append(f"{phrase} {mention.text}".strip())
        joined = ", ".join(dict.fromkeys(phrases))
        return joined[:120].rstrip(" ,") or DEFAULT_BACKGROUND


def _merged(told: Sequence[Cued]) -> Cued:
    """What says most of a movement, entering and leaving with the rest: "enters and walks to the right"."""
    chosen = max(told, key=lambda cued: cued.liveliness)
    for other in told:
        if other is not chosen:
            chosen = chosen.crossing_as(other)
    return chosen


def _phrases(said: Sequence[str]) -> tuple[str, ...]:
    return tuple(phrase[:120] for phrase in said[:MAXIMUM_PHRASES])


def _seen_for_a_time(told: Sequence[Cued], seen: Seen, name: str) -> tuple[Cued, ...]:
    """What it does while it is seen, in quarters of the clip, and nothing before or after."""
    does = max(told, key=lambda cued: cued.liveliness) if told else cued(None, Setting(name, arranged=False))
    because = Because(About.CUE, "absent", (seen.said,), "the words say when it is seen")
    unseen = replace(does, phase=Phase(label=MotionLabel.MOTIONLESS, absent=True), because=(because,))
    quarters = round(seen.share * 4)
    before, after = (unseen, does) if seen.from_on else (does, unseen)
    if quarters == 2:
        return before, after
    return (*[before] * quarters, *[after] * (4 - quarters))


def _timed(told: Sequence[Cued]) -> tuple[Phase, ...]:
    """Equal shares of the clip."""
    return tuple(
        cued.phase.model_copy(update={"until": 1.0 if index == len(told) else index / len(told)})
        for index, cued in enumerate(told, start=1)
    )
