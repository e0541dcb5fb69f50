"""The event stream, read by another implementation of server-sent events than the one that writes it."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from httpx_sse import connect_sse

from generator_service.api import events
from generator_service.contract.job import JobStatus, JobView, Stage
from generator_service.jobs.reading import Look
from shared.errors import Unavailable


def follow(api, job: str) -> Iterator[JobView]:
    with connect_sse(api.http, "GET", f"/jobs/{job}/events") as source:
        for event in source.iter_sse():
            assert event.event == "job"
            yield JobView.model_validate_json(event.data)


def test_every_change_is_told_in_order_and_the_end_ends_the_stream(api, plan):
    job = api.submit()
    stream = follow(api, job)
    store = api.parts.store

    def next_after(change) -> tuple[JobStatus, Stage | None, int]:
        change()
        seen = next(stream)
        assert seen.id == job
        return seen.status, seen.stage, seen.step

    queued, running = JobStatus.QUEUED, JobStatus.RUNNING
    assert next_after(lambda: None) == (queued, Stage.PLANNING, 0)
    assert next_after(lambda: api.start(job)) == (running, Stage.PLANNING, 0)
    assert next_after(lambda: store.hand_over(job, plan, worker="w1", progress=0.05, seconds=1.0)) == (
        queued,
        Stage.SAMPLING,
        0,
    )
    assert next_after(lambda: api.start(job)) == (running, Stage.SAMPLING, 0)
    for step in (1, 2):
        report = {"stage": Stage.SAMPLING, "progress": step / 25, "step": step}
        assert next_after(lambda r=report: store.report(job, worker="w1", **r)) == (running, Stage.SAMPLING, step)
    assert next_after(lambda: api.finish(job)) == (JobStatus.SUCCEEDED, None, 25)
    assert list(stream) == []


def test_an_ended_job_is_told_once(api):
    job = api.submit()
    api.parts.store.cancel(job)
    seen = list(follow(api, job))
    assert [view.status for view in seen] == [JobStatus.CANCELED]
    assert seen[0] == JobView.model_validate_json(api.http.get(f"/jobs/{job}").content)


def test_a_move_in_the_queue_is_a_change(api):
    first, second = api.submit(), api.submit()
    stream = follow(api, second)
    assert next(stream).queue_position == 1
    api.http.post(f"/jobs/{first}/cancel")
    assert next(stream).queue_position == 0


def test_the_stream_of_a_job_that_is_deleted_ends(api, monkeypatch):
    job = api.submit()
    stream = follow(api, job)
    next(stream)
    # Between two looks of the stream a job can end and be deleted; here it is gone without having ended.
    look = api.parts.reader.look
    monkeypatch.setattr(api.parts.reader, "look", lambda _: look("0" * 32))
    assert list(stream) == []


def test_silence_is_filled_with_comments(api, monkeypatch):
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.05)
    job = api.submit()
    with api.http.stream("GET", f"/jobs/{job}/events") as response:
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith(":")).startswith(": ping")


def test_a_prompt_of_many_kinds_of_line_breaks_stays_one_event(api):
    prompt = "a\u2028b\u0085c\x0bd\ne\rf"
    stream = follow(api, api.submit(prompt=prompt))
    assert next(stream).prompt == prompt


def test_a_client_that_goes_away_leaves_nothing_running(api):
    job = api.submit()
    running = api.server.server_state.tasks
    others = set(running)
    with httpx.stream("GET", f"{api.url}/jobs/{job}/events", trust_env=False) as response:
        lines = response.iter_lines()
        assert next(line for line in lines if not line.startswith("id:")) == "event: job"
        (mine,) = running - others
        assert not mine.done()
    deadline = time.monotonic() + 10
    while mine in running:
        assert time.monotonic() < deadline, "the stream goes on without its client"
        time.sleep(0.02)
    assert mine.done()


def test_an_owner_has_so_many_streams_and_no_more(serve, redis_url, problem, wait_until):
    with serve(redis_url=redis_url, owner_streams=2) as api:
        path = f"/jobs/{api.submit()}/events"
        with ExitStack() as streams:
            for _ in range(2):
                assert streams.enter_context(api.http.stream("GET", path)).status_code == 200
            answer = api.http.get(path)
            assert "2 event streams" in problem(answer, 429, "too_many_streams").detail
            assert int(answer.headers["retry-after"]) > 0

        def is_let_in() -> bool:
            with api.http.stream("GET", path) as response:
                return response.status_code == 200

        wait_until(is_let_in)
        api.http.get("/jobs/" + "0" * 32 + "/events")  # one that is refused takes no place
        wait_until(lambda: not api.server.config.app.state.streams._open)


def test_the_stream_outlives_an_outage_of_redis(api, monkeypatch):
    job = api.submit()
    stream = follow(api, job)
    next(stream)
    look, asked = api.parts.reader.look, threading.Event()

    async def silent(_: str) -> Look:
        asked.set()
        raise Unavailable("Redis does not answer")

    monkeypatch.setattr(api.parts.reader, "look", silent)
    assert asked.wait(10)
    monkeypatch.setattr(api.parts.reader, "look", look)
    api.parts.store.cancel(job)
    assert [view.status for view in stream] == [JobStatus.CANCELED]


@pytest.mark.parametrize("headers", [{}, {"Last-Event-ID": "7"}])
def test_the_stream_is_not_to_be_cached(api, headers):
    job = api.submit()
    api.parts.store.cancel(job)
    answer = api.http.get(f"/jobs/{job}/events", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"


def test_however_many_streams_follow_a_job_redis_is_asked_for_it_once(api, monkeypatch):
    job, other = api.submit(), api.submit()
    look = api.parts.reader.look
    asked: Counter[str] = Counter()

    async def count(job_id: str) -> Look:
        asked[job_id] += 1
        return await look(job_id)

    monkeypatch.setattr(api.parts.reader, "look", count)
    with ThreadPoolExecutor(7) as pool:
        streams = [pool.submit(lambda: [view.status for view in follow(api, job)]) for _ in range(6)]
        alone = pool.submit(lambda: list(follow(api, other)))
        while asked[other] < 6:
            time.sleep(0.02)
        assert asked[job] <= 2 * asked[other]  # as often as the one that is followed once, and not six times
        api.parts.store.cancel(other)
        api.parts.store.cancel(job)
        assert [stream.result(10)[-1] for stream in streams] == [JobStatus.CANCELED] * 6
        assert alone.result(10)
    assert api.parts.watcher._watches == {}
