"""What `make demo` does once everything is up."""

from pathlib import Path

import pytest

from deploy.demo import make_video, request_for
from deploy.stack import LocalStack
from generator_service.contract.job import JobStatus, JobView
from shared.plan import Plan

pytestmark = pytest.mark.timeout(300)  # the first test waits for the start of everything


def test_a_demonstration_leaves_video_plan_and_preview(stack: LocalStack, tmp_path: Path) -> None:
    seen: list[JobView] = []
    job, files = make_video(stack, request_for("A sheep is dancing!", seed=3), tmp_path, seen.append)
    assert job.status is JobStatus.SUCCEEDED
    assert files is not None
    assert files.video == tmp_path / "a-sheep-is-dancing" / "video.mp4"
    assert files.video.read_bytes()[4:8] == b"ftyp"
    assert files.preview.read_bytes().startswith(b"\x89PNG")
    assert Plan.model_validate_json(files.plan.read_text()).prompt == "A sheep is dancing!"
    assert seen[0].status is JobStatus.QUEUED
    assert seen[-1].status is JobStatus.SUCCEEDED
    assert [job.progress for job in seen] == sorted(job.progress for job in seen)


def test_a_job_that_fails_leaves_nothing(stack: LocalStack, tmp_path: Path) -> None:
    job, files = make_video(stack, request_for("beautiful amazing masterpiece", seed=3), tmp_path, lambda _: None)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code == "nothing_to_draw"
    assert files is None
    assert not list(tmp_path.iterdir())
