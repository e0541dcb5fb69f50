"""Repair by rule, of whatever the model writes; examples by hand are in test_planner."""

from hypothesis import given
from hypothesis import strategies as st

from planner_service.language_model.answers import Movement, Movements, Scene, Seen, reading_of, scene_violations
from planner_service.language_model.repair import repair_movements, repair_scene
from planner_service.motion.cues import InstanceCues, Phase
from shared.motion_graph import MAXIMUM_INSTANCES, Instance, MotionLabel, Relation, RelationKind

IDS = ("car", "tree", "dog_1", "dog_2", "nothing")
known_or_not = st.sampled_from(IDS)


def node(identifier: str, parent: str | None = None) -> Instance:
    return Instance(id=identifier, name=identifier, description="x", label=MotionLabel.MOTIONLESS, parent=parent)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Distinct nodes, some of them there twice, parts only of things named before; everything else may dangle."""
    ids = draw(st.lists(st.sampled_from(IDS[:4]), min_size=1, unique=True))
    nodes = [node(name, draw(st.sampled_from([None, *ids[:index], "nothing"]))) for index, name in enumerate(ids)]
    nodes += draw(st.lists(st.sampled_from(nodes), max_size=2))
    edges = draw(st.lists(st.tuples(known_or_not, known_or_not), max_size=4))
    return Scene(
        thoughts="x",
        instances=tuple(Seen(words="", why="x", node=one) for one in nodes),
        relations=tuple(
            Relation(source=a, target=b, kind=RelationKind.SPATIAL, phrase=draw(st.sampled_from(["near", "behind"])))
            for a, b in edges
        ),
        background="x",
        depth_order=tuple(draw(st.lists(known_or_not, max_size=6))),
    )


def has_a_circle(edges: set[tuple[str, str]]) -> bool:
    """Whether something is behind itself, by way of others."""
    while ends := {a for a, _ in edges} - {b for _, b in edges}:
        edges = {(a, b) for a, b in edges if a not in ends}
    return bool(edges)


lost_instances = st.lists(st.sampled_from([node(name, "nothing") for name in IDS]), max_size=20)


@given(scenes(), lost_instances)
def test_a_mended_scene_has_nothing_against_it_and_loses_nothing(scene, lost):
    mended = repair_scene(scene, lost)
    behind = {(edge.source, edge.target) for edge in mended.relations if edge.phrase == "behind"}
    if not has_a_circle(behind):
        assert scene_violations(mended) == ()
    distinct = list(dict.fromkeys(one.id for one in scene.nodes))
    assert list(mended.graph.ids[: len(distinct)]) == distinct
    assert len(mended.nodes) == min(MAXIMUM_INSTANCES, len(distinct) + len(lost))
    whole = [
        edge for edge in scene.relations if edge.source != edge.target and {edge.source, edge.target} <= {*distinct}
    ]
    assert [edge for edge in mended.relations if edge in whole] == whole


@given(scenes())
def test_mending_twice_is_mending_once(scene):
    once = repair_scene(scene, ())
    assert repair_scene(once, ()) == once


@given(scenes(), st.lists(known_or_not, min_size=1, max_size=6))
def test_mended_movements_are_one_for_each_motionless_instance(scene, cued):
    still = (Phase(label=MotionLabel.MOTIONLESS),)
    movements = tuple(Movement(why="x", cues=InstanceCues(instance=name, phases=still)) for name in cued)
    mended = repair_scene(scene, ())
    reading = reading_of(mended, repair_movements(Movements(thoughts="x", movements=movements), mended))
    assert tuple(cues.instance for cues in reading.cues) == mended.graph.ids
