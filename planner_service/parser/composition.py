"""The parts of a graph put together: instances, cues, relations, background."""

from planner_service.explanation import Explained, Reason
from planner_service.motion.cues import InstanceCues, Reading
from planner_service.parser.describing import attributes_of, background_of, description_of
from planner_service.parser.directions import Found
from planner_service.parser.movement import carry, cues_of, divide_clip, meet_or_part
from planner_service.parser.reasons import (
    reason_of_background,
    reason_of_part,
    reasons_of_instance,
    reasons_of_relations,
)
from planner_service.parser.relating import relations_of
from planner_service.parser.scene import Scene, phrases
from planner_service.parser.whereabouts import depth_order, distances_of, place_of
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import NO_PLACE


def compose(scene: Scene) -> Explained:
    """The reading of a scene, and why it is so."""
    distances = distances_of(scene)
    instances: list[Instance] = []
    cues: list[InstanceCues] = []
    reasons: list[Reason] = []
    for number, identifiers in scene.ids.items():
        told = carry(scene, number, cues_of(scene, number))
        phases = divide_clip(told)
        longest = max(phases, key=lambda phase: phase.label is not MotionLabel.MOTIONLESS)
        place = place_of(scene, number, told)
        start = next((Found(c.start, c.start.value) for c in told[:1] if c.start is not None), place)
        whole = scene.wholes.get(number)
        for index, identifier in enumerate(identifiers):
            instances.append(
                Instance(
                    id=identifier,
                    name=scene.mentions[number].name[:120],
                    description=description_of(scene, number),
                    attributes=attributes_of(scene, number),
                    label=longest.label,
                    parent=scene.ids[whole][index % len(scene.ids[whole])] if whole is not None else None,
                )
            )
            own = meet_or_part(scene, number, identifier, phases)
            cues.append(
                InstanceCues(
                    instance=identifier,
                    place=start.value if start else None,
                    distance=distances.get(number),
                    phases=own,
                )
            )
            reasons += reasons_of_instance(scene.prompt, identifier, scene.mentions[number], told, place)
            if whole is not None:
                owner = scene.mentions[whole].text
                reasons.append(reason_of_part(scene.prompt, identifier, scene.ids[whole][0], owner))
    relations = relations_of(scene)
    graph = MotionGraph(
        instances=tuple(instances),
        relations=tuple(relation for relation, _ in relations),
        style=phrases(scene.picture.style),
        camera=phrases(scene.picture.camera),
        excluded=phrases(scene.picture.excluded),
        left_out=scene.left_out,
    )
    reading = Reading(
        graph=graph, background=background_of(scene), cues=tuple(cues), depth_order=depth_order(scene, graph)
    )
    reasons += reasons_of_relations(scene.prompt, relations)
    if reading.background != NO_PLACE:
        reasons.append(reason_of_background(scene.prompt, reading.background))
    return Explained(reading, tuple(reasons))
