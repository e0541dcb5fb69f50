"""Prompt and plan in, files out: on the packaged weights, and on a tiny network."""

import io
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from generator_service.backbones.base import AnyBackbone
from generator_service.backbones.load import load_backbone
from generator_service.contract.backbones import EMOJI_WORLD
from generator_service.contract.job import Stage
from generator_service.contract.request import JobRequest, RenderSettings
from generator_service.guidance.protocols import UNGUIDED
from generator_service.rendering import Rendered, render
from generator_service.sampling.loop import denoise
from generator_service.sampling.state import Cancelled, Progress, first_state, ignore
from generator_service.settings import WorkerSettings
from generator_service.workers.checkpoint import pack, unpack
from shared.errors import InvalidRequest, OutOfMemory
from shared.plan import Plan

PROMPT = "a red car drives to the right past a zebra"


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def backbone() -> AnyBackbone:
    return load_backbone(EMOJI_WORLD, WorkerSettings(device="cpu"))


@pytest.fixture
def settings() -> RenderSettings:
    return JobRequest(prompt=PROMPT, seed=3, steps=2).settings()


def rendered(
    backbone: AnyBackbone,
    settings: RenderSettings,
    plan: Plan | None = None,
    on_step: Callable[[Progress], None] = lambda state: None,
    on_stage: Callable[[Stage], None] = lambda stage: None,
) -> Rendered:
    return render(backbone, PROMPT, plan, settings, on_step=on_step, on_stage=on_stage)


def test_everything_a_job_needs_comes_out(backbone: AnyBackbone, settings: RenderSettings) -> None:
    told: list[object] = []
    result = rendered(backbone, settings, on_step=lambda progress: told.append(progress.step), on_stage=told.append)
    assert told == [Stage.SAMPLING, 1, 2, Stage.DECODING]
    assert result.frames.shape == (9, 64, 96, 3)
    with av.open(io.BytesIO(result.video)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (384, 256)
    assert Image.open(io.BytesIO(result.preview)).format == "PNG"

    assert result.diagnostics.caption == result.manifest.caption
    assert any("'zebra'" in note for note in result.diagnostics.notes)
    assert set(result.diagnostics.seconds) == {"sampling", "decoding", "encoding"}
    assert result.manifest.prompt == PROMPT
    assert (result.manifest.settings, result.manifest.seed) == (settings, 3)
    assert result.manifest.plan_hash is None
    assert result.manifest.encoding.enlargement == 4
    assert result.manifest.weights_revision == backbone.setup.weights_revision


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(
    backbone: AnyBackbone, settings: RenderSettings
) -> None:
    first = rendered(backbone, settings).video
    assert rendered(backbone, settings).video == first
    assert rendered(backbone, settings.model_copy(update={"seed": 4})).video != first


def test_a_plan_is_drawn_in_the_preview_and_named_in_the_manifest(
    backbone: AnyBackbone, settings: RenderSettings, plan: Plan
) -> None:
    without, with_plan = rendered(backbone, settings), rendered(backbone, settings, plan)
    assert with_plan.manifest.plan_hash == plan.content_hash
    assert with_plan.preview != without.preview


def test_a_plan_guides_the_video_unless_guidance_is_off(backbone: AnyBackbone, plan: Plan) -> None:
    def with_guidance(guidance: object) -> Rendered:
        request = JobRequest.model_validate({"plan": plan, "seed": 3, "steps": 4, "guidance": guidance})
        return render(backbone, plan.prompt, plan, request.settings(), on_step=ignore, on_stage=lambda stage: None)

    plain = with_guidance("off")
    conditioning = backbone.prepare(backbone.scene(plan.prompt, plan), plain.manifest.settings)
    start = first_state(backbone, plain.manifest.settings)
    stock = backbone.decode(denoise(backbone, conditioning, start, UNGUIDED, ignore), plain.manifest.settings)
    assert np.array_equal(plain.frames, stock)
    assert (plain.diagnostics.guidance, plain.diagnostics.cost) == (None, None)

    guided = with_guidance({"until": 0.8, "strength": 1.0})
    assert not np.array_equal(guided.frames, plain.frames)
    assert guided.manifest.settings.guidance.strength == 1.0
    report = guided.diagnostics.guidance
    assert report is not None
    assert {(phase.instance, phase.branch) for phase in report.phases} == {("car", "gig"), ("tree", "rcg")}


@pytest.mark.parametrize("done", [2, 3])
def test_a_guided_video_resumed_from_a_file_is_the_undisturbed_one(
    done: int, backbone: AnyBackbone, plan: Plan
) -> None:
    """Two of four steps are guided by motion, so that nothing of the first is kept; step 3 has regions alone."""
    wish = {"since": 1.0, "until": 0.75, "strength": 1.0, "regional": True, "regional_until": 0.4}
    settings = JobRequest.model_validate({"plan": plan, "seed": 3, "steps": 4, "guidance": wish}).settings()
    states: list[Progress] = []

    def whole(start: Progress | None, on_step: Callable[[Progress], None]) -> Rendered:
        return render(backbone, plan.prompt, plan, settings, start=start, on_step=on_step, on_stage=lambda stage: None)

    undisturbed = whole(None, states.append)
    assert [state.is_resumable for state in states] == [False, True, True, True]
    torch.rand(3)  # whatever the process does in between
    state = unpack(pack(states[done - 1], {}), {}, first_state(backbone, settings))
    later: list[int] = []
    resumed = whole(state, lambda state: later.append(state.step))
    assert later == list(range(done + 1, 5))
    assert np.array_equal(resumed.frames, undisturbed.frames)
    assert resumed.video == undisturbed.video
    assert resumed.diagnostics.guidance == undisturbed.diagnostics.guidance
    assert resumed.diagnostics.guidance is not None
    assert {phase.steps for phase in resumed.diagnostics.guidance.phases} == {2}


def test_without_a_plan_there_is_nothing_to_choose_by(backbone: AnyBackbone) -> None:
    settings = JobRequest(prompt=PROMPT, seed=3, steps=2, candidates=2).settings()
    with pytest.raises(InvalidRequest, match="candidates"):
        rendered(backbone, settings)


def test_a_callback_can_cancel_in_every_stage(backbone: AnyBackbone, settings: RenderSettings) -> None:
    def cancel(_: object) -> None:
        raise Cancelled

    def cancel_decoding(stage: Stage) -> None:
        if stage is Stage.DECODING:
            raise Cancelled

    for callbacks in ({"on_step": cancel}, {"on_stage": cancel}, {"on_stage": cancel_decoding}):
        with pytest.raises(Cancelled):
            rendered(backbone, settings, **callbacks)


def test_the_process_is_left_as_it_was(backbone: AnyBackbone, settings: RenderSettings) -> None:
    during: list[bool] = []
    rendered(backbone, settings, on_step=lambda state: during.append(torch.are_deterministic_algorithms_enabled()))
    assert during == [True, True]
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 35.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 35.00 GiB."),
        MemoryError("35.00 GiB"),
    ],
)
def test_a_full_device_is_an_expected_error(
    error: Exception, backbone: AnyBackbone, settings: RenderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: Any) -> None:
        raise error

    monkeypatch.setattr(backbone, "predict", fill)
    with pytest.raises(OutOfMemory) as caught:
        rendered(backbone, settings)
    assert caught.value.detail == "9 frames of 96×64 need more memory than the device has free"
    assert "35.00 GiB" in str(caught.value.__cause__)  # for the log


def test_a_cpu_that_lacks_memory_says_so_in_the_words_that_are_looked_for() -> None:
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        torch.empty(2**58, dtype=torch.uint8)


def test_any_other_error_passes_through(
    backbone: AnyBackbone, settings: RenderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(backbone, "predict", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        rendered(backbone, settings)


def test_what_is_seen_is_measured_as_the_video_is_drawn(
    backbone: AnyBackbone, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reproducibly; and a device that is full by then is as much of an expected error."""
    settings = JobRequest(plan=plan, seed=3, steps=2).settings()
    assert set(rendered(backbone, settings, plan).diagnostics.seconds) == {
        "sampling",
        "decoding",
        "encoding",
        "measuring",
    }
    during: list[bool] = []

    def fill(*_: Any) -> None:
        during.append(torch.are_deterministic_algorithms_enabled())
        raise torch.OutOfMemoryError

    monkeypatch.setattr(backbone, "adherence", fill)
    with pytest.raises(OutOfMemory):
        rendered(backbone, settings, plan)
    assert during == [True]


def test_frames_of_the_file_are_the_frames(backbone: AnyBackbone, settings: RenderSettings) -> None:
    result = rendered(backbone, settings)
    with av.open(io.BytesIO(result.video)) as container:
        pictures = np.stack([picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)])
    middles = pictures[:, 2::4, 2::4].astype(float)  # the middle of each enlarged pixel
    assert np.abs(middles - result.frames).mean() < 6


def test_what_is_seen_of_the_plan_is_told(backbone: AnyBackbone, plan: Plan) -> None:
    settings = JobRequest(plan=plan, seed=3, steps=2).settings()
    diagnostics = rendered(backbone, settings, plan).diagnostics
    assert diagnostics.adherence is not None
    assert [(its.instance, its.drawn_as, len(its.boxes)) for its in diagnostics.adherence] == [
        ("car", "car", 9),
        ("tree", "tree", 9),
    ]
    car = diagnostics.adherence[0].model_copy(update={"detected": True, "mean_iou": 0.625})
    tree = diagnostics.adherence[1].model_copy(update={"detected": False})
    told = diagnostics.model_copy(update={"notes": ("a note",), "adherence": (car, tree)}).remarks
    assert told == ("a note", "car: seen, IoU 0.62 with its planned box", "tree: not seen")
    assert rendered(backbone, settings).diagnostics.adherence is None
