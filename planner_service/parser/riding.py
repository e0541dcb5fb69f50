"""Who goes along with whom: company, mounts and vehicles."""

from collections.abc import Sequence
from dataclasses import replace

from planner_service.motion.arrangements import Arrangement
from planner_service.motion.nouns import Kind, is_a, noun_of
from planner_service.motion.supports import head_of, seat_depth
from planner_service.parser.actions import Action
from planner_service.parser.attachments import Attachment
from planner_service.parser.lexicon import word_list
from planner_service.parser.mentions import Mention
from planner_service.parser.subjects import is_person

LIGHTER = 0.5
"""How high an animal is at most that another has in its mouth, as a share of its height."""


def shares_count(rider: Mention, mount: Mention, attachment: Attachment) -> bool:
    """Whether there are as many mounts as riders: "three kids on bikes"."""
    carries = noun_of(mount.name).kind in (Kind.VEHICLE, Kind.ANIMATE)
    return attachment.arrangement is Arrangement.ON and carries and mount.plural and not mount.determined


def with_company(action: Action, attachments: Sequence[Attachment], mentions: Sequence[Mention]) -> Action:
    """ "A hiker walks with a dog": animals, people and what has wheels that are with who travels do as that does."""
    company = [
        a.target
        for a in attachments
        if action.verb.travels
        and a.phrase in word_list("company")
        and a.action == action.index
        and a.source in action.subjects
        and not is_brought(action, mentions[a.source], mentions[a.target])
        and (
            noun_of(mentions[a.target].name).kind is Kind.ANIMATE
            or is_a(head_of(mentions[a.target].name), word_list("wheeled"))
        )
    ]
    return replace(action, subjects=tuple(dict.fromkeys([*action.subjects, *company])))


def is_brought(action: Action, doer: Mention, animal: Mention) -> bool:
    """Whether who comes with an animal has it in beak, mouth or hand: a smaller one, or a fish."""
    caught = noun_of(animal.name)
    smaller = caught.height < LIGHTER * noun_of(doer.name).height or is_a(animal.head, frozenset(("fish",)))
    alive = caught.kind is Kind.ANIMATE and noun_of(doer.name).kind is Kind.ANIMATE
    return action.lemma in word_list("fetching") and alive and smaller


def with_vehicle(action: Action, attachments: Sequence[Attachment], mentions: Sequence[Mention]) -> Action:
    """ "A man in a kayak paddles" rides the kayak, a cowboy who gallops on a horse the horse."""
    if not action.verb.travels:
        return action
    if action.verb.object == "follows":  # "pushes a lady in a wheelchair" pushes both
        seats = [
            a.target
            for a in attachments
            if a.source in action.objects and a.arrangement in (Arrangement.ON, Arrangement.IN)
            if noun_of(mentions[a.target].name).kind is Kind.VEHICLE or seat_depth(mentions[a.target].name) > 0
        ]
        action = replace(action, objects=tuple(dict.fromkeys((*action.objects, *seats))))
    for attachment in attachments:
        if attachment.source not in action.subjects:
            continue
        kind = noun_of(mentions[attachment.target].name).kind
        inside = attachment.arrangement in (Arrangement.IN, Arrangement.ON) and action.verb.object == "rides"
        mounted = attachment.arrangement is Arrangement.ON and kind is Kind.ANIMATE
        on_wheels = kind is Kind.VEHICLE and attachment.arrangement is Arrangement.ON
        mounted = mounted or (on_wheels and action.verb.direction == "sideways")
        rides_air = is_person(mentions[attachment.source]) and action.lemma in word_list("airborne")
        mounted = mounted or (rides_air and attachment.arrangement is Arrangement.ON)  # "a witch on a broom flies"
        if action.objects and mounted and attachment.target not in action.subjects:
            return replace(action, subjects=(*action.subjects, attachment.target))  # "a cowboy on a horse chases"
        if not action.objects and ((kind is Kind.VEHICLE and inside) or mounted):
            return replace(action, verb=replace(action.verb, object="rides"), objects=(attachment.target,))
    return action


def rides_of(actions: Sequence[Action], mentions: Sequence[Mention]) -> list[Attachment]:
    """Who rides a horse is on it, who drives a car is in it."""
    rides = []
    for action in actions:
        if action.verb.object == "rides":
            driven = action.lemma in ("drive", "pilot", "steer", "row", "paddle")
            for rider in action.subjects:
                astride = any(seat_depth(mentions[mount].name) > 0 for mount in action.objects[:1])
                arrangement = Arrangement.IN if driven and not astride else Arrangement.ON
                rides += [
                    Attachment(rider, mount, arrangement.value, arrangement)
                    for mount in action.objects[:1]
                    if mount != rider
                ]
    return rides
