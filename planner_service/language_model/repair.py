"""Repair by rule of what the language model does not mend itself, where there is one way to.

    a node or a movement that is there twice, alike      once is kept
    a node with the id of another, and another name      has a numbered id
    a relation to what is no instance, or to itself      is left out
    a parent that is no instance                         is left out
    an order that repeats, invents or leaves out ids     those it has right, then the rest in the graph's order
    an order that contradicts "behind", "in front of"    the farther one waits for the nearer one
    an instance that only the parser has seen            is added as the parser describes it
    no movement for what is motionless, or nothing else  it stays where it is
    a movement of what is no instance                    is left out

Everything else stays as it is, and wrong.
"""

from collections.abc import Collection, Iterator, Sequence

from planner_service.language_model.answers import Movement, Movements, Scene, Seen
from planner_service.motion.arrangements import depths
from planner_service.motion.cues import InstanceCues, Phase
from shared.motion_graph import MAXIMUM_INSTANCES, Instance, MotionLabel, Relation

BY_RULE = "repaired by rule"
AT_REST = (Phase(label=MotionLabel.MOTIONLESS),)


def repair_scene(scene: Scene, lost: Sequence[Instance]) -> Scene:
    """`lost`: the instances that only the parser has seen."""
    seen = list(_tell_apart(scene.instances))
    ids = [one.node.id for one in seen]
    for instance in lost[: MAXIMUM_INSTANCES - len(ids)]:
        fresh = instance.model_copy(update={"id": _fresh(instance.id, ids), "parent": None})
        ids.append(fresh.id)
        seen.append(Seen(words="", why=f"{BY_RULE}: the parser has seen it", node=fresh))
    whole = tuple(one if one.node.parent in (None, *ids) else _without_parent(one) for one in seen)
    relations = tuple(
        edge for edge in scene.relations if edge.source != edge.target and {edge.source, edge.target} <= {*ids}
    )
    ordered = [identifier for identifier in dict.fromkeys(scene.depth_order) if identifier in ids]
    rest = [identifier for identifier in dict.fromkeys(ids) if identifier not in ordered]
    order = _farther_later(relations, [*ordered, *rest])
    return scene.model_copy(update={"instances": whole, "relations": relations, "depth_order": tuple(order)})


def repair_movements(movements: Movements, scene: Scene) -> Movements:
    ids = scene.graph.ids
    given = [movement.cues for movement in movements.movements]
    kept = [
        movement
        for index, movement in enumerate(movements.movements)
        if movement.cues.instance in ids and movement.cues not in given[:index]
    ]
    still = {node.id for node in scene.nodes if node.label is MotionLabel.MOTIONLESS}
    kept = [_at_rest(movement.cues) if _only_moves(movement, still) else movement for movement in kept]
    cued = {movement.cues.instance for movement in kept}
    kept += [_at_rest(InstanceCues(instance=name, phases=AT_REST)) for name in ids if name in still - cued]
    return movements.model_copy(update={"movements": tuple(kept)})


def _only_moves(movement: Movement, still: Collection[str]) -> bool:
    """Of what is motionless."""
    labels = {phase.label for phase in movement.cues.phases}
    return movement.cues.instance in still and MotionLabel.MOTIONLESS not in labels


def _at_rest(cues: InstanceCues) -> Movement:
    return Movement(why=f"{BY_RULE}: it is motionless", cues=cues.model_copy(update={"phases": AT_REST}))


def _tell_apart(instances: Sequence[Seen]) -> Iterator[Seen]:
    names: dict[str, str] = {}
    for index, seen in enumerate(instances):
        node = seen.node
        if any(node == other.node for other in instances[:index]):
            continue
        if names.get(node.id, node.name) != node.name:
            node = node.model_copy(update={"id": _fresh(node.id, list(names))})
        names[node.id] = node.name
        yield seen.model_copy(update={"node": node})


def _farther_later(relations: Sequence[Relation], order: Sequence[str]) -> Iterator[str]:
    """The same order, but that each waits for what is nearer; where all wait for one another the first does not."""
    nearer = {(near, far) for _, far, near in depths(relations)}
    waiting = list(order)
    while waiting:
        free = [name for name in waiting if not any((other, name) in nearer for other in waiting)]
        yield (free or waiting)[0]
        waiting.remove((free or waiting)[0])


def _without_parent(seen: Seen) -> Seen:
    return seen.model_copy(update={"node": seen.node.model_copy(update={"parent": None})})


def _fresh(identifier: str, taken: Sequence[str]) -> str:
    """The identifier, or the first numbered one like it that is free."""
    stem = identifier.rstrip("0123456789").rstrip("_")[:36]
    candidates = (identifier, *(f"{stem}_{number}" for number in range(1, MAXIMUM_INSTANCES + 2)))
    return next(candidate for candidate in candidates if candidate not in taken)
