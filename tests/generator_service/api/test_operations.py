"""Health, readiness, metrics, the catalogue, and what the API imports."""

import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx
import jsonschema
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.servers import LOOPBACK, free_ports
from generator_service.api.views import seconds_left
from generator_service.contract.answers import BackboneList
from generator_service.contract.backbones import BACKBONES
from generator_service.contract.job import Stage
from generator_service.settings import StorageSettings
from generator_service.storage import JobKeys
from shared.plan import Plan


def nobody() -> str:
    """An address where nothing listens."""
    return f"{LOOPBACK}:{free_ports(1)[0]}"


def missing(found) -> set[str]:
    return {violation.field for violation in found.violations}


def test_health_needs_nothing(serve, tmp_path):
    with serve(redis_url=f"redis://{nobody()}/0", planner_url=f"http://{nobody()}") as api:
        assert api.http.get("/health").json() == {"status": "ok"}


def test_ready_once_both_kinds_of_workers_are_heard(api, problem):
    found = problem(api.http.get("/ready"), 503, "unavailable")
    assert missing(found) == {"plan_worker", "render_worker"}
    assert "no render worker is alive" in found.detail

    api.beat("plan")
    assert missing(problem(api.http.get("/ready"), 503, "unavailable")) == {"render_worker"}

    api.beat("render", "emoji-world")
    answer = api.http.get("/ready")
    assert answer.status_code == 200
    assert answer.json()["parts"] == ["redis", "storage", "planner", "plan_worker", "render_worker"]
    assert answer.json()["backbones"] == ["emoji-world"]


def test_readiness_names_what_is_missing(serve, redis_url, problem, tmp_path):
    folder = tmp_path / "objects"
    storage = StorageSettings(url=f"file://{folder}")
    with serve(redis_url=redis_url, planner_url=f"http://{nobody()}", storage=storage) as api:
        api.beat("plan")
        api.beat("render", "emoji-world")
        assert missing(problem(api.http.get("/ready"), 503, "unavailable")) == {"planner"}
        folder.rmdir()
        answer = api.http.get("/ready")
        assert missing(problem(answer, 503, "unavailable")) == {"planner", "storage"}
        assert int(answer.headers["retry-after"]) > 0


def test_a_planner_that_is_alive_but_not_ready_is_missing(serve, redis_url, problem):
    with serve(redis_url=redis_url) as api:
        api.planner.ready = False
        assert "planner" in missing(problem(api.http.get("/ready"), 503, "unavailable"))


def test_many_probes_cost_the_planner_one_answer(serve, redis_url):
    with serve(redis_url=redis_url) as api:
        for _ in range(3):
            api.http.get("/ready")
        assert api.planner.asked == 1


def test_a_planner_that_hangs_is_asked_once_and_keeps_no_other_request_waiting(serve, redis_url):
    """A hundred who ask whether it is ready would hold the forty threads that all others share."""
    with socket.create_server((LOOPBACK, 0)) as silent:  # takes connections and never answers
        url = f"http://{LOOPBACK}:{silent.getsockname()[1]}"
        with (
            serve(redis_url=redis_url, planner_url=url) as api,
            httpx.Client(base_url=api.url, limits=httpx.Limits(), timeout=30, trust_env=False) as client,
            ThreadPoolExecutor(100) as pool,
        ):
            probes = [pool.submit(client.get, "/ready") for _ in range(100)]
            time.sleep(1)
            assert api.http.get("/jobs", timeout=5).status_code == 200
            assert not any(probe.done() for probe in probes)
            silent.setblocking(False)
            connections = []
            with suppress(BlockingIOError):
                while True:
                    connections.append(silent.accept()[0])
            assert len(connections) == 1
            connections[0].close()
            assert {probe.result().status_code for probe in probes} == {503}


def test_no_proxy_stands_between_our_own_parts(serve, redis_url, problem, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://{nobody()}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serve(redis_url=redis_url) as api:
        assert "planner" not in missing(problem(api.http.get("/ready"), 503, "unavailable"))


def test_readiness_gives_up_a_redis_that_hangs(serve, problem):
    with socket.create_server((LOOPBACK, 0)) as silent:  # takes connections and never answers
        with serve(redis_url=f"redis://{LOOPBACK}:{silent.getsockname()[1]}/0") as api:
            begin = time.monotonic()
            found = problem(api.http.get("/ready"), 503, "unavailable")
            assert time.monotonic() - begin < 8
        assert "redis" in missing(found)


def test_readiness_without_redis(serve, problem):
    with serve(redis_url=f"redis://{nobody()}/0") as api:
        found = problem(api.http.get("/ready"), 503, "unavailable")
        assert missing(found) == {"redis", "plan_worker", "render_worker"}


def metrics(api) -> dict[tuple[str, ...], float]:
    """(name, *sorted label values) -> value."""
    families = text_string_to_metric_families(api.http.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value for sample in samples}


def test_metrics_count_requests_by_route(serve, redis_url):
    with serve(redis_url=redis_url) as api:
        jobs = [api.submit() for _ in range(2)]
        for job in jobs:
            api.http.get(f"/jobs/{job}")
        api.http.get("/wp-login.php")
        api.http.post("/jobs", json={})
        found = metrics(api)

    assert found["generator_http_requests_total", "POST", "/jobs", "202"] == 2
    assert found["generator_http_requests_total", "POST", "/jobs", "422"] == 1
    assert found["generator_http_requests_total", "GET", "/jobs/{job_id}", "200"] == 2
    assert found["generator_http_requests_total", "GET", "unknown", "404"] == 1
    assert found["generator_http_request_seconds_count", "GET", "/jobs/{job_id}"] == 2
    assert not any(job in label for key in found for label in key for job in jobs)


def test_metrics_show_jobs_queues_and_workers(api, plan):
    first = api.submit()
    api.submit()
    api.submit(prompt=None, plan=plan.model_dump(mode="json"))
    api.parts.store.cancel(first)
    api.beat("render", "emoji-world")

    found = metrics(api)

    assert found["generator_jobs", "queued"] == 2
    assert found["generator_jobs", "canceled"] == 1
    assert found["generator_jobs", "failed"] == 0
    assert found["generator_queue_length", "render.emoji-world"] == 1
    assert found["generator_workers", "emoji-world", "render"] == 1
    assert found["generator_redis_up",] == 1


def test_metrics_without_redis(serve):
    with serve(redis_url=f"redis://{nobody()}/0") as api:
        found = metrics(api)
    assert found["generator_redis_up",] == 0
    assert not any(name == "generator_jobs" for name, *_ in found)


def test_metrics_tell_of_a_redis_that_hangs_before_the_scraper_gives_up(serve):
    with (
        socket.create_server((LOOPBACK, 0)) as hanging,  # takes connections, and answers nothing
        serve(redis_url=f"redis://{LOOPBACK}:{hanging.getsockname()[1]}/0") as api,
    ):
        answer = api.http.get("/metrics", timeout=10)  # Prometheus's own
    assert "generator_redis_up 0.0" in answer.text


def test_backbones_are_the_table_with_its_live_workers(api):
    api.beat("render", "emoji-world")
    api.beat("plan")
    found = BackboneList.model_validate_json(api.http.get("/backbones").content).backbones
    assert {view.spec.name: view.spec for view in found} == BACKBONES
    assert {view.spec.name: view.workers for view in found} == {name: int(name == "emoji-world") for name in BACKBONES}
    assert [view.spec.name for view in found if view.is_default] == ["emoji-world"]


def test_the_published_schema_is_one_that_plans_keep(api, plan):
    schema = api.http.get("/schemas/plan").json()
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema)
    validator(schema).validate(plan.model_dump(mode="json"))
    job = api.submit(prompt=None, plan=plan.model_dump(mode="json"))
    returned = api.http.get(f"/jobs/{job}/plan").json()
    validator(schema).validate(returned)
    assert Plan.model_validate(returned) == plan

    with pytest.raises(jsonschema.ValidationError):
        validator(schema).validate(returned | {"tracks": "none"})


def test_time_left_until_the_end_that_the_worker_expects(api):
    job = api.submit()
    api.start(job)
    assert api.http.get(f"/jobs/{job}").json()["seconds_left"] is None
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    expected_at = begin + timedelta(seconds=50)
    api.parts.store.report(job, worker="w1", stage=Stage.SAMPLING, progress=0.2, step=5, expected_at=expected_at)
    record = api.parts.store.get(job)
    assert seconds_left(record, begin + timedelta(seconds=10)) == 40.0
    assert seconds_left(record, begin + timedelta(seconds=90)) == 0.0
    assert api.http.get(f"/jobs/{job}").json()["seconds_left"] == 0.0
    api.parts.store.cancel(job)
    assert api.http.get(f"/jobs/{job}").json()["seconds_left"] is None


@pytest.mark.parametrize("module", [f"generator_service.{name}" for name in ("api.app", "client", "__main__")])
def test_api_client_and_command_line_run_without_torch(module):
    code = f"import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert {"pydantic", module} <= set(modules)
    assert not {"torch", "diffusers", "transformers"} & set(modules)


# the watchdog


def test_the_api_takes_back_what_died_with_its_worker_and_deletes_what_it_left(serve, redis_url, wait_until):
    with serve(redis_url=redis_url, heartbeat_seconds=0.1) as api:
        job = api.submit()
        api.start(job)
        wait_until(lambda: api.parts.store.get(job).attempt == 2)
        other = api.submit()
        api.start(other)
        api.finish(other)
        assert api.http.delete(f"/jobs/{other}").status_code == 204
        wait_until(lambda: api.parts.objects.keys(JobKeys(other).prefix) == ())
        keys = JobKeys(job)
        api.parts.store.note_objects(job)
        api.parts.objects.put(keys.checkpoint, b"half a video", "application/octet-stream")
        api.parts.store.cancel(job)
        wait_until(lambda: api.parts.objects.keys(keys.prefix) == ())
