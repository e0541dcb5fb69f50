"""A prompt becomes an MP4 over REST: the real servers, services and workers, the model that ships."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image

from deploy.stack import LocalStack
from generator_service.client import Client
from generator_service.contract.job import JobStatus, JobView, Stage
from shared.errors import Conflict, InvalidRequest, NotFound
from shared.motion_graph import MotionLabel
from shared.plan import Plan

pytestmark = pytest.mark.timeout(300)  # the first test waits for the start of everything

PROMPT = "a red car drives to the right while a tree stands still"
SEED = 7
STEPS = 4
STEPS_TO_WATCH = 50
"""Enough for whoever looks four times a second to see the sampling."""
SHAPE = (9, 4 * 64, 4 * 96, 3)
"""Frames, rows, columns, channels of the file: a small video is enlarged by a whole factor."""


def frames_of(video: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """[frame, row, column, channel]"""
    with av.open(io.BytesIO(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def until(client: Client, job_id: str, true: Callable[[JobView], bool], seconds: float = 60.0) -> JobView:
    deadline = time.monotonic() + seconds
    while not true(job := client.get(job_id)):
        assert time.monotonic() < deadline, job
        assert not job.status.is_terminal, job
        time.sleep(0.05)
    return job


@pytest.fixture(scope="module")
def finished(client: Client) -> JobView:
    """A job that any of these tests may look at."""
    job = client.submit(prompt=PROMPT, seed=SEED, steps=STEPS, metadata={"order": "1"})
    job = client.wait(job.id)
    assert job.status is JobStatus.SUCCEEDED, job
    return job


@pytest.fixture(scope="module")
def video(http: httpx.Client, finished: JobView) -> bytes:
    redirect = http.get(f"/jobs/{finished.id}/content")
    assert redirect.status_code == 307
    return httpx.get(redirect.headers["location"]).raise_for_status().content


def test_the_plan_guided_the_video_and_the_report_says_how(http: httpx.Client, finished: JobView) -> None:
    report = finished.diagnostics.guidance
    assert report is not None
    assert {phase.instance for phase in report.phases} == {"car", "tree"}
    assert [region.instance for region in report.regions] == ["car", "tree", None]
    seen = finished.diagnostics.adherence
    assert seen is not None
    assert [(its.instance, its.drawn_as, len(its.boxes)) for its in seen] == [("car", "car", 9), ("tree", "tree", 9)]
    redirect = http.get(f"/jobs/{finished.id}/report")
    assert httpx.get(redirect.headers["location"]).json() | {"seconds": {}} == json.loads(
        finished.diagnostics.model_copy(update={"seconds": {}}).model_dump_json()
    )


def test_the_same_job_without_guidance_is_another_video(client: Client, http: httpx.Client, video: bytes) -> None:
    job = client.submit(prompt=PROMPT, seed=SEED, steps=STEPS, guidance="off")
    assert client.wait(job.id).diagnostics.guidance is None
    plain = httpx.get(http.get(f"/jobs/{job.id}/content").headers["location"]).content
    assert not np.array_equal(frames_of(plain), frames_of(video))


def test_the_stack_is_ready(http: httpx.Client) -> None:
    parts = http.get("/ready").raise_for_status().json()["parts"]
    assert sorted(parts) == ["plan_worker", "planner", "redis", "render_worker", "storage"]


def test_the_video_is_what_was_asked_for(video: bytes) -> None:
    with av.open(io.BytesIO(video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 8
    frames = frames_of(video)
    assert frames.shape == SHAPE
    assert frames.std() > 1.0  # not one flat colour


def test_the_job_tells_how_it_went(finished: JobView) -> None:
    assert (finished.progress, finished.step, finished.steps) == (1.0, STEPS, STEPS)
    assert finished.stage is None
    assert finished.worker is None
    assert finished.metadata == {"order": "1"}
    assert set(finished.diagnostics.seconds) >= {"planning", "sampling", "decoding"}


def test_the_plan_is_of_the_prompt(client: Client, http: httpx.Client, finished: JobView) -> None:
    plan = client.plan(finished.id)
    assert plan.prompt == PROMPT
    assert plan.frames == 9
    assert plan.provenance is not None
    assert plan.provenance.hash == plan.content_hash
    car, tree = plan.tracks
    labels = {node.id: node.label for node in plan.graph.instances}
    assert (labels[car.instance], labels[tree.instance]) == (MotionLabel.RIGID, MotionLabel.MOTIONLESS)
    assert car.boxes[-1].x0 > car.boxes[0].x0 + 0.1
    assert len(set(tree.boxes)) == 1
    assert finished.urls is not None
    assert finished.urls.plan is not None
    stored = Plan.model_validate_json(httpx.get(finished.urls.plan).raise_for_status().content)
    assert stored == plan


def test_the_preview_is_a_film_strip(http: httpx.Client, finished: JobView) -> None:
    answer = http.get(f"/jobs/{finished.id}/preview", follow_redirects=True).raise_for_status()
    assert answer.headers["content-type"] == "image/png"
    strip = Image.open(io.BytesIO(answer.content))
    assert strip.width > 3 * 96
    assert strip.height > 64


def test_the_manifest_says_how_to_make_it_again(client: Client, http: httpx.Client, finished: JobView) -> None:
    manifest = http.get(f"/jobs/{finished.id}/manifest", follow_redirects=True).raise_for_status().json()
    assert manifest["prompt"] == PROMPT
    assert manifest["plan_hash"] == client.plan(finished.id).content_hash
    assert manifest["settings"] == finished.settings.model_dump(mode="json")
    assert manifest["settings"]["seed"] == SEED
    assert manifest["weights_revision"].startswith("sha256:")
    assert manifest["device"].split()[0] in ("cpu", "cuda")


def test_events_tell_the_whole_story(client: Client, http: httpx.Client) -> None:
    job = client.submit(prompt=PROMPT, seed=SEED, steps=STEPS_TO_WATCH)
    seen: list[dict[str, Any]] = []
    with http.stream("GET", f"/jobs/{job.id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data:"):
                seen.append(json.loads(line.removeprefix("data:")))
    assert seen[-1]["status"] == "succeeded"  # and the stream ended by itself
    assert {event["id"] for event in seen} == {job.id}
    progress = [event["progress"] for event in seen]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    stages = list(dict.fromkeys(event["stage"] for event in seen if event["stage"] is not None))
    assert stages == [stage.value for stage in Stage if stage.value in stages]  # in the order of a job
    assert Stage.SAMPLING.value in stages


def test_a_plan_of_ones_own_is_not_planned_again_and_gives_the_same_video(
    client: Client, http: httpx.Client, finished: JobView, video: bytes
) -> None:
    plan = client.plan(finished.id)
    job = client.submit(plan=plan, seed=SEED, steps=STEPS)
    assert (job.status, job.stage) == (JobStatus.QUEUED, Stage.SAMPLING)
    job = client.wait(job.id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.planner is None
    assert "planning" not in job.diagnostics.seconds
    again = http.get(f"/jobs/{job.id}/content", follow_redirects=True).raise_for_status().content
    assert np.array_equal(frames_of(again), frames_of(video))


def test_another_seed_gives_another_video(client: Client, http: httpx.Client, finished: JobView, video: bytes) -> None:
    job = client.wait(client.submit(plan=client.plan(finished.id), seed=SEED + 1, steps=STEPS).id)
    other = http.get(f"/jobs/{job.id}/content", follow_redirects=True).raise_for_status().content
    assert not np.array_equal(frames_of(other), frames_of(video))


def test_the_best_of_several_candidates_is_the_result(client: Client, http: httpx.Client, finished: JobView) -> None:
    plan = client.plan(finished.id)
    job = client.wait(client.submit(plan=plan, seed=SEED, steps=STEPS, candidates=3).id)
    assert job.status is JobStatus.SUCCEEDED, job
    assert (job.step, job.steps) == (10, 10)  # three until they are judged, after two of four steps; two to the end
    reports = job.diagnostics.candidates
    assert [its.seed for its in reports] == [SEED, SEED + 1, SEED + 2]
    assert [its.score is None for its in reports].count(True) == 1
    (best,) = (its for its in reports if its.chosen)
    assert best.score == max(its.score for its in reports if its.score is not None)
    manifest = http.get(f"/jobs/{job.id}/manifest", follow_redirects=True).raise_for_status().json()
    assert (manifest["seed"], manifest["settings"]["candidates"]) == (best.seed, 3)
    alone = client.wait(client.submit(plan=plan, seed=best.seed, steps=STEPS).id)
    videos = [
        http.get(f"/jobs/{its.id}/content", follow_redirects=True).raise_for_status().content for its in (job, alone)
    ]
    assert np.array_equal(*(frames_of(video) for video in videos))


def test_a_running_job_can_be_canceled_and_frees_its_worker(client: Client, finished: JobView) -> None:
    plan = client.plan(finished.id)
    job = client.submit(plan=plan, steps=200)
    waiting = client.submit(plan=plan, seed=SEED, steps=1)
    until(client, job.id, lambda job: job.status is JobStatus.RUNNING and job.step >= 2)
    assert client.get(waiting.id).queue_position == 0
    with pytest.raises(Conflict):
        client.delete(job.id)
    assert client.cancel(job.id).status in (JobStatus.CANCELING, JobStatus.CANCELED)
    ended = client.wait(job.id, timeout=30)
    assert ended.status is JobStatus.CANCELED
    assert ended.step < 200
    with pytest.raises(Conflict):
        client.download(job.id, Path("never-written.mp4"))
    assert client.cancel(job.id) == ended  # once more does no harm
    assert client.wait(waiting.id, timeout=60).status is JobStatus.SUCCEEDED


def test_a_waiting_job_is_canceled_at_once(client: Client, finished: JobView) -> None:
    plan = client.plan(finished.id)
    running = client.submit(plan=plan, steps=200)
    waiting = client.submit(plan=plan, steps=200)
    assert client.cancel(waiting.id).status is JobStatus.CANCELED
    client.cancel(running.id)
    assert client.wait(running.id, timeout=30).status is JobStatus.CANCELED


def test_jobs_are_listed_the_newest_first(client: Client, finished: JobView) -> None:
    newer = client.wait(client.submit(plan=client.plan(finished.id), steps=1).id)
    page = client.jobs(status=JobStatus.SUCCEEDED, limit=1)
    assert [job.id for job in page.jobs] == [newer.id]
    listed = list(page.jobs)
    while page.next is not None:
        page = client.jobs(status=JobStatus.SUCCEEDED, after=page.next, limit=1)
        listed += page.jobs
    created = [job.created_at for job in listed]
    assert created == sorted(created, reverse=True)
    assert finished.id in [job.id for job in listed]


def test_a_deleted_job_is_gone_with_its_files(client: Client, finished: JobView) -> None:
    job = client.wait(client.submit(plan=client.plan(finished.id), steps=1).id)
    assert job.urls is not None
    assert httpx.get(job.urls.video).is_success
    client.delete(job.id)
    with pytest.raises(NotFound):
        client.get(job.id)
    deadline = time.monotonic() + 30
    while httpx.get(job.urls.video).status_code != 404:  # the cleanup deletes them within a few seconds
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_what_cannot_be_done_is_refused_before_it_is_a_job(client: Client) -> None:
    before = client.jobs(limit=1).jobs[0].id
    with pytest.raises(InvalidRequest, match="frames: emoji-world can do 9, not 10"):
        client.submit(prompt=PROMPT, frames=10)
    with pytest.raises(InvalidRequest, match="backbone: 'sora' is not known"):
        client.submit(prompt=PROMPT, backbone="sora")
    with pytest.raises(InvalidRequest, match="candidates: cogvideox-2b cannot choose among 2 videos"):
        client.submit(prompt=PROMPT, backbone="cogvideox-2b", candidates=2)
    assert client.jobs(limit=1).jobs[0].id == before


def test_the_command_line_fetches_everything(stack: LocalStack, tmp_path: Path) -> None:
    out = tmp_path / "car.mp4"
    command = [sys.executable, "-m", "generator_service", "submit", PROMPT, "--steps", str(STEPS_TO_WATCH)]
    result = subprocess.run(
        [*command, "--url", stack.addresses.api, "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    files = [Path(line) for line in result.stdout.split()]
    assert {file.suffix for file in files} == {".mp4", ".png", ".json"}
    assert all(file.stat().st_size > 0 for file in files)
    assert frames_of(out.read_bytes()).shape == SHAPE
    assert "sampling" in result.stderr
