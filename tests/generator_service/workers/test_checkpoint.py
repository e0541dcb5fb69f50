"""What is saved comes back bit for bit, another video's is passed over, and saving costs next to nothing."""

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import safetensors.torch
import torch
from torch import Tensor

from deploy.servers import free_ports
from generator_service.backbones.base import AnyBackbone, Setup
from generator_service.contract.job import Stage
from generator_service.contract.report import GuidanceReport
from generator_service.contract.request import RenderSettings
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.sampling.state import Progress, StepState
from generator_service.settings import StorageSettings
from generator_service.storage import JobKeys, ObjectStore
from generator_service.workers import checkpoint as checkpoint_module
from generator_service.workers.checkpoint import Checkpoint, fingerprint, pack, unpack
from shared.errors import StorageUnavailable
from shared.plan import Plan

SETUP = Setup(weights_revision="sha256:0", device="cpu", dtype="float32", vae_tiling=False)
SHAPE = (1, 3, 4, 6, 2)
ABOUT = {"job": "a" * 32, "fingerprint": "0"}


class Noise:
    """All of a backbone that matters here."""

    setup = SETUP

    def initial_latents(self, settings: RenderSettings, generator: torch.Generator) -> Tensor:
        return torch.randn(*SHAPE, generator=generator)


BACKBONE = cast(AnyBackbone, Noise())


def state(step: int = 3, **changes: Any) -> StepState:
    generator = torch.Generator().manual_seed(7)
    latents = torch.randn(*SHAPE, generator=generator)
    own = StepState(
        step,
        steps=9,
        latents=latents.permute(0, 1, 2, 4, 3).contiguous().permute(0, 1, 2, 4, 3),  # not contiguous
        memory=latents.bfloat16(),
        generator=generator.get_state(),
        report=GuidanceReport(steps=2, video_tokens=24, regions=(), phases=()),
    )
    return replace(own, **changes)


FIRST = StepState(0, 9, torch.zeros(*SHAPE), None, torch.Generator().get_state())


def one(step: int = 3, **changes: Any) -> Progress:
    return Progress((state(step, **changes),))


def same(progress: Progress, other: Progress) -> bool:
    pairs = zip(progress.candidates, other.candidates, strict=True)
    return progress.scores == other.scores and all(same_state(*pair) for pair in pairs)


def same_state(one: StepState, other: StepState) -> bool:
    def equal(a: Tensor | None, b: Tensor | None) -> bool:
        if a is None or b is None:
            return a is b
        return a.dtype == b.dtype and torch.equal(a, b)

    tensors = ("latents", "memory", "generator")
    return (one.step, one.steps, one.report) == (other.step, other.steps, other.report) and all(
        equal(getattr(one, name), getattr(other, name)) for name in tensors
    )


# the file


@pytest.mark.parametrize(
    "changes",
    [{}, {"memory": None}, {"memory": torch.ones(3, *SHAPE)}, {"report": None}, {"step": 9}],
    ids=["all", "no memory", "a memory of three", "no report", "the last step"],
)
def test_what_is_packed_comes_back(changes: dict[str, Any]) -> None:
    saved = one(**changes)
    assert same(unpack(pack(saved, ABOUT), ABOUT, FIRST), saved)


def test_all_candidates_come_back() -> None:
    saved = Progress((state(3), state(9, memory=None), state(5, report=None)), (1.25, 0.1 + 0.2))
    assert same(unpack(pack(saved, ABOUT), ABOUT, FIRST, candidates=3), saved)
    with pytest.raises(ValueError, match="3 states"):
        unpack(pack(saved, ABOUT), ABOUT, FIRST, candidates=2)


def sealed(data: bytes) -> bytes:
    """With a hash that is right."""
    return hashlib.sha256(data).digest() + data


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


WHOLE = pack(one(), ABOUT)
NAN, INFINITE = torch.full(SHAPE, float("nan")), torch.full(SHAPE, float("inf"))
POISONED: dict[str, bytes] = {
    "nothing": b"",
    "zeros": b"\x00" * 40,
    "cut": WHOLE[:-1],
    "hash flipped": flipped(WHOLE, 3),
    "header flipped": flipped(WHOLE, 60),
    "latents flipped": flipped(WHOLE, len(WHOLE) - 40),
    "pickle": sealed(pickle.dumps({"latents": [1.0]})),
    "something else": sealed(safetensors.torch.save({"latents": torch.zeros(2)})),
    "no facts": sealed(safetensors.torch.save({"latents.0": FIRST.latents, "generator.0": FIRST.generator})),
    "facts that are none": sealed(
        safetensors.torch.save(
            {"latents.0": FIRST.latents, "generator.0": FIRST.generator, "facts": torch.tensor([91, 93]).byte()}
        )
    ),
    "step -3": pack(one(-3), ABOUT),
    "step 0": pack(one(0), ABOUT),
    "step 10 of 9": pack(one(10), ABOUT),
    "half a step": pack(one(cast(int, 2.5)), ABOUT),
    "NaN": pack(one(latents=NAN), ABOUT),
    "infinite memory": pack(one(memory=INFINITE), ABOUT),
    "latents of another shape": pack(one(latents=torch.zeros(1, 3, 6, 4, 2)), ABOUT),
    "latents of another type": pack(one(latents=torch.zeros(*SHAPE).half()), ABOUT),
    "memory of another shape": pack(one(memory=torch.zeros(2)), ABOUT),
    "memories of another shape": pack(one(memory=torch.zeros(3, 1, 3, 6, 4, 2)), ABOUT),
    "a generator that is none": pack(one(generator=torch.zeros(3)), ABOUT),
    "no state": pack(Progress(()), ABOUT),
    "a score too many": pack(Progress((state(),), (1.0, 1.0)), ABOUT),
    "a score that is none": pack(Progress((state(),), cast(Any, ("1",))), ABOUT),
    "another job's": pack(one(), ABOUT | {"job": "b" * 32}),
    "another video's": pack(one(), ABOUT | {"fingerprint": "1"}),
}


@pytest.mark.parametrize("poison", POISONED)
def test_anything_else_is_no_checkpoint(poison: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (every one of them says something else)
        unpack(POISONED[poison], ABOUT, FIRST)


def test_the_fingerprint_knows_all_that_decides_the_video(
    settings: RenderSettings, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = fingerprint("a car", plan, settings, SETUP)
    assert fingerprint("a car", plan, settings.model_copy(), replace(SETUP)) == same
    others = {
        fingerprint("a cat", plan, settings, SETUP),
        fingerprint("a car", None, settings, SETUP),
        fingerprint("a car", plan, settings, SETUP, "a" * 32),
        fingerprint("a car", plan.model_copy(update={"background": "a meadow"}), settings, SETUP),
        *(
            fingerprint("a car", plan, settings.model_copy(update={name: 8}), SETUP)
            for name in ("seed", "steps", "frames", "width", "guidance_scale", "candidates")
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
    assert len(others | {same}) == 16


# saving and loading


@pytest.fixture
def objects() -> ObjectStore:
    return ObjectStore.open(StorageSettings(url="memory://"))


@pytest.fixture
def record(make_job: Callable[..., JobRecord]) -> JobRecord:
    job = make_job(Stage.SAMPLING)
    return job.model_copy(update={"settings": job.settings.model_copy(update={"steps": 9})})


@pytest.fixture
def make_checkpoint(store: JobStore, objects: ObjectStore, record: JobRecord, plan: Plan) -> Callable[..., Checkpoint]:
    def make(record: JobRecord = record, objects: ObjectStore = objects, seconds: float = 10.0) -> Checkpoint:
        return Checkpoint(store, objects, BACKBONE, record, plan, seconds)

    return make


def test_a_later_attempt_finds_what_an_earlier_one_saved(
    make_checkpoint: Callable[..., Checkpoint], store: JobStore, record: JobRecord
) -> None:
    assert make_checkpoint().load() is None
    make_checkpoint().save(one(3))
    make_checkpoint().save(one(5))
    loaded = make_checkpoint(record.model_copy(update={"attempt": 2})).load()
    assert loaded is not None
    assert same(loaded, one(5))
    assert store.leftovers() == {record.id: None}  # it is noted, and there is no such job


def test_none_is_saved_where_guidance_needs_what_is_not_kept(
    make_checkpoint: Callable[..., Checkpoint], objects: ObjectStore
) -> None:
    make_checkpoint().save(one(is_resumable=False))
    assert objects.keys("jobs/") == ()


def test_a_checkpoint_of_another_video_is_passed_over(
    make_checkpoint: Callable[..., Checkpoint], record: JobRecord
) -> None:
    make_checkpoint().save(one())
    other = record.settings.model_copy(update={"seed": 8})
    assert make_checkpoint(record.model_copy(update={"settings": other})).load() is None


def test_what_cannot_be_read_costs_the_checkpoint_alone(
    make_checkpoint: Callable[..., Checkpoint], store: JobStore, objects: ObjectStore, record: JobRecord
) -> None:
    store.note_objects(record.id)
    objects.put(JobKeys(record.id).checkpoint, b"not safetensors", "application/octet-stream")
    assert make_checkpoint().load() is None


def test_storage_that_is_away_costs_the_checkpoint_alone(make_checkpoint: Callable[..., Checkpoint]) -> None:
    gone = ObjectStore.open(StorageSettings(url="s3://videos", endpoint=f"http://127.0.0.1:{free_ports(1)[0]}"))
    checkpoint = make_checkpoint(objects=gone)
    checkpoint.save(one())
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
        checkpoint.save_if_due(one())
    assert storage.times == times
