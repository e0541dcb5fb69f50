"""From a queued job to a stored video, with rendering that costs nothing and storage that is real."""

import hashlib
import io
import json
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import redis
import torch
from PIL import Image

from deploy.servers import S3_ACCESS_KEY, S3_SECRET_KEY, S3Server
from generator_service.backbones.base import AnyBackbone, Setup
from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.report import Diagnostics
from generator_service.contract.request import RenderSettings
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.store import JobStore
from generator_service.media.first_frame import FirstFrame
from generator_service.media.manifest import Manifest
from generator_service.media.video import Encoding
from generator_service.rendering import OnStage, Rendered
from generator_service.sampling.state import OnStep, Progress, StepState
from generator_service.settings import StorageSettings
from generator_service.storage import JobKeys, ObjectStore, image_key
from generator_service.workers import render_worker
from generator_service.workers.loop import WorkerUnfit
from generator_service.workers.render_worker import RenderWorker, is_sick
from shared.errors import OutOfMemory, StorageUnavailable, Unavailable
from shared.plan import Plan

Submit = Callable[..., JobRecord]
MakeWorker = Callable[..., RenderWorker]


class FakeRender:
    """Steps and stages as `rendering.render` has them; calls `at` with each one's name before it is reported."""

    def __init__(self, at: Callable[[str], object] = lambda _: None) -> None:
        self.at = at
        self.done: list[str] = []
        self.image: FirstFrame | None = None

    def __call__(
        self,
        backbone: AnyBackbone,
        prompt: str,
        plan: Plan | None,
        settings: RenderSettings,
        *,
        image: FirstFrame | None,
        start: Progress | None,
        on_step: OnStep,
        on_stage: OnStage,
    ) -> Rendered:
        self.image = image
        self._do("sampling")
        on_stage(Stage.SAMPLING)
        for step in range(1 if start is None else start.step + 1, settings.steps + 1):
            self._do(f"step {step}")
            state = StepState(step, settings.steps, torch.zeros(2), None, torch.Generator().get_state())
            on_step(Progress((state,)))
        self._do("decoding")
        on_stage(Stage.DECODING)
        self._do("encoding")
        seconds = {"sampling": 1.0, "decoding": 0.5, "encoding": 0.25}
        manifest = Manifest(
            prompt=prompt,
            caption=prompt,
            plan_hash=None if plan is None else plan.content_hash,
            image_sha256=None if image is None else image.sha256,
            settings=settings,
            seed=settings.seed,
            weights_revision="sha256:0",
            device="cpu",
            dtype="float32",
            vae_tiling=False,
            encoding=Encoding(enlargement=1),
            seconds=seconds,
        )
        frames = np.zeros((settings.frames, settings.height, settings.width, 3), np.uint8)
        return Rendered(frames, b"mp4", b"png", manifest, Diagnostics(notes=("fake",), seconds=seconds))

    def _do(self, name: str) -> None:
        self.done.append(name)
        self.at(name)


@pytest.fixture
def s3_settings(s3: S3Server) -> StorageSettings:
    """A place of the test's own."""
    return StorageSettings.model_validate(
        {
            "url": f"s3://{s3.bucket}/{uuid.uuid4().hex}",
            "endpoint": s3.endpoint,
            "access_key": S3_ACCESS_KEY,
            "secret_key": S3_SECRET_KEY,
        }
    )


@pytest.fixture
def objects(s3_settings: StorageSettings) -> ObjectStore:
    return ObjectStore.open(s3_settings)


@pytest.fixture
def make_worker(store: JobStore, objects: ObjectStore, attempts: Any) -> MakeWorker:
    setup = Setup(weights_revision="sha256:0", device="cpu", dtype="float32", vae_tiling=False)
    backbone = cast(AnyBackbone, SimpleNamespace(setup=setup, initial_latents=lambda *_: torch.zeros(2)))

    def make(
        render: FakeRender,
        objects: ObjectStore = objects,
        checkpoint_seconds: float = 60.0,
        stopping: threading.Event | None = None,
    ) -> RenderWorker:
        return RenderWorker(
            store,
            objects,
            backbone,
            attempts(Stage.SAMPLING),
            checkpoint_seconds,
            stopping or threading.Event(),
            render,
        )

    return make


def stored(objects: ObjectStore, job: str) -> set[str]:
    return set(objects.keys(JobKeys(job).prefix))


# a whole job


def test_a_rendered_job_is_stored_on_s3(
    make_worker: MakeWorker, store: JobStore, objects: ObjectStore, submit: Submit, plan: Plan
) -> None:
    job = submit(Stage.SAMPLING).id
    make_worker(FakeRender()).take_turn()

    record = store.get(job)
    assert (record.status, record.stage, record.progress, record.step) == (JobStatus.SUCCEEDED, None, 1.0, 4)
    results = record.results
    assert results is not None
    assert objects.get(results.video) == b"mp4"
    assert objects.get(results.preview) == b"png"
    assert results.plan is not None
    assert Plan.model_validate_json(objects.get(results.plan)) == plan
    manifest = json.loads(objects.get(results.manifest))
    assert (manifest["plan_hash"], manifest["settings"]["seed"]) == (plan.content_hash, 7)
    assert record.diagnostics.notes == ("fake",)
    assert set(record.diagnostics.seconds) == {"sampling", "decoding", "encoding", "storing"}


def test_a_job_without_plan_stores_none(
    make_worker: MakeWorker, store: JobStore, objects: ObjectStore, submit: Submit, text_client: redis.Redis
) -> None:
    job = submit(Stage.SAMPLING).id
    text_client.delete(f"job:{job}:plan")
    make_worker(FakeRender()).take_turn()
    results = store.get(job).results
    assert results is not None
    assert results.plan is None
    assert stored(objects, job) == {results.video, results.preview, results.manifest, results.report}


def test_progress_rises_through_the_stages(make_worker: MakeWorker, store: JobStore, submit: Submit) -> None:
    job = submit(Stage.SAMPLING).id
    seen: list[tuple[str | None, float, int]] = []

    def look(_: str) -> None:
        record = store.get(job)
        seen.append((record.stage, round(record.progress, 6), record.step))

    make_worker(FakeRender(look)).take_turn()
    assert seen == [
        ("sampling", 0.0, 0),  # before anything was reported
        ("sampling", 0.05, 0),
        ("sampling", 0.2625, 1),
        ("sampling", 0.475, 2),
        ("sampling", 0.6875, 3),
        ("sampling", 0.9, 4),
        ("decoding", 0.9, 4),
    ]


# cancel


@pytest.mark.parametrize(
    ("moment", "last"),
    [
        ("sampling", "sampling"),
        ("step 1", "step 1"),
        ("step 3", "step 3"),
        ("decoding", "decoding"),
        ("encoding", "encoding"),
    ],
)
def test_a_wish_to_cancel_ends_the_work_at_the_next_callback(
    moment: str, last: str, make_worker: MakeWorker, store: JobStore, objects: ObjectStore, submit: Submit
) -> None:
    job = submit(Stage.SAMPLING).id
    render = FakeRender(lambda name: store.cancel(job) if name == moment else None)
    make_worker(render).take_turn()
    assert render.done[-1] == last
    record = store.get(job)
    assert (record.status, record.results, record.error) == (JobStatus.CANCELED, None, None)
    assert stored(objects, job) == set()


class Interrupted(ObjectStore):
    """Calls `when_stored` after each put."""

    when_stored: Callable[[str], object]

    def put(self, key: str, data: bytes, content_type: str) -> None:
        super().put(key, data, content_type)
        self.when_stored(key)


@pytest.fixture
def interrupted(s3_settings: StorageSettings) -> Interrupted:
    return cast(Interrupted, Interrupted.open(s3_settings))


@pytest.mark.parametrize("name", ["video", "preview", "manifest", "report", "plan"])
def test_a_job_canceled_while_it_is_stored_leaves_no_object(
    name: str, make_worker: MakeWorker, store: JobStore, interrupted: Interrupted, submit: Submit
) -> None:
    job = submit(Stage.SAMPLING).id
    moment = getattr(JobKeys(job), name)
    interrupted.when_stored = lambda key: store.cancel(job) if key == moment else None
    make_worker(FakeRender(), interrupted).take_turn()
    assert store.get(job).status is JobStatus.CANCELED
    assert stored(interrupted, job) == set()


def test_a_cancel_while_a_job_is_stored_wins_or_comes_too_late(
    make_worker: MakeWorker, store: JobStore, interrupted: Interrupted, submit: Submit
) -> None:
    """Two clients cancel, and cancel again, at any moment from the first object to after the last."""
    for delay in range(12):
        job = submit(Stage.SAMPLING).id
        keys = JobKeys(job)
        clients = [threading.Timer(0.001 * delay, lambda job=job: store.cancel(job)) for _ in range(2)]  # type: ignore[misc]
        interrupted.when_stored = lambda key, keys=keys, clients=clients: (  # type: ignore[misc]
            [client.start() for client in clients] if key == keys.video else None
        )
        make_worker(FakeRender(), interrupted).take_turn()
        for client in clients:
            client.join()
        record = store.get(job)
        kept = set() if record.results is None else set(record.results.model_dump().values())
        assert (record.status is JobStatus.SUCCEEDED) == bool(kept)
        assert record.status in (JobStatus.SUCCEEDED, JobStatus.CANCELED)
        assert stored(interrupted, job) == kept


def test_a_job_that_vanishes_ends_the_work_and_leaves_nothing(
    make_worker: MakeWorker, objects: ObjectStore, submit: Submit, text_client: redis.Redis
) -> None:
    job = submit(Stage.SAMPLING).id
    render = FakeRender(lambda name: text_client.flushall() if name == "step 2" else None)
    make_worker(render).take_turn()
    assert render.done[-1] == "step 2"
    assert stored(objects, job) == set()
    assert list(text_client.scan_iter("job*")) == []


def test_a_job_that_vanishes_at_the_very_end_leaves_nothing(
    make_worker: MakeWorker, interrupted: Interrupted, submit: Submit, text_client: redis.Redis
) -> None:
    job = submit(Stage.SAMPLING).id
    interrupted.when_stored = lambda key: text_client.flushall() if key.endswith("plan.json") else None
    make_worker(FakeRender(), interrupted).take_turn()
    assert stored(interrupted, job) == set()
    assert list(text_client.scan_iter("job*")) == []


# failures


def test_a_failed_job_does_not_disturb_the_next(make_worker: MakeWorker, store: JobStore, submit: Submit) -> None:
    def out_of_memory(name: str) -> None:
        if name == "step 2":
            raise OutOfMemory("CUDA out of memory")

    render = FakeRender(out_of_memory)
    worker = make_worker(render)
    failed = submit(Stage.SAMPLING).id
    worker.take_turn()
    error = store.get(failed).error
    assert error is not None
    assert error.code == "out_of_memory"

    render.at = lambda _: None
    job = submit(Stage.SAMPLING).id
    worker.take_turn()
    assert store.get(job).status is JobStatus.SUCCEEDED


# outages


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_worker, "STORAGE_PAUSE_SECONDS", 0.01)


class Failing(ObjectStore):
    """Takes nothing for as many puts as are told, calls `when_asked` at each, and gives nothing for as many reads."""

    failures = 10**9
    failed_reads = 0
    when_asked: Callable[[], object] = staticmethod(lambda: None)

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self.when_asked()
        if self.failures > 0:
            self.failures -= 1
            raise StorageUnavailable("the object storage does not answer as it should")
        super().put(key, data, content_type)

    def get(self, key: str) -> bytes:
        if self.failed_reads > 0:
            self.failed_reads -= 1
            raise StorageUnavailable("the object storage does not answer as it should")
        return super().get(key)


@pytest.fixture
def gone() -> Failing:
    return cast(Failing, Failing.open(StorageSettings(url="memory://")))


@pytest.mark.usefixtures("impatient")
def test_storage_that_is_gone_is_waited_for(
    make_worker: MakeWorker, store: JobStore, gone: Failing, submit: Submit
) -> None:
    job = submit(Stage.SAMPLING).id
    gone.failures = 3
    render = FakeRender()
    make_worker(render, gone).take_turn()
    record = store.get(job)
    assert (record.status, record.step, record.attempt) == (JobStatus.SUCCEEDED, 4, 1)
    assert render.done.count("encoding") == 1


@pytest.fixture
def png(photo: Image.Image) -> bytes:
    file = io.BytesIO()
    photo.save(file, "PNG")
    return file.getvalue()


@pytest.mark.usefixtures("impatient")
def test_the_image_that_it_begins_with_is_waited_for(
    make_worker: MakeWorker, store: JobStore, gone: Failing, submit: Submit, png: bytes, photo: Image.Image
) -> None:
    job = submit(Stage.SAMPLING, image="a" * 32, owner="ada").id
    gone.failures, gone.failed_reads = 0, 3
    gone.put(image_key("ada", "a" * 32), png, "image/png")
    render = FakeRender()
    make_worker(render, gone).take_turn()
    record = store.get(job)
    assert (record.status, record.attempt, gone.failed_reads) == (JobStatus.SUCCEEDED, 1, 0)
    assert render.image is not None
    assert render.image.picture.tobytes() == photo.tobytes()
    assert record.results is not None
    manifest = Manifest.model_validate_json(gone.get(record.results.manifest))
    assert manifest.image_sha256 == hashlib.sha256(png).hexdigest()


def test_a_job_whose_image_is_gone_fails(
    make_worker: MakeWorker, store: JobStore, objects: ObjectStore, submit: Submit
) -> None:
    job = submit(Stage.SAMPLING, image="a" * 32).id
    make_worker(FakeRender(), objects).take_turn()
    record = store.get(job)
    assert record.error is not None
    assert (record.status, record.error.code) == (JobStatus.FAILED, "rendering_failed")
    assert "no longer there" in record.error.message


@pytest.mark.usefixtures("impatient")
def test_storage_that_fails_half_way_gets_the_rest_later(
    make_worker: MakeWorker, store: JobStore, interrupted: Interrupted, submit: Submit
) -> None:
    full: list[str] = []

    def filling(key: str) -> None:
        if key.endswith("preview.png") and not full:
            full.append(key)
            raise StorageUnavailable("full")

    job = submit(Stage.SAMPLING).id
    interrupted.when_stored = filling
    make_worker(FakeRender(), interrupted).take_turn()
    results = store.get(job).results
    assert results is not None
    assert stored(interrupted, job) == set(results.model_dump().values())


def test_a_worker_that_is_to_stop_waits_for_storage_no_longer(
    make_worker: MakeWorker, store: JobStore, gone: Failing, submit: Submit
) -> None:
    job = submit(Stage.SAMPLING).id
    stopping = threading.Event()
    gone.when_asked = stopping.set
    make_worker(FakeRender(), gone, stopping=stopping).take_turn()
    assert (store.get(job).status, store.get(job).attempt) == (JobStatus.QUEUED, 1)


@pytest.mark.usefixtures("impatient")
def test_a_job_canceled_while_storage_is_gone_ends_and_leaves_nothing(
    make_worker: MakeWorker, store: JobStore, gone: Failing, submit: Submit
) -> None:
    job = submit(Stage.SAMPLING).id
    gone.when_asked = lambda: store.cancel(job)
    make_worker(FakeRender(), gone).take_turn()
    assert store.get(job).status is JobStatus.CANCELED
    assert gone.keys("jobs/") == ()


def test_redis_that_is_silent_at_the_end_is_waited_for(
    make_worker: MakeWorker, store: JobStore, gone: Failing, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed = JobStore.succeed
    calls: list[str] = []

    def late(self: JobStore, job_id: str, **arguments: Any) -> JobRecord:
        calls.append(job_id)
        if len(calls) < 4:
            raise Unavailable("Redis does not answer")
        return succeed(self, job_id, **arguments)

    monkeypatch.setattr(JobStore, "succeed", late)
    job = submit(Stage.SAMPLING).id
    puts: list[int] = []
    gone.failures = 0
    gone.when_asked = lambda: puts.append(1)
    make_worker(FakeRender(), gone).take_turn()
    assert store.get(job).status is JobStatus.SUCCEEDED
    assert (len(calls), len(puts)) == (4, 5)


def test_a_silent_redis_between_steps_is_no_reason_to_lose_the_video(
    make_worker: MakeWorker, store: JobStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = JobStore.report

    def flaky(self: JobStore, job_id: str, **arguments: Any) -> JobStatus:
        if arguments["step"] == 2:
            raise Unavailable("Redis does not answer")
        return report(self, job_id, **arguments)

    monkeypatch.setattr(JobStore, "report", flaky)
    job = submit(Stage.SAMPLING).id
    make_worker(FakeRender()).take_turn()
    assert store.get(job).status is JobStatus.SUCCEEDED


def test_a_silent_redis_at_the_end_keeps_the_objects_of_what_may_have_succeeded(
    make_worker: MakeWorker, store: JobStore, objects: ObjectStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed = JobStore.succeed

    def lost(self: JobStore, job_id: str, **arguments: Any) -> JobRecord:
        succeed(self, job_id, **arguments)
        raise Unavailable("Redis does not answer")

    monkeypatch.setattr(JobStore, "succeed", lost)
    job = submit(Stage.SAMPLING).id
    make_worker(FakeRender()).take_turn()
    record = store.get(job)
    assert record.status is JobStatus.SUCCEEDED
    assert record.results is not None
    assert objects.get(record.results.video) == b"mp4"


# stopping and going on


@pytest.mark.parametrize("moment", ["step 2", "step 4"])
def test_a_worker_that_is_to_stop_saves_the_step_and_releases_the_job(
    moment: str, make_worker: MakeWorker, store: JobStore, objects: ObjectStore, submit: Submit
) -> None:
    job = submit(Stage.SAMPLING).id
    stopping = threading.Event()
    first = FakeRender(lambda name: stopping.set() if name == moment else None)
    make_worker(first, stopping=stopping).take_turn()
    record = store.get(job)
    assert (record.status, record.stage, record.attempt) == (JobStatus.QUEUED, Stage.SAMPLING, 1)
    assert stored(objects, job) == {JobKeys(job).checkpoint}

    progress: list[float] = [record.progress]
    second = FakeRender(lambda _: progress.append(store.get(job).progress))
    make_worker(second).take_turn()
    record = store.get(job)
    assert (record.status, record.attempt, record.step) == (JobStatus.SUCCEEDED, 1, 4)
    steps = [name for name in (*first.done, *second.done) if name.startswith("step")]
    assert steps == ["step 1", "step 2", "step 3", "step 4"]  # none is lost, none is done twice
    assert progress == sorted(progress)


def test_the_end_of_a_resumed_job_is_expected_from_the_steps_done_since(
    make_worker: MakeWorker, store: JobStore, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of four steps are another's; the fourth, 0.2125 of the job, takes 17 s: so the last 0.1 of it take 8 s."""
    job = submit(Stage.SAMPLING).id
    stopping = threading.Event()
    make_worker(FakeRender(lambda name: stopping.set() if name == "step 3" else None), stopping=stopping).take_turn()
    moments = [datetime(2026, 3, 1, 12, tzinfo=UTC)]
    monkeypatch.setattr(render_worker, "datetime", SimpleNamespace(now=lambda _: moments[-1]))
    expected: dict[str, datetime | None] = {}

    def look(name: str) -> None:
        if name == "step 4":
            moments.append(moments[-1] + timedelta(seconds=17))
        expected[name] = store.get(job).expected_at

    make_worker(FakeRender(look)).take_turn()
    assert (expected["sampling"], expected["step 4"]) == (None, None)
    assert expected["decoding"] == datetime(2026, 3, 1, 12, 0, 17 + 8, tzinfo=UTC)
    assert store.get(job).expected_at is None


def test_a_worker_that_is_ended_in_a_step_saves_the_one_before(
    make_worker: MakeWorker, store: JobStore, submit: Submit
) -> None:
    def ended(name: str) -> None:
        if name == "step 3":
            raise SystemExit(143)

    job = submit(Stage.SAMPLING).id
    with pytest.raises(SystemExit):
        make_worker(FakeRender(ended)).take_turn()
    assert store.get(job).status is JobStatus.QUEUED
    render = FakeRender()
    make_worker(render).take_turn()
    assert render.done == ["sampling", "step 3", "step 4", "decoding", "encoding"]


def test_a_worker_that_is_to_stop_before_it_has_begun_has_nothing_to_save(
    make_worker: MakeWorker, store: JobStore, objects: ObjectStore, submit: Submit
) -> None:
    job = submit(Stage.SAMPLING).id
    stopping = threading.Event()
    stopping.set()
    render = FakeRender()
    make_worker(render, stopping=stopping).take_turn()
    assert render.done == ["sampling"]
    assert store.get(job).status is JobStatus.QUEUED
    assert stored(objects, job) == set()


def test_what_is_rendered_is_stored_before_the_worker_stops(
    make_worker: MakeWorker, store: JobStore, submit: Submit
) -> None:
    job = submit(Stage.SAMPLING).id
    stopping = threading.Event()
    render = FakeRender(lambda name: stopping.set() if name == "encoding" else None)
    make_worker(render, stopping=stopping).take_turn()
    assert store.get(job).status is JobStatus.SUCCEEDED


def test_a_worker_that_lost_its_job_touches_nothing_of_the_one_that_has_it(
    make_worker: MakeWorker, store: JobStore, interrupted: Interrupted, submit: Submit
) -> None:
    """It is taken for dead while it stores its video, and the next one is faster."""
    job = submit(Stage.SAMPLING).id
    theirs = JobKeys(job, attempt=2)
    results = Results(video=theirs.video, plan=None, preview="p", manifest="m", report="r")

    def overtaken(key: str) -> None:
        if key == JobKeys(job).manifest:
            store.reclaim(store.get(job), "dead", attempts=3, pause=timedelta(0))
            store.promote(job)
            store.start("render.emoji-world", worker="w2")
            ObjectStore.put(interrupted, theirs.video, b"theirs", "video/mp4")
            store.succeed(job, worker="w2", results=results, diagnostics=Diagnostics())

    interrupted.when_stored = overtaken
    make_worker(FakeRender(), interrupted).take_turn()
    assert store.get(job).results == results
    assert stored(interrupted, job) == {theirs.video}
    assert interrupted.get(theirs.video) == b"theirs"


def test_a_worker_that_lost_its_job_stops_at_the_next_step(
    make_worker: MakeWorker, store: JobStore, objects: ObjectStore, submit: Submit
) -> None:
    job = submit(Stage.SAMPLING).id

    def overtaken(name: str) -> None:
        if name == "step 2":
            store.reclaim(store.get(job), "dead", attempts=3, pause=timedelta(0))
            store.promote(job)
            store.start("render.emoji-world", worker="w2")

    render = FakeRender(overtaken)
    make_worker(render, checkpoint_seconds=0.0).take_turn()
    assert render.done[-1] == "step 2"
    assert (store.get(job).status, store.get(job).worker, store.get(job).step) == (JobStatus.RUNNING, "w2", 0)


def test_every_job_that_stores_something_is_noted(make_worker: MakeWorker, store: JobStore, submit: Submit) -> None:
    job = submit(Stage.SAMPLING).id
    make_worker(FakeRender()).take_turn()
    assert store.leftovers() == {job: 1}


# a sick device


def test_a_device_that_fails_every_call_makes_the_worker_unfit() -> None:
    healthy, sick = torch.device("cpu"), torch.device("cuda", 99)  # which fails every call, where there is none
    assert not is_sick(healthy, RuntimeError("shapes do not fit"))
    assert is_sick(healthy, MemoryError())
    assert is_sick(healthy, torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    assert is_sick(sick, RuntimeError("cuDNN error"))


@pytest.mark.parametrize("moment", ["step 2", "encoding"])
def test_a_job_of_a_worker_that_breaks_down_goes_on_elsewhere_from_its_checkpoint(
    moment: str, make_worker: MakeWorker, store: JobStore, submit: Submit
) -> None:
    def break_down(name: str) -> None:
        if name == moment:
            raise MemoryError

    job = submit(Stage.SAMPLING).id
    with pytest.raises(WorkerUnfit):
        make_worker(FakeRender(break_down), checkpoint_seconds=0.0).take_turn()
    assert (store.get(job).status, store.get(job).attempt) == (JobStatus.QUEUED, 2)
    JobStore(store._redis, now=lambda: datetime.now(UTC) + timedelta(minutes=1)).promote(job)
    render = FakeRender()
    make_worker(render).take_turn()
    assert store.get(job).status is JobStatus.SUCCEEDED
    assert "step 1" not in render.done
