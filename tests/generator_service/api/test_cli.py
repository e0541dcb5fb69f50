"""The command line: in this process with its output caught, and as a process of its own where signals matter."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import pytest
from httpx_sse import connect_sse
from rich.console import Console
from typer.testing import CliRunner, Result

from deploy.servers import LOOPBACK, free_ports
from generator_service.__main__ import app
from generator_service.cli.progress import ProgressDisplay, describe, time_left
from generator_service.contract.backbones import BACKBONES
from generator_service.contract.job import JobStatus, JobView, Missing, Stage
from shared.errors import OutOfMemory

Run = Callable[..., Result]


@pytest.fixture
def run(api, monkeypatch) -> Run:
    monkeypatch.setenv("GENERATOR_URL", api.url)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def worker(api) -> Iterator[Callable[[Callable[[str], None]], None]]:
    """Have one job worked on by a thread, as soon as it is queued."""
    threads: list[threading.Thread] = []

    def employ(work: Callable[[str], None]) -> None:
        def wait_and_work() -> None:
            deadline = time.monotonic() + 20
            while not (jobs := api.parts.store.first_queued(1)):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            work(jobs[0])

        threads.append(threading.Thread(target=wait_and_work))
        threads[-1].start()

    yield employ
    for thread in threads:
        thread.join()


def test_help_lists_every_command(run):
    out = run("--help").output
    for command in (
        "serve",
        "plan-worker",
        "render-worker",
        "render",
        "submit",
        "status",
        "cancel",
        "jobs",
        "backbones",
    ):
        assert f"\n  {command} " in out


def test_submit_fetches_video_strip_and_plan_and_prints_their_paths(api, run, worker, plan, tmp_path):
    def work(job: str) -> None:
        api.start(job)
        api.parts.store.hand_over(job, plan, worker="w1", progress=0.05, seconds=0.1)
        api.start(job)
        api.finish(job, notes=("'lorry' is drawn as 'car'",))

    worker(work)
    video = tmp_path / "out" / "my video.mp4"
    result = run("submit", "a red lorry", "--seed", "7", "--steps", "30", "--priority", "low", "--out", str(video))

    assert result.exit_code == 0, result.output
    stem = tmp_path / "out" / "my video"
    assert result.stdout.splitlines() == [f"{stem}.mp4", f"{stem}.preview.png", f"{stem}.plan.json"]
    assert video.read_bytes()[4:8] == b"ftyp"
    assert json.loads((tmp_path / "out" / "my video.plan.json").read_text())["prompt"] == plan.prompt
    assert [job.priority for job in api.parts.store.list(limit=5).jobs] == ["low"]
    lines = result.stderr.splitlines()
    assert "seed 7" in lines[0]
    assert "'lorry' is drawn as 'car'" in lines
    assert lines[-2].startswith("succeeded")
    assert "\x1b" not in result.output


def test_submit_with_a_plan_and_json(api, run, worker, plan, tmp_path):
    def work(job: str) -> None:
        api.start(job)
        api.finish(job)

    worker(work)
    file = tmp_path / "plan.json"
    file.write_text(plan.model_dump_json())
    result = run("submit", "--plan", str(file), "--out", str(tmp_path / "v.mp4"), "--json")

    assert result.exit_code == 0, result.output
    job = JobView.model_validate_json(result.stdout)
    assert (job.status, job.prompt) == (JobStatus.SUCCEEDED, plan.prompt)
    assert sorted(path.name for path in tmp_path.glob("v.*")) == ["v.mp4", "v.plan.json", "v.preview.png"]


def test_a_failed_job_is_exit_code_1_with_its_message(api, run, worker, tmp_path):
    def work(job: str) -> None:
        api.start(job)
        api.parts.store.fail(job, OutOfMemory("needs 3 GiB more"), worker="w1")

    worker(work)
    result = run("submit", "a red car", "--out", str(tmp_path / "v.mp4"))

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == "failed: needs 3 GiB more"
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["submit", "a red car", "--frames", "10"], "frames: emoji-world can do 9, not 10"),
        (["submit", "a red car", "--backbone", "sora"], "'sora' is not known"),
        (["submit", ""], "prompt: String should have at least 1 character"),
        (["submit"], "give either a prompt or a plan"),
        (["status", "0" * 32], "there is no job"),
        (["cancel", "1"], "job_id: String should match"),
    ],
)
def test_refusals_are_told_in_one_line(run, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_plan_that_is_none_is_told(run, tmp_path):
    file = tmp_path / "plan.json"
    file.write_text('{"prompt": "a"}')
    result = run("submit", "--plan", str(file))
    assert result.exit_code == 1
    assert "graph: Field required" in result.stderr


def test_an_api_that_is_not_there_is_told(run):
    result = run("jobs", "--url", f"http://{LOOPBACK}:{free_ports(1)[0]}")
    assert result.exit_code == 1
    assert "does not answer" in result.stderr


def test_status_and_cancel(api, run):
    job = api.submit()
    assert run("status", job).stdout == "waiting for a plan  0%\n"
    assert run("cancel", job).stdout == "canceled\n"
    assert run("status", job).stdout == "canceled  0%\n"
    assert json.loads(run("status", job, "--json").stdout)["id"] == job


def test_status_of_a_job_that_has_its_video(api, run):
    job = api.submit()
    api.start(job)
    api.finish(job, notes=("'puppy' is drawn as 'sheep'",))
    lines = run("status", job).stdout.splitlines()
    assert lines == ["succeeded  100%", "'puppy' is drawn as 'sheep'", f"{api.url}/jobs/{job}/content"]


def test_jobs_and_backbones_are_lines_of_columns_when_piped(api, run):
    job = api.submit(prompt="a [red] car\nand a tree")
    api.beat("render", "emoji-world")

    header, line = run("jobs").stdout.splitlines()
    assert header.split("\t") == ["id", "state", "done", "created (UTC)", "prompt"]
    assert line.split("\t")[0::4] == [job, "a [red] car and a tree"]
    assert run("jobs", "--status", "failed").stdout.splitlines() == [header]
    assert json.loads(run("jobs", "--json").stdout)["id"] == job

    _, *lines = run("backbones").stdout.splitlines()
    found = [line.split("\t")[:2] for line in lines]
    assert found == [[name, "1" if name == "emoji-world" else "0"] for name in BACKBONES]


def test_ctrl_c_cancels_the_job_after_saying_so(api, tmp_path):
    command = [sys.executable, "-m", "generator_service", "submit", "a red car", "--url", api.url]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and so would all its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        assert running.stderr is not None
        job = running.stderr.readline().split()[1].rstrip(",")
        assert running.stderr.readline().startswith("waiting for a plan")  # so it follows the job
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=20)
    assert running.returncode == 130
    assert told.splitlines()[-1] == f"canceling job {job}"
    assert api.parts.store.get(job).status is JobStatus.CANCELED


def test_serve_answers_and_ends_on_sigterm_though_a_client_listens(redis_url, tmp_path):
    port = free_ports(1)[0]
    storage = {"GENERATOR_REDIS_URL": redis_url, "GENERATOR_STORAGE_URL": f"file://{tmp_path}/objects"}
    command = [sys.executable, "-m", "generator_service", "serve", "--port", str(port)]
    environment = os.environ | storage
    with (
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running,
        httpx.Client(base_url=f"http://{LOOPBACK}:{port}", trust_env=False) as http,
    ):
        assert running.stderr is not None
        assert any("Uvicorn running" in line for line in running.stderr)
        job = http.post("/jobs", json={"prompt": "a red car"}).json()["id"]
        with connect_sse(http, "GET", f"/jobs/{job}/events") as source:
            stream = source.iter_sse()
            next(stream)
            running.terminate()
            assert list(stream) == []
        _, told = running.communicate(timeout=10)
    assert running.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("variable", "value"),
    [("GENERATOR_PORT", "eighty"), ("GENERATOR_STORAGE_URL_SECONDS", "0"), ("GENERATOR_RENDER_DTYPE", "int8")],
)
def test_settings_that_make_no_sense_are_named(run, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    result = run("serve")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{variable}: Input should be")


def view(api, **changes: object) -> JobView:
    job = JobView.model_validate_json(api.http.get(f"/jobs/{api.submit()}").content)
    return job.model_copy(update=changes)


def test_what_is_told_of_each_state(api):
    sampling = {"status": JobStatus.RUNNING, "stage": Stage.SAMPLING, "step": 3, "seconds_left": 12.4}
    assert describe(view(api, queue_position=2)) == "waiting for a plan, 2 before it"
    assert describe(view(api, stage=Stage.SAMPLING, queue_position=0)) == "waiting for rendering"
    since = datetime(2026, 3, 1, tzinfo=UTC)
    gone = Missing(code="language_model_unavailable", message="no vLLM", since=since, seconds=1.0)
    assert describe(view(api, waiting_for=gone, retry_at=since)) == "waiting until it can be tried again: no vLLM"
    assert describe(view(api, waiting_for=gone, queue_position=2)) == "waiting for a plan, 2 before it"
    assert describe(view(api, **sampling)) == "sampling, step 3 of 25"
    assert describe(view(api, status=JobStatus.RUNNING, stage=Stage.STORING)) == "storing"
    assert describe(view(api, status=JobStatus.CANCELING, stage=Stage.SAMPLING)) == "canceling"
    assert time_left(view(api, **sampling)) == "about 12 s left"
    assert time_left(view(api, seconds_left=125.0)) == "about 2 min 05 s left"
    assert time_left(view(api)) == ""


def test_a_log_gets_a_line_for_each_stage_and_each_tenth(api):
    console = Console(width=100, force_terminal=False, record=True, file=io.StringIO())
    job = view(api)
    with ProgressDisplay(console) as show:
        show(job)
        for step in range(26):
            running = {"status": JobStatus.RUNNING, "stage": Stage.SAMPLING, "step": step, "progress": step / 100}
            show(job.model_copy(update=running))
    assert console.export_text().splitlines() == [
        "waiting for a plan · 0%",
        "sampling, step 0 of 25 · 0%",
        "sampling, step 10 of 25 · 10%",
        "sampling, step 20 of 25 · 20%",
    ]


def test_a_terminal_gets_a_bar(api):
    console = Console(width=100, force_terminal=True, record=True, file=io.StringIO())
    job = view(api, status=JobStatus.RUNNING, stage=Stage.SAMPLING, step=3, progress=0.5, seconds_left=9.0)
    with ProgressDisplay(console) as show:
        show(job)
    text = console.export_text()
    assert "sampling, step 3 of 25" in text
    assert "about 9 s left" in text
    assert "━" in text
