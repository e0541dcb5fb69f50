"""Finished videos on disk: the same bytes come back, or nothing does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from generator_service.contract.report import Diagnostics
from generator_service.contract.request import RenderSettings
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.media.manifest import Manifest
from generator_service.media.video import Encoding
from generator_service.workers.spool import Spool, Spooled
from shared.errors import Unavailable

MakeJob = Callable[..., JobRecord]
JOB = "a" * 32


@pytest.fixture
def video(settings: RenderSettings) -> Spooled:
    manifest = Manifest(
        prompt="a red car",
        caption="a red car",
        plan_hash=None,
        settings=settings,
        weights_revision="sha256:0",
        device="cpu",
        dtype="float32",
        vae_tiling=False,
        encoding=Encoding(enlargement=1),
        seconds={"sampling": 1.5},
    )
    return Spooled(bytes(range(256)) * 9, b"png", manifest, Diagnostics(notes=("a note",), seconds={"sampling": 1.5}))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "new" / "spool")


def test_what_is_kept_comes_back(spool: Spool, video: Spooled, tmp_path: Path) -> None:
    assert spool.load(JOB, "f1") is None
    spool.keep(JOB, "f1", video)
    assert spool.load(JOB, "f1") == video
    assert (tmp_path / "new" / "spool").stat().st_mode & 0o777 == 0o700


def test_the_video_of_another_fingerprint_does_not(spool: Spool, video: Spooled) -> None:
    spool.keep(JOB, "f1", video)
    assert spool.load(JOB, "f2") is None
    spool.keep(JOB, "f2", video)
    assert spool.load(JOB, "f2") == video


@pytest.mark.parametrize("damage", ["empty", "half", "a bit", "other"])
def test_a_damaged_file_does_not(damage: str, spool: Spool, video: Spooled, tmp_path: Path) -> None:
    spool.keep(JOB, "f1", video)
    (path,) = (tmp_path / "new" / "spool").iterdir()
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[data.index(video.video) + 100] ^= 1
    path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "a bit": bytes(flipped), "other": b"PK"}[damage])
    assert spool.load(JOB, "f1") is None


def test_only_what_a_job_still_needs_stays(
    spool: Spool, video: Spooled, store: JobStore, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed, canceled = make_job(), make_job()
    for job in (needed, canceled):
        store.create(job, None)
    store.cancel(canceled.id)
    for job_id in (needed.id, canceled.id, JOB):
        spool.keep(job_id, "f1", video)
        (tmp_path / "new" / "spool" / f"{job_id}.0123.partial").touch()

    def silent(*_: object) -> None:
        raise Unavailable("Redis does not answer")

    with monkeypatch.context() as outage:
        outage.setattr(JobStore, "some", silent)
        spool.tidy_up(store)
    assert len(list((tmp_path / "new" / "spool").iterdir())) == 6
    spool.tidy_up(store)
    assert {path.name for path in (tmp_path / "new" / "spool").iterdir()} == {
        f"{needed.id}.zip",
        f"{needed.id}.0123.partial",
    }
