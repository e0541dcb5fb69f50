"""The three branches: by-hand numbers, and the sparse field against G built element by element."""

import math

import pytest
import torch
from torch import Tensor

from generator_service.contract.guidance import GuidanceParameters
from generator_service.guidance.branches import BRANCH_OF, area_strength, guidance_field
from generator_service.guidance.deformation import box_displacement, deformation_penalty, dilate, perceived_displacement
from generator_service.guidance.field import NO_ANCHOR, GuidanceField
from generator_service.guidance.foreground import border_ring, segment_foreground
from generator_service.guidance.grid import Grid
from generator_service.guidance.layout import cells_inside, layout_on
from generator_service.guidance.reference import reference_frame
from generator_service.guidance.rigidity import displacement_penalty, shape_template, warp_template
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track

GRID = Grid(frames=3, rows=6, columns=8, compression=4)
STILL, RIGID, NON_RIGID = MotionLabel.MOTIONLESS, MotionLabel.RIGID, MotionLabel.NON_RIGID


def instance(name: str, label: MotionLabel, parent: str | None = None) -> Instance:
    return Instance(id=name, name=name, description=f"a {name}", label=label, parent=parent)


def plan_of(*tracks: tuple[Instance, tuple[Box, ...]], nearest_first: tuple[str, ...] = ()) -> Plan:
    """Nine frames, each track of one phase."""
    instances = tuple(its for its, _ in tracks)
    return Plan(
        prompt="a test",
        graph=MotionGraph(instances=instances),
        background="nothing",
        tracks=tuple(
            Track(instance=its.id, phases=(Phase(label=its.label, start=0, end=8),), boxes=boxes)
            for its, boxes in tracks
        ),
        depth_order=nearest_first or tuple(its.id for its in instances),
    )


def resting(box: Box) -> tuple[Box, ...]:
    return (box,) * 9


def moving(box: Box, dx: float, dy: float = 0.0) -> tuple[Box, ...]:
    """By dx and dy over the clip."""
    return tuple(box.translate(dx * frame / 8, dy * frame / 8) for frame in range(9))


def cells(mask: Tensor) -> list[list[int]]:
    return mask.nonzero().tolist()


def test_a_token_frame_has_the_mean_box_of_the_layout_frames_it_stands_for() -> None:
    layout = layout_on(GRID, plan_of((instance("car", RIGID), moving(Box(0.0, 0.5, 0.2, 0.75), 0.8))))
    # frame 0; frames 1 to 4, mean 2.5; frames 5 to 8, mean 6.5: by 0.1 of the width each
    assert layout.boxes[0, :, 0].tolist() == pytest.approx([0.0, 0.25, 0.65], abs=1e-6)


def test_a_plan_of_other_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="Got a plan of 9 frames but expected 13"):
        layout_on(Grid(4, 6, 8, compression=4), plan_of((instance("car", RIGID), resting(Box(0, 0, 0.5, 0.5)))))


def test_cells_whose_centres_lie_in_the_box() -> None:
    inside = cells_inside(GRID, torch.tensor([[[0.25, 0.5, 0.5, 0.8]]]))
    assert cells(inside[0, 0]) == [[3, 2], [3, 3], [4, 2], [4, 3]]  # rows' centres: …, 0.583, 0.75, 0.917


def test_a_box_between_the_centres_gets_the_nearest_cell() -> None:
    tiny = torch.tensor([[[0.45, 0.45, 0.48, 0.48]]])  # its centre, (3.72, 2.79) in cells, lies in cell (2, 3)
    assert cells(cells_inside(GRID, tiny)[0, 0]) == [[2, 3]]


def test_overlaps_go_to_the_child_then_the_nearer_then_the_smaller() -> None:
    whole, part = Box(0.0, 0.0, 0.5, 1.0), Box(0.25, 0.0, 0.5, 0.5)
    far = Box(0.25, 0.0, 0.75, 1.0)
    plan = plan_of(
        (instance("tree", STILL), resting(whole)),
        (instance("leaf", STILL, parent="tree"), resting(part)),
        (instance("house", STILL), resting(far)),
        nearest_first=("tree", "house", "leaf"),
    )
    owner = layout_on(GRID, plan).owner[0]
    assert owner[0].tolist() == [1, 1, 2, 2, 3, 3, 0, 0]
    assert owner[5].tolist() == [1, 1, 1, 1, 3, 3, 0, 0]


def test_a_child_of_something_far_does_not_cover_what_is_near() -> None:
    both = Box(0.0, 0.0, 0.5, 1.0)
    plan = plan_of(
        (instance("tree", STILL), resting(both)),
        (instance("leaf", STILL, parent="tree"), resting(both)),
        (instance("dog", STILL), resting(Box(0.25, 0.0, 0.5, 1.0))),
        nearest_first=("dog", "tree", "leaf"),
    )
    assert layout_on(GRID, plan).owner[0, 0].tolist() == [2, 2, 3, 3, 0, 0, 0, 0]


def test_of_two_children_the_smaller_is_seen() -> None:
    large, small = Box(0.0, 0.0, 0.5, 1.0), Box(0.25, 0.0, 0.5, 1.0)
    plan = plan_of(
        (instance("tree", STILL), resting(large)),
        (instance("leaf", STILL, parent="tree"), resting(small)),
        (instance("crown", STILL, parent="tree"), resting(large)),
        nearest_first=("tree", "crown", "leaf"),
    )
    assert layout_on(GRID, plan).owner[0, 0].tolist() == [3, 3, 2, 2, 0, 0, 0, 0]


def test_the_reference_frame_is_the_one_most_like_all_others() -> None:
    angles = torch.tensor([0.0, 0.5, 0.6, 1.5])  # of the features of one token
    features = torch.stack([angles.cos(), angles.sin()], dim=1)[:, None]
    costs = [sum(1 - math.cos(a - b) for b in angles.tolist()) for a in angles.tolist()]
    seen = torch.ones(4, 1, dtype=torch.bool)
    assert reference_frame(features, seen) == costs.index(min(costs)) == 2
    assert (
        reference_frame(features * torch.tensor([1.0, 7.0, 0.2, 3.0])[:, None, None], seen) == 2
    )  # lengths say nothing


def test_what_covers_the_instance_does_not_choose_its_reference_frame() -> None:
    """Frames 0 and 1 are alike because the same thing covers one of two tokens there: the other one speaks for 2."""
    angles = torch.tensor([[0.0, 0.0], [0.0, 0.9], [1.0, 0.5]])  # of frame and token
    features = torch.stack([angles.cos(), angles.sin()], dim=2)
    assert reference_frame(features, torch.ones(3, 2, dtype=torch.bool)) == 1
    assert reference_frame(features, torch.tensor([[False, True], [False, True], [True, True]])) == 2


def test_the_displacement_penalty_by_hand() -> None:
    penalty = displacement_penalty(torch.tensor([[0.1, 0.2], [0.4, 0.6], [0.1, 0.2]]), falloff=2.0)
    apart = math.exp(-2.0 * 0.5) + 1
    assert torch.allclose(penalty, torch.tensor([[2, apart, 2], [apart, 2, apart], [2, apart, 2]]), atol=1e-6)


def test_the_ring_of_a_region() -> None:
    inside = torch.zeros(5, 7, dtype=torch.bool)
    inside[1:5, 2:6] = True
    ring = border_ring(inside)
    assert cells(inside & ~ring) == [[2, 3], [2, 4], [3, 3], [3, 4]]  # the lowest row touches the frame's edge


def test_the_foreground_is_what_is_unlike_what_is_around_the_box() -> None:
    """Also where it fills the box and is of two parts: clusters of the box alone would be these."""
    generator = torch.Generator().manual_seed(0)
    inside = torch.zeros(6, 8, dtype=torch.bool)
    inside[1:5, 1:7] = True
    around = dilate(inside[None])[0] & ~inside
    thing = inside.clone()
    thing[1, 1:3] = False
    parts = torch.where(torch.arange(8)[:, None] < 4, torch.tensor([1.0, 0.6, 0.0]), torch.tensor([1.0, -0.6, 0.0]))
    features = torch.where(thing[..., None], parts, torch.tensor([-0.2, 0.0, 1.0]))
    features = features + 0.05 * torch.randn(6, 8, 3, generator=generator)
    assert torch.equal(segment_foreground(features, inside, around), thing)
    lengths = 0.1 + 10 * torch.rand(6, 8, 1, generator=generator)
    assert torch.equal(segment_foreground(features * lengths, inside, around), thing)


def test_alike_all_over_or_with_nothing_around_it_the_whole_box_is_foreground() -> None:
    inside = torch.zeros(6, 8, dtype=torch.bool)
    inside[1:5, 1:7] = True
    around = dilate(inside[None])[0] & ~inside
    assert torch.equal(segment_foreground(torch.ones(6, 8, 3), inside, around), inside)
    features = torch.randn(6, 8, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(segment_foreground(features, inside, torch.zeros_like(inside)), inside)


def test_the_template_is_what_most_frames_agree_on_and_moves_with_the_box() -> None:
    boxes = torch.tensor([[x, 1 / 6, x + 0.5, 5 / 6] for x in (0.0, 0.25, 0.5)])  # 4 × 4 cells
    inside = cells_inside(GRID, boxes[None])[0]
    masks = torch.zeros(3, 6, 8, dtype=torch.bool)
    for frame, left in enumerate((0, 2, 4)):
        masks[frame, 2:4, left + 1 : left + 3] = True
    masks[1, 4, 3] = True  # seen in one frame of three
    template = shape_template(masks, boxes, threshold=0.5)
    assert not template.is_whole_box
    assert cells(template.mask) == [[1, 1], [1, 2], [2, 1], [2, 2]]
    half = shape_template(masks[:2], boxes[:2], threshold=0.5)
    assert cells(half.mask) == [[1, 1], [1, 2], [2, 1], [2, 2], [3, 1]]  # in one of two: half is enough
    masks[1, 4, 3] = False
    assert torch.equal(warp_template(template.mask, boxes, inside), masks)
    assert torch.equal(warp_template(torch.ones(4, 4, dtype=torch.bool), boxes, inside), inside)


def test_a_template_is_as_fine_as_the_largest_box() -> None:
    """Of 3 × 2 and 6 × 4 cells: the right half of the one is the right half of the other."""
    boxes = torch.tensor([[0.0, 0.0, 0.25, 0.5], [0.0, 0.0, 0.5, 1.0]])
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[0, :3, 1] = masks[1, :, 2:4] = True
    mask = shape_template(masks, boxes, threshold=1.0).mask
    assert mask.shape == (6, 4)
    assert mask[:, 2:].all()
    assert not mask[:, :2].any()
    assert torch.equal(warp_template(mask, boxes, cells_inside(GRID, boxes[None])[0, :2]), masks)


def test_a_template_of_next_to_nothing_gives_way_to_the_whole_box() -> None:
    masks = torch.zeros(3, 6, 8, dtype=torch.bool)
    masks[:, 1, 1:3] = True
    boxes = torch.tensor([[0, 0, 0.5, 4 / 6]] * 3)
    assert shape_template(masks, boxes, 0.5).is_whole_box  # 2 of 16 cells
    masks[:, 2, 1] = True
    assert not shape_template(masks, boxes, 0.5).is_whole_box


def test_an_empty_template_gives_way_to_the_whole_box() -> None:
    template = shape_template(torch.zeros(3, 6, 8, dtype=torch.bool), torch.tensor([[0, 0, 0.5, 0.5]] * 3), 0.5)
    assert template.is_whole_box
    assert template.mask.all()


def test_displacements_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0.0, 0.25, 0.5], [0.25, 0.0, 0.75, 0.5], [0.5, 0.5, 0.75, 1.0]])
    inside = cells_inside(GRID, boxes[None])[0]
    # from 2 to 4 cells wide, the left edge by 2 cells: column 0 is a quarter, column 1 three quarters across
    across = box_displacement(boxes, inside, 0, 1)
    assert torch.equal(across[:2], torch.tensor([[2.5, 0.0], [3.5, 0.0]]))
    assert torch.equal(box_displacement(boxes, inside, 0, 2), torch.tensor([[4.0, 3.0]]).expand(6, 2))


def test_what_moves_with_its_box_is_rewarded_most() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.25, 1 / 3, 0.75, 5 / 6]])
    inside = cells_inside(GRID, boxes[None])[0]
    features = torch.randn(2, 6, 8, 16, generator=generator)
    features[1, 2:5, 2:6] = features[0, 0:3, 0:4]
    assert torch.equal(
        perceived_displacement(torch.nn.functional.normalize(features, dim=3), inside, 0, 1),
        torch.tensor([[2.0, 2.0]]).expand(12, 2),
    )
    lengths = 0.1 + 10 * torch.rand(2, 6, 8, 1, generator=generator)
    penalty = deformation_penalty(features * lengths, boxes, inside)
    assert torch.allclose(penalty[inside], torch.tensor(2.0), atol=1e-5)
    assert (penalty[~inside] == 0).all()
    features[1, 2, 2], features[1, 2, 3] = features[0, 0, 1], features[0, 0, 0]  # two parts change places, a cell apart
    penalty = deformation_penalty(features, boxes, inside)
    assert penalty[0, 0, 0, 1].item() == pytest.approx(math.exp(-1) + 1, abs=1e-5)
    assert penalty[0, 1, 1, 1].item() == pytest.approx(2, abs=1e-5)


def test_all_pairs_of_frames_are_penalized_as_each_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor([[0.0, 0.1, 0.4, 0.6], [0.25, 0.0, 0.95, 0.5], [0.5, 0.5, 0.75, 1.0]])
    inside = cells_inside(GRID, boxes[None])[0]
    features = torch.randn(3, 6, 8, 16, generator=generator)
    penalty = deformation_penalty(features, boxes, inside)
    unit = torch.nn.functional.normalize(features, dim=3)
    for source in range(3):
        for target in range(3):
            apart = perceived_displacement(unit, inside, source, target) - box_displacement(
                boxes, inside, source, target
            )
            found = penalty[source, ..., target]
            assert torch.allclose(found[inside[source]], torch.exp(-apart.norm(dim=1)) + 1, atol=1e-5)
            assert (found[~inside[source]] == 0).all()


def test_the_search_looks_one_cell_around_the_box() -> None:
    """A box at rest, columns 2 to 5 and rows 2 to 4; what was in three of its corners has moved out of it."""
    inside = cells_inside(GRID, torch.tensor([[[0.25, 1 / 3, 0.75, 5 / 6]] * 2]))[0]
    features = torch.randn(2, 6, 8, 16, generator=torch.Generator().manual_seed(0))
    features[1, inside[1]] = features[0, inside[0]]
    for (row, column), (new_row, new_column) in {(2, 2): (1, 4), (4, 2): (4, 1), (4, 5): (4, 7)}.items():
        features[1, row, column] = torch.randn(16, generator=torch.Generator().manual_seed(row + column))
        features[1, new_row, new_column] = features[0, row, column]
    displacement = perceived_displacement(torch.nn.functional.normalize(features, dim=3), inside, 0, 1)
    assert displacement[0].tolist() == [2, -1]
    assert displacement[8].tolist() == [-1, 0]
    assert displacement[11].tolist() != [2, 0]  # two cells from the box
    assert displacement[1:8].abs().max() == displacement[9:11].abs().max() == 0


def test_a_field_by_hand() -> None:
    """Two frames of one row and two columns; token 1 and 2 are one instance, token 3 is anchored at token 1."""
    sparse = GuidanceField(
        Grid(frames=2, rows=1, columns=2),
        instance=torch.tensor([0, 1, 1, 0]),
        weight=torch.tensor([[0.0, 0.0], [2.0, 1.5], [1.5, 2.0], [0.0, 0.0]]),
        anchor=torch.tensor([NO_ANCHOR, NO_ANCHOR, NO_ANCHOR, 1]),
        anchor_weight=torch.tensor([0.0, 0.0, 0.0, 1.0]),
    )
    expected = [[0.0, 0.0, 0.0, 0.0], [0.0, 2.0, 1.5, 0.0], [0.0, 1.5, 2.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    assert sparse.dense().tolist() == expected
    assert sparse.named_by(torch.tensor([3, 1])).tolist() == [expected[3], expected[1]]
    assert sparse.guided.tolist() == [False, True, True, True]


@pytest.mark.parametrize("nearest_first", [("dog", "car", "tree"), ("tree", "car", "dog")])
def test_the_field_is_the_sum_of_the_branches_built_element_by_element(nearest_first: tuple[str, ...]) -> None:
    """Before there are features: whole boxes, the middle frame as reference, Λ = 2."""
    still, car = Box(0.0, 0.0, 0.3, 0.6), Box(0.1, 0.5, 0.4, 0.9)
    plan = plan_of(
        (instance("tree", STILL), resting(still)),
        (instance("car", RIGID), moving(car, 0.5)),
        (instance("dog", NON_RIGID), moving(Box(0.6, 0.1, 0.95, 0.6), 0.0, 0.3)),
        nearest_first=nearest_first,
    )
    layout = layout_on(GRID, plan)
    field, facts = guidance_field(layout, None, GuidanceParameters(falloff=1.5))
    owner = layout.owner.flatten(1)
    expected = torch.zeros(GRID.tokens, GRID.tokens)
    centers = (layout.boxes[..., :2] + layout.boxes[..., 2:]) / 2
    per_frame = GRID.rows * GRID.columns
    for f in range(3):
        for p in range(per_frame):
            who = int(owner[f, p])
            if who == 1:
                expected[f * per_frame + p, 1 * per_frame + p] = 1
            for g in range(3):
                for r in range(per_frame):
                    if who > 1 and int(owner[g, r]) == who:
                        apart = float((centers[who - 1, f] - centers[who - 1, g]).norm())
                        reward = math.exp(-1.5 * apart) + 1 if who == 2 else 2.0
                        expected[f * per_frame + p, g * per_frame + r] = reward
    assert torch.allclose(field.dense(), expected, atol=1e-6)
    assert {fact.instance: fact.tokens for fact in facts} == {
        name: int((owner == 1 + index).sum()) for index, name in enumerate(plan.graph.ids)
    }


def test_the_centre_of_what_comes_nearer_stays() -> None:
    boxes = tuple(Box.around(0.5, 0.4, width, width) for width in (0.2 + 0.05 * frame for frame in range(9)))
    field, _ = guidance_field(layout_on(GRID, plan_of((instance("car", RIGID), boxes))), None, GuidanceParameters())
    G = field.dense()
    assert torch.allclose(G[G != 0], torch.tensor(2.0))
    assert field.instance.view(3, -1).any(1).all()


@pytest.mark.parametrize("label", [RIGID, NON_RIGID])
def test_features_narrow_the_masks(label: MotionLabel) -> None:
    """A cell that is seen in one frame of three belongs to what deforms, but not to what keeps its shape."""
    generator = torch.Generator().manual_seed(1)
    plan = plan_of((instance("thing", label), resting(Box(0.25, 1 / 6, 0.75, 5 / 6))))
    layout = layout_on(GRID, plan)
    thing = torch.zeros(3, 6, 8, dtype=torch.bool)
    thing[:, 2:4, 3:5] = True
    seen = thing.clone()
    seen[1, 1, 3] = True
    features = torch.where(seen[..., None], torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]))
    features = (features + 0.02 * torch.randn(3, 6, 8, 3, generator=generator)).flatten(0, 2)
    field, (fact,) = guidance_field(layout, features, GuidanceParameters())
    assert torch.equal(field.instance.view(3, 6, 8) == 1, thing if label is RIGID else seen)
    assert (fact.tokens, fact.whole_box) == (12 if label is RIGID else 13, False)
    half, _ = guidance_field(layout, features.bfloat16(), GuidanceParameters())
    assert torch.equal(half.instance, field.instance)
    if label is RIGID:
        strict, (fact,) = guidance_field(layout, features, GuidanceParameters(template_threshold=0.3))
        assert torch.equal(strict.instance.view(3, 6, 8)[0] == 1, seen[1])


REST_THEN_DEFORM = (Phase(label=STILL, start=0, end=4), Phase(label=NON_RIGID, start=5, end=8))
DEFORM_THEN_REST = (Phase(label=NON_RIGID, start=0, end=4), Phase(label=STILL, start=5, end=8))


@pytest.mark.parametrize("with_features", [False, True])
@pytest.mark.parametrize(
    ("phases", "branches", "pairs"),
    [
        (REST_THEN_DEFORM, ["rcg", "sdg"], {(0, 1), (1, 1), (2, 2)}),
        (DEFORM_THEN_REST, ["sdg", "rcg"], {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)}),
    ],
)
def test_phases_guide_their_own_frames_alone(
    phases: tuple[Phase, ...], branches: list[str], pairs: set[tuple[int, int]], with_features: bool
) -> None:
    """The change is at layout frame 5, that is at token frame 2.  The features are alike in frames 1 and 2."""
    box = Box(0.125, 0.0, 0.625, 0.7)
    leaf = instance("leaf", NON_RIGID)
    track = Track(instance="leaf", phases=phases, boxes=resting(box))
    plan = plan_of((leaf, resting(box))).model_copy(update={"tracks": (track,)})
    features = torch.randn(3, 48, 8, generator=torch.Generator().manual_seed(0))
    features[1] = features[2]
    layout = layout_on(GRID, plan)
    field, facts = guidance_field(layout, features.flatten(0, 1) if with_features else None, GuidanceParameters())
    if with_features and phases is REST_THEN_DEFORM:
        inside = layout.inside[0, 2]
        centred = (features - features.mean((0, 1)))[2].view(6, 8, 8)
        thing = segment_foreground(centred, inside, dilate(inside[None])[0] & ~inside)
        assert torch.equal(field.instance.view(3, 6, 8)[2] == 1, thing)
    G = field.dense()
    frame = torch.arange(GRID.tokens) // 48
    queries, keys = G.nonzero(as_tuple=True)
    seen = {(int(f), int(g)) for f, g in zip(frame[queries], frame[keys], strict=True)}
    if with_features and phases is REST_THEN_DEFORM:
        assert seen in [{(0, f), (1, f), (2, 2)} for f in (0, 1)]  # of two frames none is more like the other
    else:
        assert seen == pairs
    assert [fact.branch for fact in facts] == branches


def test_a_token_frame_is_of_the_phase_that_most_of_its_layout_frames_are_in() -> None:
    """Token frame 1 stands for layout frames 1 to 4."""
    leaf = instance("leaf", NON_RIGID)
    for last, rest in ((1, [0]), (3, [0, 1])):
        phases = (Phase(label=STILL, start=0, end=last), Phase(label=NON_RIGID, start=last + 1, end=8))
        track = Track(instance="leaf", phases=phases, boxes=resting(Box(0.0, 0.0, 0.5, 0.5)))
        plan = plan_of((leaf, track.boxes)).model_copy(update={"tracks": (track,)})
        ((_, frames), _) = layout_on(GRID, plan).phases[0]
        assert frames.tolist() == rest


def test_a_motionless_part_of_what_moves_refers_to_its_place_in_the_box() -> None:
    """Two columns of two rows; by 2 cells to the right and 1 up from frame 0 to 1, and by 3 and 1 to frame 2."""
    boxes = moving(Box(0.0, 0.5, 0.25, 0.8), 0.72, -0.4)
    plan = plan_of(
        (instance("car", RIGID), boxes),
        (instance("door", STILL, parent="car"), boxes),
    )
    layout = layout_on(GRID, plan)
    corners = [(0, 3, 0), (1, 2, 2), (2, 1, 5)]  # frame, row, column
    assert [cells(layout.inside[1, frame])[0] for frame in range(3)] == [[row, column] for _, row, column in corners]

    def token(frame: int, row: int, column: int) -> int:
        return frame * 48 + row * 8 + column

    def features() -> Tensor:
        """The door is most like the others in frame 2; where it was in frame 0 is alike in frames 1 and 2."""
        angle = torch.full((3, 6, 8), 2.0)
        for (frame, row, column), its in zip(corners, (0.0, 1.0, 0.9), strict=True):
            angle[frame, row : row + 2, column : column + 2] = its
        return torch.stack([angle.cos(), angle.sin()], dim=-1).flatten(0, 2)

    for given, reference in ((None, 1), (features(), 2)):
        field, facts = guidance_field(layout, given, GuidanceParameters(branches=("rcg",)))
        assert [fact.reference_frame for fact in facts] == [reference]
        _, top, left = corners[reference]
        for frame, row, column in corners:
            for down in (0, 1):
                for across in (0, 1):
                    anchor = int(field.anchor[token(frame, row + down, column + across)])
                    assert anchor == token(reference, top + down, left + across)
        assert (field.anchor != NO_ANCHOR).sum() == 12


def test_an_anchor_belongs_to_whom_it_anchors() -> None:
    """A dog walks before a tree: in the reference frame, the middle one, it covers the tree's right half."""
    tree, dog = Box(0.0, 0.0, 0.5, 1.0), Box(0.5, 0.0, 0.75, 1.0)
    plan = plan_of(
        (instance("tree", STILL), resting(tree)),
        (instance("dog", RIGID), moving(dog, -0.5)),
        nearest_first=("dog", "tree"),
    )
    layout = layout_on(GRID, plan)
    owner = layout.owner.flatten()
    field, (fact,) = guidance_field(layout, None, GuidanceParameters(branches=("rcg",)))
    anchored = field.anchor != NO_ANCHOR
    assert 0 < int(anchored.sum()) == fact.tokens < int((owner == 1).sum())
    assert (owner[anchored] == 1).all()
    assert (owner[field.anchor[anchored]] == 1).all()


def test_as_a_share_all_of_the_box_in_the_reference_frame_is_named() -> None:
    box = Box(0.25, 0.0, 0.5, 0.5)
    layout = layout_on(GRID, plan_of((instance("tree", STILL), resting(box))))
    field, (fact,) = guidance_field(layout, None, GuidanceParameters(form="share"))
    inside, frame = layout.inside[0].flatten(), torch.arange(GRID.tokens) // 48
    expected = (inside & (frame != 1))[:, None] & (inside & (frame == 1))
    assert torch.equal(field.dense(), expected.float())
    assert (fact.reference_frame, fact.tokens) == (1, int(inside.sum()) * 2 // 3)


@pytest.mark.parametrize("label", [RIGID, NON_RIGID])
def test_as_a_share_what_moves_looks_less_at_what_is_not_its_own_in_other_frames(label: MotionLabel) -> None:
    """Before there are features Λ is 2; Γ is exp(-|C_f - C_g|) + 1."""
    layout = layout_on(GRID, plan_of((instance("car", label), moving(Box(0.0, 0.0, 0.25, 0.5), 0.5))))
    field, (fact,) = guidance_field(layout, None, GuidanceParameters(form="share", mask=3.0))
    inside, frame = layout.inside[0].flatten(), torch.arange(GRID.tokens) // 48
    centres = (layout.boxes[0, :, 0] + layout.boxes[0, :, 2]) / 2
    expected = torch.zeros(GRID.tokens, GRID.tokens)
    for f in range(3):
        for g in range(3):
            less = 3.0 * math.exp(-abs(float(centres[f] - centres[g]))) if label is RIGID else 3.0
            expected[(inside & (frame == f))[:, None] & (~inside & (frame == g))] = -less * (f != g)
    assert torch.allclose(field.dense(), expected, atol=1e-6)
    assert fact.tokens == int(inside.sum())


def test_parts_of_parts_belong_to_the_whole() -> None:
    boxes = resting(Box(0.0, 0.0, 0.5, 0.5))
    named = (instance("handle", STILL, parent="door"), instance("door", STILL, parent="car"), instance("car", RIGID))
    layout = layout_on(GRID, plan_of(*((its, boxes) for its in named), (instance("tree", STILL), boxes)))
    assert layout.wholes == ("car", "car", "car", "tree")


@pytest.mark.parametrize("way", [0.1, 0.15, 0.2, 0.25])
def test_an_anchor_lies_in_the_box_however_far_it_moves(way: float) -> None:
    """By parts of a cell, which is an eighth of the width and a sixth of the height."""
    boxes = moving(Box(0.1, 0.2, 0.5, 0.6), way, way)
    plan = plan_of((instance("car", RIGID), boxes), (instance("door", STILL, parent="car"), boxes))
    layout = layout_on(GRID, plan)
    field, _ = guidance_field(layout, None, GuidanceParameters(branches=("rcg",)))
    anchors = field.anchor[field.anchor != NO_ANCHOR]
    assert len(anchors) == int(layout.inside[1].sum())
    assert layout.inside[1].flatten()[anchors].all()


def test_a_token_of_a_frame_in_which_the_instance_is_absent_belongs_to_nobody() -> None:
    """It appears in layout frame 4: token frame 1 stands for the frames 1 to 4, and most of these are without it."""
    box = Box(0.25, 0.0, 0.5, 0.5)
    track = Track(
        instance="leaf",
        phases=(Phase(label=STILL, start=0, end=3, absent=True), Phase(label=STILL, start=4, end=8)),
        boxes=resting(box),
    )
    plan = plan_of((instance("leaf", STILL), resting(box))).model_copy(update={"tracks": (track,)})
    layout = layout_on(GRID, plan)
    assert layout.owner.flatten(1).any(1).tolist() == [False, False, True]
    assert layout.inside[0].flatten(1).any(1).tolist() == [False, False, True]
    G = guidance_field(layout, None, GuidanceParameters())[0].dense()
    frame = torch.arange(GRID.tokens) // 48
    queries, keys = G.nonzero(as_tuple=True)
    assert {(int(f), int(g)) for f, g in zip(frame[queries], frame[keys], strict=True)} == {(2, 2)}


@pytest.mark.parametrize("label", list(MotionLabel))
def test_a_branch_that_is_left_out_guides_nothing(label: MotionLabel) -> None:
    layout = layout_on(GRID, plan_of((instance("thing", label), resting(Box(0.0, 0.0, 0.5, 0.5)))))
    others = tuple(branch for branch in BRANCH_OF.values() if branch != BRANCH_OF[label])
    field, facts = guidance_field(layout, None, GuidanceParameters(branches=others))
    assert not facts
    assert not field.dense().any()


def test_small_boxes_are_guided_more_strongly_within_bounds() -> None:
    def strength(area: float) -> float:
        return area_strength(torch.tensor([[0.0, 0.0, area**0.5, area**0.5]]))

    assert strength(0.4) == strength(0.1) == 1.0
    assert strength(0.025) == pytest.approx(2.0)
    assert strength(0.0001) == 3.0


@pytest.mark.parametrize("label", list(MotionLabel))
def test_all_of_a_small_boxs_guidance_is_stronger(label: MotionLabel) -> None:
    layout = layout_on(GRID, plan_of((instance("thing", label), resting(Box(0.5, 0.5, 0.75, 0.6)))))
    plain, strong = (
        guidance_field(layout, None, GuidanceParameters(small_boxes=small_boxes))[0] for small_boxes in (False, True)
    )
    assert torch.allclose(strong.dense(), 2 * plain.dense())  # area 1/40
    assert plain.dense().any()


@pytest.mark.parametrize("changes", [{"strength": -0.1}, {"steps": 1.2}, {"branches": ("gig", "gig")}, {"falloff": 0}])
def test_parameters_name_what_is_wrong(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        GuidanceParameters.model_validate(changes)
