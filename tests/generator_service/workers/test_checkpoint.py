"""What is saved comes back bit for bit, another video's is passed over, and saving costs next to nothing."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import safetensors.torch
import torch

from deploy.servers import free_ports
from generator_service.backbones.base import AnyBackbone, Setup
from generator_service.contract.job import Stage
from generator_service.contract.request import RenderSettings
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.sampling.state import StepState
from generator_service.settings import StorageSettings
from generator_service.storage import JobKeys, ObjectStore
from generator_service.workers import checkpoint as checkpoint_module
from generator_service.workers.checkpoint import Checkpoint, fingerprint, packed, unpacked
from shared.errors import StorageUnavailable
from shared.plan import Plan

CPU = torch.device("cpu")
SETUP = Setup(weights_revision="sha256:0", device="cpu", dtype="float32", vae_tiling=False)
BACKBONE = cast(AnyBackbone, SimpleNamespace(setup=SETUP, device=CPU))


def state(step: int = 3) -> StepState:
    generator = torch.Generator().manual_seed(7)
    latents = torch.randn(1, 3, 4, 6, 2, generator=generator)
    return StepState(
        step,
        steps=9,
        latents=latents,
        memory=latents[:, :2].bfloat16(),
        generator=generator.get_state(),
        guidance=latents.permute(0, 1, 3, 2, 4),  # of the same memory, and not contiguous
    )


def same(one: StepState, other: StepState) -> bool:
    def equal(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
        if a is None or b is None:
            return a is b
        return a.dtype == b.dtype and torch.equal(a, b)

    tensors = ("latents", "memory", "generator", "guidance")
    return (one.step, one.steps) == (other.step, other.steps) and all(
        equal(getattr(one, name), getattr(other, name)) for name in tensors
    )


# the file


@pytest.mark.parametrize("left_out", [{}, {"memory": None}, {"guidance": None}, {"memory": None, "guidance": None}])
def test_what_is_packed_comes_back(left_out: dict[str, Any]) -> None:
    saved = replace(state(), **left_out)
    restored, metadata = unpacked(packed(saved, {"job": "a" * 32}), CPU)
    assert same(restored, saved)
    assert metadata == {"job": "a" * 32, "step": "3", "steps": "9"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        packed(state(), {})[:-1],
        pickle.dumps({"latents": [1.0]}),
        safetensors.torch.save({"latents": torch.zeros(2)}),
        safetensors.torch.save({"latents": torch.zeros(2)}, {"step": "1", "steps": "2"}),
        safetensors.torch.save({"latents": torch.zeros(2), "generator": torch.zeros(2)}, {"step": "x", "steps": "2"}),
    ],
)
def test_anything_else_is_no_checkpoint(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (every one of them says something else)
        unpacked(data, CPU)


def test_the_fingerprint_knows_all_that_decides_the_video(
    settings: RenderSettings, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = fingerprint("a car", plan, settings, SETUP)
    assert fingerprint("a car", plan, settings.model_copy(), replace(SETUP)) == same
    others = {
        fingerprint("a cat", plan, settings, SETUP),
        fingerprint("a car", None, settings, SETUP),
        fingerprint("a car", plan.model_copy(update={"background": "a meadow"}), settings, SETUP),
        *(
            fingerprint("a car", plan, settings.model_copy(update={name: 8}), SETUP)
            for name in ("seed", "steps", "frames", "width", "guidance_scale")
        ),
        fingerprint(
            "a car",
            plan,
            settings.model_copy(update={"guidance": settings.guidance.model_copy(update={"strength": 0.5})}),
            SETUP,
        ),
        *(
            fingerprint("a car", plan, settings, replace(SETUP, **{name: "another"}))
            for name in ("weights_revision", "device", "dtype")
        ),
    }
    monkeypatch.setattr(checkpoint_module, "installed_versions", lambda: {"torch": "9.9"})
    others.add(fingerprint("a car", plan, settings, SETUP))
    assert len(others | {same}) == 14


# saving and loading


@pytest.fixture
def objects() -> ObjectStore:
    return ObjectStore.open(StorageSettings(url="memory://"))


@pytest.fixture
def record(make_job: Callable[..., JobRecord]) -> JobRecord:
    return make_job(Stage.SAMPLING)


@pytest.fixture
def make_checkpoint(store: JobStore, objects: ObjectStore, record: JobRecord, plan: Plan) -> Callable[..., Checkpoint]:
    def make(record: JobRecord = record, objects: ObjectStore = objects, seconds: float = 10.0) -> Checkpoint:
        return Checkpoint(store, objects, BACKBONE, record, plan, seconds)

    return make


def test_a_later_attempt_finds_what_an_earlier_one_saved(
    make_checkpoint: Callable[..., Checkpoint], store: JobStore, record: JobRecord
) -> None:
    assert make_checkpoint().load() is None
    make_checkpoint().save(state(3))
    make_checkpoint().save(state(5))
    loaded = make_checkpoint(record.model_copy(update={"attempt": 2})).load()
    assert loaded is not None
    assert same(loaded, state(5))
    assert store.leftovers() == {record.id: None}  # it is noted, and there is no such job


def test_a_checkpoint_of_another_video_is_passed_over(
    make_checkpoint: Callable[..., Checkpoint], record: JobRecord
) -> None:
    make_checkpoint().save(state())
    other = record.settings.model_copy(update={"seed": 8})
    assert make_checkpoint(record.model_copy(update={"settings": other})).load() is None


def test_what_cannot_be_read_costs_the_checkpoint_alone(
    make_checkpoint: Callable[..., Checkpoint], objects: ObjectStore, record: JobRecord
) -> None:
    objects.put(JobKeys(record.id).checkpoint, b"not safetensors", "application/octet-stream")
    assert make_checkpoint().load() is None


def test_storage_that_is_away_costs_the_checkpoint_alone(make_checkpoint: Callable[..., Checkpoint]) -> None:
    gone = ObjectStore.open(StorageSettings(url="s3://videos", endpoint=f"http://127.0.0.1:{free_ports(1)[0]}"))
    checkpoint = make_checkpoint(objects=gone)
    checkpoint.save(state())
    assert checkpoint.load() is None


class Storage(ObjectStore):
    """Notes when something is stored, which takes a while."""

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self.times.append(self.clock.now)
        self.clock.now += self.takes
        if self.takes > 5:
            raise StorageUnavailable("too slow")

    clock: Any
    takes: float
    times: list[float]


@pytest.mark.parametrize(
    ("takes", "times"),
    [
        (0.1, [10.0, 21.0, 32.0, 43.0]),  # every ten seconds
        (0.5, [10.0, 35.0]),  # 2 % of the time: once in 25 seconds
        (6.0, [10.0]),  # an outage is no reason to wait again and again
    ],
)
def test_saving_every_ten_seconds_unless_it_is_slow(
    takes: float,
    times: list[float],
    make_checkpoint: Callable[..., Checkpoint],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(checkpoint_module, "time", clock)
    storage = cast(Storage, Storage.open(StorageSettings(url="memory://")))
    storage.clock, storage.takes, storage.times = clock, takes, []
    checkpoint = make_checkpoint(objects=storage)
    for second in range(1, 50):  # a step each
        clock.now = max(clock.now, float(second))
        checkpoint.save_if_due(state())
    assert storage.times == times
