"""The edges of the motion graph: who is where with respect to whom, and who does what to whom."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from planner_service.motion.arrangements import Arrangement, arrangement_of
from planner_service.motion.cues import Manner
from planner_service.parser.actions import Action
from planner_service.parser.attachments import Attachment
from planner_service.parser.lexicon import word_list
from planner_service.parser.movement import cues_of
from planner_service.parser.scene import Scene
from planner_service.parser.wording import third_person
from shared.motion_graph import MAXIMUM_RELATIONS, MotionLabel, Relation, RelationKind
from shared.wordnet import supersense

TOGETHER = ("verb.contact", "verb.competition")
"""What several do is done to one another, where WordNet's verb is one of these and nothing else is done it to."""


def relations_of(scene: Scene) -> list[tuple[Relation, str]]:
    """The edges, each with the prompt's words for it."""
    relations: dict[tuple[str, str], tuple[Relation, str]] = {}
    edges = [*scene.attachments, *_transitive(scene)]
    for attachment in edges:
        doing = [action for action in scene.actions if action.index == attachment.action]
        action = next((a for a in doing if attachment.source in a.subjects), doing[0] if doing else None)
        dynamic = attachment.goal is not None or attachment.arrangement is None
        if attachment.source not in scene.ids or attachment.target not in scene.ids or (dynamic and action is None):
            continue
        if scene.wholes.get(attachment.source) == attachment.target:
            continue
        phrase = attachment.phrase
        if dynamic and action is not None and action.passive and phrase == "by":
            attachment = replace(attachment, source=attachment.target, target=attachment.source, phrase="")
            phrase = third_person(action.lemma)
        elif dynamic and action is not None:
            predicate = f"is {action.said.lower()}" if action.passive else third_person(action.lemma)
            if attachment.phrase and attachment.source not in action.subjects:
                predicate = "goes"
            if attachment.goal is not None and arrangement_of(phrase, RelationKind.SPATIAL) is Arrangement.IN:
                phrase = "to"  # its way ends at it, or on top
            phrase = f"{predicate} {phrase}".strip()
            if (
                attachment.goal is not None
                and not _has_goal(scene, attachment)
                and arrangement_of(phrase, RelationKind.DYNAMIC) not in (None, Arrangement.PAST)
            ):
                phrase = f"{predicate} with respect to"
        sources, targets = scene.ids[attachment.source], scene.ids[attachment.target]
        paired = len(sources) == len(targets) > attachment.which  # "three kids on three bikes"
        for source, target in zip(
            sources,
            targets if paired else [targets[min(attachment.which, len(targets) - 1)]] * len(sources),
            strict=True,
        ):
            relation = Relation(
                source=source,
                target=target,
                kind=RelationKind.DYNAMIC if dynamic else RelationKind.SPATIAL,
                phrase=phrase[:120],
            )
            said = attachment.phrase or (action.said if action is not None else phrase)
            relations.setdefault((source, target), (relation, said))
    for relation, said in _between(scene):
        relations.setdefault((relation.source, relation.target), (relation, said))
    return list(relations.values())[:MAXIMUM_RELATIONS]


def _transitive(scene: Scene) -> list[Attachment]:
    """Who does something to whom."""
    return [
        Attachment(scene.wholes.get(subject, subject), acted_on, "", None, None, action.index)
        for action in scene.actions
        if not action.passive and not action.negated and action.lemma != "be"
        for subject in action.subjects
        for acted_on in action.objects
        if acted_on not in (subject, scene.wholes.get(subject))
    ]


def _between(scene: Scene) -> Iterator[tuple[Relation, str]]:
    """What those do with one another who do it together: "two wrestlers fight"."""
    for action in scene.actions:
        group = [name for subject in action.subjects for name in scene.ids.get(subject, ())]
        hands_on = supersense(action.lemma, "verb") in TOGETHER or re.match(r"\w+ hands\b", action.text) is not None
        hands_on = hands_on or _is_paired(action, len(group))
        hands_on = hands_on and not action.verb.travels
        if len(group) < 2 or action.objects or action.passive or action.negated or not hands_on:
            continue
        apart = [a for a in scene.attachments if a.arrangement not in (Arrangement.ON, Arrangement.IN)]
        if action.verb.label is MotionLabel.MOTIONLESS or any(a.action == action.index for a in apart):
            continue
        for source, target in pairwise(group):
            phrase = f"{third_person(action.lemma)} with"
            yield Relation(source=target, target=source, kind=RelationKind.DYNAMIC, phrase=phrase), action.said


def _is_paired(action: Action, count: int) -> bool:
    """Whether two do it in each other's arms: two who waltz, and two who dance together."""
    dances = action.verb.manner is Manner.DANCE
    return action.lemma in word_list("paired") or (dances and count == 2 and "together" in action.text.split())


def _has_goal(scene: Scene, attachment: Attachment) -> bool:
    target = scene.ids[attachment.target][0]
    return any(cued.phase.target == target for cued in cues_of(scene, attachment.source))
