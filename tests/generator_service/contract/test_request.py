"""What a job may ask for, and how a wish that cannot be met is answered."""

import pytest
from pydantic import ValidationError

from generator_service.contract.backbones import BACKBONES, EMOJI_WORLD, FrameRule, SizeRule
from generator_service.contract.request import MAXIMUM_SEED, JobRequest, require_affordable
from shared.errors import InvalidRequest, violations_of
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import MAXIMUM_PROMPT_CHARACTERS, Phase, Plan, Track


def still_tree(frames: int) -> Plan:
    tree = Instance(id="tree", name="tree", description="a tree", label=MotionLabel.MOTIONLESS)
    phase = Phase(label=MotionLabel.MOTIONLESS, start=0, end=frames - 1)
    return Plan.model_validate(
        {
            "prompt": "a tree",
            "graph": MotionGraph(instances=(tree,)),
            "background": "a meadow",
            "tracks": (Track(instance="tree", phases=(phase,), boxes=((0.1, 0.2, 0.4, 0.8),) * frames),),
            "depth_order": ("tree",),
        }
    )


def refused_fields(request: JobRequest) -> set[str]:
    with pytest.raises(InvalidRequest) as refusal:
        request.settings()
    return {violation.field for violation in refusal.value.violations}


def test_holes_are_filled_with_the_backbones_defaults() -> None:
    settings = JobRequest(prompt="a tree", seed=7).settings()
    assert settings.model_dump() == {
        "backbone": "emoji-world",
        "seed": 7,
        **EMOJI_WORLD.defaults.model_dump(),
        "guidance": EMOJI_WORLD.guidance.model_dump(),
        "step_cache": 0.0,
        "candidates": 1,
    }


def test_guidance_is_the_backbones_own_but_for_what_is_given() -> None:
    given = JobRequest.model_validate({"prompt": "a tree", "guidance": {"strength": 0.7, "branches": ["gig"]}})
    expected = EMOJI_WORLD.guidance.model_copy(update={"strength": 0.7, "branches": ("gig",)})
    assert given.settings().guidance == expected
    assert JobRequest(prompt="a tree", guidance={}).settings().guidance == EMOJI_WORLD.guidance
    again = JobRequest.model_validate_json(given.model_dump_json(exclude_unset=True))  # as the client sends it
    assert again.settings().guidance == expected


def test_guidance_can_be_off() -> None:
    off = JobRequest.model_validate({"prompt": "a tree", "guidance": "off"}).settings().guidance
    assert off.is_off
    assert not EMOJI_WORLD.guidance.is_off
    assert off.model_copy(update={"regional": True, "regional_until": 0.9}).is_off is False
    assert off.model_copy(update={"strength": 0.1, "branches": ()}).is_off


@pytest.mark.parametrize(
    ("guidance", "field"),
    [
        ({"strength": -0.1}, "guidance.strength"),
        ({"strength": 101}, "guidance.strength"),
        ({"branches": ["rcg", "rcg"]}, "guidance.branches"),
        ({"branches": ["abc"]}, "guidance.branches.0"),
        ({"until": 1.5}, "guidance.until"),
        ({"stepps": 0.5}, "guidance.stepps"),
        ({"strength": "0.3"}, "guidance.strength"),
        ({"layers": [True]}, "guidance.layers.0"),
        ({"regional": 1}, "guidance.regional"),
        ("on", "guidance"),
        (3, "guidance"),
    ],
)
def test_bad_guidance_is_refused_by_its_field(guidance: object, field: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        JobRequest.model_validate({"prompt": "a tree", "guidance": guidance})
    assert [violation.field for violation in violations_of(refusal.value)] == [field]


@pytest.mark.parametrize("field", ["seed", "steps", "frames", "width", "height", "fps", "guidance_scale", "candidates"])
@pytest.mark.parametrize("value", ["8", True])
def test_a_number_is_a_number(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        JobRequest.model_validate({"prompt": "a tree", field: value})
    assert [violation.field for violation in violations_of(refusal.value)] == [field]


def test_layers_that_the_network_lacks_are_named() -> None:
    request = JobRequest.model_validate({"prompt": "a tree", "guidance": {"layers": [0, 6], "feature_layer": 7}})
    assert refused_fields(request) == {"guidance.layers", "guidance.feature_layer"}
    with pytest.raises(InvalidRequest, match="emoji-world has layers 0 to 5, not 6"):
        request.settings()


def test_a_share_of_all_is_refused() -> None:
    request = JobRequest.model_validate({"prompt": "a tree", "guidance": {"form": "share", "strength": 1.0}})
    assert refused_fields(request) == {"guidance.strength"}


def test_the_steps_of_candidates_by_hand() -> None:
    """Four of 24 steps: each ten, and two of them the other fourteen."""
    settings = JobRequest(prompt="a tree", steps=24, candidates=4, seed=MAXIMUM_SEED - 1).settings()
    assert (settings.judged_at, settings.finalists, settings.steps_in_all) == (10, 2, 4 * 10 + 2 * 14)
    assert [settings.seed_of(candidate) for candidate in range(4)] == [MAXIMUM_SEED - 1, MAXIMUM_SEED, 0, 1]
    require_affordable(settings, 9 * 96 * 64 * 68)
    with pytest.raises(InvalidRequest, match="at most 67 steps, those of all 4 candidates"):
        require_affordable(settings, 9 * 96 * 64 * 68 - 1)
    assert JobRequest(prompt="a tree", steps=24).settings().steps_in_all == 24


def test_a_step_cache_is_for_backbones_guided_by_attention() -> None:
    request = JobRequest(prompt="a tree", backbone="videocrafter2", step_cache=0.1)
    assert refused_fields(request) == {"step_cache"}
    assert JobRequest(prompt="a tree", backbone="cogvideox-2b", step_cache=0.1).settings().step_cache == 0.1


def test_boxes_are_drawn_for_a_network_that_was_trained_to_follow_them() -> None:
    drawn = {"control": 0.5}
    assert JobRequest(prompt="a tree", backbone="wan2.1-vace-1.3b").settings().guidance.control == 1.0
    assert JobRequest(prompt="a tree", backbone="wan2.1-vace-1.3b", guidance=drawn).settings().guidance.control == 0.5
    assert refused_fields(JobRequest(prompt="a tree", backbone="cogvideox-2b", guidance=drawn)) == {"guidance.control"}
    beside = JobRequest(prompt="a tree", backbone="wan2.1-vace-1.3b", guidance={"regional": True}, step_cache=0.1)
    assert refused_fields(beside) == {"guidance.regional", "step_cache"}


def test_candidates_are_for_backbones_that_find_things_in_their_videos() -> None:
    request = JobRequest(prompt="a tree", backbone="cogvideox-2b", candidates=2)
    assert refused_fields(request) == {"candidates"}
    with pytest.raises(InvalidRequest, match="cogvideox-2b cannot choose among 2 videos"):
        request.settings()


def test_a_missing_seed_is_drawn_and_kept() -> None:
    seeds = {JobRequest(prompt="a tree").settings().seed for _ in range(8)}
    assert len(seeds) > 1
    assert all(0 <= seed <= MAXIMUM_SEED for seed in seeds)


def test_every_field_that_the_backbone_cannot_do_is_named_with_its_limit() -> None:
    request = JobRequest(prompt="a tree", frames=10, width=65, height=40, steps=201)
    assert refused_fields(request) == {"frames", "width", "height", "steps"}
    with pytest.raises(InvalidRequest, match="emoji-world can do 9, not 10"):
        request.settings()


def test_an_unknown_backbone_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="'sora' is not known; known: emoji-world, cogvideox-2b"):
        JobRequest(prompt="a tree", backbone="sora").settings()


@pytest.mark.parametrize("both", [{}, {"prompt": "a tree", "plan": still_tree(9)}])
def test_exactly_one_of_prompt_and_plan_is_given(both: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="either a prompt or a plan"):
        JobRequest.model_validate(both)


def test_a_plan_brings_its_prompt_and_its_frame_count() -> None:
    request = JobRequest(plan=still_tree(17), backbone="cogvideox-2b")
    assert request.text == "a tree"
    assert request.settings().frames == 17


def test_a_plan_of_another_length_than_the_video_is_refused() -> None:
    assert refused_fields(JobRequest(plan=still_tree(17), backbone="cogvideox-2b", frames=25)) == {"plan.tracks"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "   "),
        ("prompt", "x" * (MAXIMUM_PROMPT_CHARACTERS + 1)),
        ("seed", -1),
        ("seed", MAXIMUM_SEED + 1),
        ("steps", 0),
        ("fps", 61),
        ("step_cache", -0.1),
        ("step_cache", 1.1),
        ("candidates", 0),
        ("candidates", 9),
        ("guidance_scale", 0.5),
        ("guidance_scale", float("nan")),
        ("metadata", {"key": "x" * 501}),
        ("metadata", {str(number): "" for number in range(17)}),
        ("planner", "gpt"),
        ("colour", "red"),
    ],
)
def test_values_beyond_their_limits_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        JobRequest.model_validate({"prompt": "a tree", field: value})
    assert refusal.value.errors()[0]["loc"][0] == field


def test_every_backbone_can_do_its_own_defaults() -> None:
    for name, spec in BACKBONES.items():
        image = "0" * 32 if spec.image == "required" else None
        JobRequest(prompt="a tree", backbone=name, image=image).settings()


def test_frame_rule_counts_from_its_minimum() -> None:
    rule = FrameRule(minimum=9, maximum=25, step=8)
    assert [frames for frames in range(40) if rule.allows(frames)] == [9, 17, 25]


def test_size_rule_allows_multiples_within_its_bounds() -> None:
    rule = SizeRule(minimum=32, maximum=64, step=16)
    assert [size for size in range(100) if rule.allows(size)] == [32, 48, 64]
