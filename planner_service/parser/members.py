"""Some of several that were mentioned before: "one of them flies away", "the red one lands", "the other stays"."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from planner_service.parser.actions import Action
from planner_service.parser.attachments import Attachment
from planner_service.parser.mentions import Mention


def members_of(mentions: Sequence[Mention], drawn: Mapping[int, int]) -> dict[int, int]:
    """Each mention of some of a group that is drawn, and the group: the last that is large enough."""
    members: dict[int, int] = {}
    left = {number: mentions[number].count for number in drawn if drawn[number] == number}
    for number, mention in enumerate(mentions):
        if number not in drawn or not (mention.part or (mention.head == "one" and mention.definite)):
            continue
        groups = [n for n in left if n < number and left[n] > mention.count]
        groups = [n for n in groups if mention.head in ("one", mentions[n].head)]
        named = [n for n in groups if mentions[n].name == mention.name]  # what a bare "one" was taken for
        if groups := named or groups:
            members[number] = groups[-1]
            left[groups[-1]] -= mention.count
    return members


def with_members(
    members: Mapping[int, int], mentions: Sequence[Mention], actions: Sequence[Action]
) -> tuple[list[Mention], list[Action]]:
    """The group is so much smaller, and what it did before they did too."""
    mentions, actions = list(mentions), list(actions)
    for number, group in members.items():
        some, whole = mentions[number], mentions[group]
        name = some.name.replace("one", whole.name, 1) if some.head == "one" else whole.name
        mentions[number] = replace(some, name=name, head=whole.head)
        mentions[group] = replace(whole, count=whole.count - some.count)
        actions = [
            replace(a, subjects=(*a.subjects, number)) if group in a.subjects and a.index < some.start else a
            for a in actions
        ]
    return mentions, actions


def with_places(
    members: Mapping[int, int], mentions: Sequence[Mention], attachments: Sequence[Attachment]
) -> list[Attachment]:
    """They are where their group is unless they are said to be elsewhere; of several seats they have the next."""
    placed = {a.source for a in attachments if a.arrangement is not None}
    inherited = [
        replace(a, source=number)
        for number, group in members.items()
        for a in attachments
        if a.source == group and a.arrangement is not None and number not in placed
    ]
    nexts = {number: mentions[group].count for number, group in members.items()}
    return [replace(a, which=nexts.get(a.source, a.which)) for a in (*attachments, *inherited)]
