"""The client against a live API."""

import inspect
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import httpx
import pytest

import shared.errors
from deploy.servers import LOOPBACK, free_ports
from generator_service import client as client_module
from generator_service.client import ERRORS, Client
from generator_service.contract.backbones import BACKBONES
from generator_service.contract.job import JobStatus, JobView, Stage
from generator_service.contract.request import JobRequest
from shared.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    OutOfMemory,
    ServiceError,
    StorageUnavailable,
    Unavailable,
)


@pytest.fixture
def client(api) -> Iterator[Client]:
    with Client(api.url) as client:
        yield client


def test_submit_takes_fields_or_a_request(client, plan):
    assert client.submit(prompt="a red car", seed=7).settings.seed == 7
    assert client.submit(JobRequest(plan=plan)).prompt == plan.prompt
    with pytest.raises(TypeError):
        client.submit(JobRequest(plan=plan), seed=7)


def test_get_jobs_and_cancel(client):
    jobs = [client.submit(prompt=f"car {n}") for n in range(3)]
    assert client.get(jobs[0].id).prompt == "car 0"
    assert client.cancel(jobs[1].id).status is JobStatus.CANCELED
    page = client.jobs(status=JobStatus.QUEUED, limit=1)
    assert [job.id for job in page.jobs] == [jobs[2].id]
    assert [job.id for job in client.jobs(status=JobStatus.QUEUED, after=page.next).jobs] == [jobs[0].id]


def test_a_failed_job_is_a_value(api, client):
    job = client.submit(prompt="a red car")
    api.start(job.id)
    api.parts.store.fail(job.id, OutOfMemory("needs 3 GiB more"), worker="w1")
    for seen in (client.get(job.id), client.wait(job.id)):
        assert seen.status is JobStatus.FAILED
        assert (seen.error.code, seen.error.message) == ("out_of_memory", "needs 3 GiB more")


def drive(api) -> tuple[list[JobView], object]:
    """A progress callback that works on the job as it sees it: every change is caused by the one before."""
    seen: list[JobView] = []

    def on_progress(job: JobView) -> None:
        seen.append(job)
        if job.status is JobStatus.QUEUED:
            api.start(job.id)
        elif job.status is JobStatus.RUNNING and job.step < 3:
            step = job.step + 1
            api.parts.store.report(job.id, worker="w1", stage=Stage.SAMPLING, progress=step / 4, step=step)
        elif job.status is JobStatus.RUNNING:
            api.finish(job.id)

    return seen, on_progress


EXPECTED = [("queued", 0), ("running", 0), ("running", 1), ("running", 2), ("running", 3), ("succeeded", 25)]


def test_wait_follows_the_events(api, client):
    seen, on_progress = drive(api)
    job = client.wait(client.submit(prompt="a red car").id, on_progress)
    assert [(view.status, view.step) for view in seen] == EXPECTED
    assert job == seen[-1]


def test_wait_asks_where_the_stream_does_not_work(api, client, monkeypatch):
    def broken(*_) -> Iterator[JobView]:
        raise Unavailable("a proxy in between")
        yield

    monkeypatch.setattr(client, "_events", broken)
    monkeypatch.setattr(client_module, "POLL_SECONDS", 0.0)
    seen, on_progress = drive(api)
    job = client.wait(client.submit(prompt="a red car").id, on_progress)
    assert [(view.status, view.step) for view in seen] == EXPECTED
    assert job.status is JobStatus.SUCCEEDED


def test_wait_goes_on_by_asking_when_the_stream_breaks_off(api, client, monkeypatch):
    events = client._events

    def breaking(*arguments) -> Iterator[JobView]:
        stream = events(*arguments)
        yield next(stream)
        raise Unavailable("the API restarts")

    monkeypatch.setattr(client, "_events", breaking)
    monkeypatch.setattr(client_module, "POLL_SECONDS", 0.0)
    seen, on_progress = drive(api)
    client.wait(client.submit(prompt="a red car").id, on_progress)
    assert [(view.status, view.step) for view in seen] == EXPECTED


def test_wait_outlives_a_short_outage_and_gives_up_on_a_long_one(api, client, monkeypatch):
    job = client.submit(prompt="a red car")
    get, outages = client.get, iter([Unavailable("restarting"), Unavailable("restarting")])

    def failing_twice(job_id: str) -> JobView:
        for outage in outages:
            raise outage
        api.parts.store.cancel(job_id)
        return get(job_id)

    def nothing(*_) -> Iterator[JobView]:
        yield from ()

    monkeypatch.setattr(client, "_events", nothing)
    monkeypatch.setattr(client, "get", failing_twice)
    monkeypatch.setattr(client_module, "POLL_SECONDS", 0.0)
    assert client.wait(job.id).status is JobStatus.CANCELED

    outages = iter([Unavailable("gone")] * 3)
    monkeypatch.setattr(client_module, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(Unavailable, match="gone"):
        client.wait(job.id)


def test_wait_times_out_and_leaves_the_job_alone(api, client):
    job = client.submit(prompt="a red car")
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=r"not ended within 0\.3 s"):
        client.wait(job.id, timeout=0.3)
    assert time.monotonic() - begin < 3
    assert client.get(job.id).status is JobStatus.QUEUED


def test_wait_for_an_unknown_job(client):
    with pytest.raises(NotFound):
        client.wait("0" * 32)


def test_download_brings_the_bytes_and_replaces_whole(api, client, tmp_path):
    job = client.submit(prompt="a red car")
    video = tmp_path / "new" / "car.mp4"
    with pytest.raises(Conflict, match="queued"):
        client.download(job.id, video)
    assert list(video.parent.iterdir()) == []

    api.start(job.id)
    api.finish(job.id)
    client.download(job.id, str(video))
    client.download_preview(job.id, str(tmp_path / "strip.png"))

    assert video.read_bytes()[4:12] == b"ftypmp42"
    assert video.stat().st_size == 100_012
    assert (tmp_path / "strip.png").read_bytes() == b"\x89PNG strip"
    assert [path.name for path in video.parent.iterdir()] == ["car.mp4"]


def test_a_download_that_breaks_off_leaves_what_was_there(api, client, tmp_path, monkeypatch):
    job = client.submit(prompt="a red car")
    api.start(job.id)
    api.finish(job.id)
    video = tmp_path / "car.mp4"
    video.write_bytes(b"the old one")

    def breaking(response: httpx.Response) -> Iterator[bytes]:
        yield b"half"
        raise httpx.ReadError("connection reset", request=response.request)

    monkeypatch.setattr(httpx.Response, "iter_bytes", breaking)
    with pytest.raises(Unavailable, match="connection reset"):
        client.download(job.id, video)
    assert video.read_bytes() == b"the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["car.mp4"]


def test_plan_and_delete(api, client, plan):
    job = client.submit(plan=plan)
    assert client.plan(job.id) == plan
    with pytest.raises(Conflict, match="cancel it first"):
        client.delete(job.id)
    client.cancel(job.id)
    client.delete(job.id)
    with pytest.raises(NotFound):
        client.get(job.id)


def test_backbones(api, client):
    api.beat("render", "cogvideox-2b")
    workers = {view.spec.name: view.workers for view in client.backbones()}
    assert workers == {name: int(name == "cogvideox-2b") for name in BACKBONES}


def test_refusals_arrive_as_they_were_raised(client):
    with pytest.raises(InvalidRequest, match="9, not 10") as refusal:
        client.submit(prompt="a red car", frames=10)
    assert [violation.field for violation in refusal.value.violations] == ["frames"]
    with pytest.raises(InvalidRequest, match="at most 2000"):
        client.submit(prompt="a" * 2001)


def test_every_error_of_the_tree_has_its_code_in_the_table():
    classes = [c for _, c in inspect.getmembers(shared.errors, inspect.isclass) if issubclass(c, ServiceError)]
    assert len(classes) > 10
    assert sorted(ERRORS.values(), key=str) == sorted(classes, key=str)
    for error in classes:
        assert ERRORS[error.code] is error


def answering(status: int, body: bytes) -> type[BaseHTTPRequestHandler]:
    """One answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, StorageUnavailable("gone").problem.model_dump_json().encode(), StorageUnavailable),
        (
            507,
            b'{"title":"T","status":507,"detail":"D","code":"from_tomorrow","retryable":false,"new":1}',
            ServiceError,
        ),
        (502, b"<html>Bad Gateway</html>", Unavailable),
        (403, b"<?xml version='1.0'?><Error/>", ServiceError),
        (404, b"", ServiceError),
    ],
)
def test_strange_answers_are_errors_of_ours(status, body, error, served):
    with served(answering(status, body)) as url, Client(url) as client:
        with pytest.raises(ServiceError) as raised:
            client.get("0" * 32)
        assert type(raised.value) is error


def test_and_so_are_strange_events(served):
    body = b'data: {"status": "of a newer version"}\n\n'
    strange = pytest.raises(ServiceError, match="is no JobView")
    with served(answering(200, body)) as url, Client(url) as client, strange:
        client.wait("0" * 32)


def test_what_a_newer_api_adds_is_passed_over(api, served):
    job = api.http.get(f"/jobs/{api.submit()}").json()
    job["gpu_hours"] = 3
    job["diagnostics"]["mood"] = "good"
    body = httpx.Request("POST", "http://x", json=job).content
    with served(answering(200, body)) as url, Client(url) as client:
        assert client.get(job["id"]).id == job["id"]


def test_an_api_that_is_not_there_is_unavailable():
    url = f"http://{LOOPBACK}:{free_ports(1)[0]}"
    with Client(url) as client, pytest.raises(Unavailable, match=url):
        client.get("0" * 32)
