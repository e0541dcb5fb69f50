"""One job through the real processes, seen by those who run the service: in logs, traces, metrics, and at a glance."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from deploy.stack import LocalStack
from generator_service.client import Client
from generator_service.contract.job import JobStatus

pytestmark = pytest.mark.timeout(300)  # the first test waits for the start of everything

REQUEST_ID = "Root=1-67891233/order.42"
STEPS = 5


@pytest.fixture(scope="module")
def job(client: Client, http: httpx.Client) -> str:
    answer = http.post(
        "/jobs",
        json={"prompt": "a red car drives to the right", "seed": 1, "steps": STEPS},
        headers={"X-Request-Id": REQUEST_ID},
    )
    assert answer.headers["x-request-id"] == REQUEST_ID
    ended = client.wait(answer.json()["id"])
    assert ended.status is JobStatus.SUCCEEDED
    assert ended.request_id == REQUEST_ID
    return ended.id


def events(folder: Path, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "logs" / f"{part}.log").read_text().splitlines()]


def test_one_grep_for_the_request_finds_every_part(job: str, folder: Path) -> None:
    found = {
        part: [event["event"] for event in events(folder, part) if event.get("request_id") == REQUEST_ID]
        for part in ("generator-api", "plan-worker", "planner", "render-worker")
    }
    assert found == {
        "generator-api": ["job_accepted"],
        "plan-worker": ["job_started", "job_planned"],
        "planner": ["plan"],
        "render-worker": ["job_started", "job_succeeded"],
    }


def test_one_trace_leads_through_every_part(job: str, collector: Any) -> None:
    render = collector.wait_for("render-worker", "render", job_id=job)
    submitted = collector.wait_for("generator-api", "POST /jobs", trace=render.trace)

    def child(service: str, name: str, parent: Any, **attributes: str) -> Any:
        span = collector.wait_for(service, name, trace=submitted.trace, **attributes)
        assert span.parent == parent.id, name
        return span

    plan = child("plan-worker", "plan", submitted, job_id=job, request_id=REQUEST_ID, outcome="done")
    asked = child("plan-worker", "POST", plan)
    child("planner", "POST /plans", asked)
    assert (render.parent, render.attributes["outcome"]) == (submitted.id, "done")
    for stage in ("sampling", "decoding", "storing"):
        child("render-worker", stage, render)
    of_it = [span for span in collector.spans if span.trace == submitted.trace]
    names = [span.name for span in of_it]
    assert len(names) == 9, names  # one for the ticket after the answer; none for each step, none for Redis
    assert not any(span.name == "GET /health" for span in collector.spans)


def samples(address: str) -> dict[tuple[str, ...], float]:
    """(name, *label values by label name) -> value."""
    families = text_string_to_metric_families(httpx.get(f"{address}/metrics").raise_for_status().text)
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_part_counts_what_it_did(job: str, stack: LocalStack) -> None:
    render = samples(stack.addresses.render_worker)
    assert render["generator_attempts_total", "emoji-world", "render", "done"] >= 1
    assert render["generator_attempts_total", "emoji-world", "render", "failed"] == 0
    assert render["generator_step_seconds_count", "emoji-world"] >= STEPS - 1
    for stage in ("sampling", "decoding", "encoding", "measuring", "storing"):
        assert render["generator_stage_seconds_count", "emoji-world", stage] >= 1
    assert not any(name == "generator_gpu_memory_bytes" for name, *_ in render)  # there is none

    plan = samples(stack.addresses.plan_worker)
    assert plan["generator_attempts_total", "", "plan", "done"] >= 1
    assert plan["generator_stage_seconds_count", "", "planning"] >= 1
    assert samples(stack.addresses.planner)["planner_plans_total", "planned", "parser"] >= 1

    api = samples(stack.addresses.api)
    assert api["generator_jobs_taken_back_total", "queued"] == 0
    assert api["generator_workers", "emoji-world", "render"] == 1


def test_everything_at_a_glance(job: str, client: Client, stack: LocalStack) -> None:
    running = client.submit(plan=client.plan(job), steps=200)
    waiting = client.submit(plan=client.plan(job), steps=200)
    try:
        while client.get(running.id).step < 1:
            assert client.get(running.id).status in (JobStatus.QUEUED, JobStatus.RUNNING)
        command = [sys.executable, "-m", "generator_service", "overview", "--url", stack.addresses.api]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = client.overview()
    finally:
        client.cancel(waiting.id)
        client.cancel(running.id)
        client.wait(running.id)
    assert found.problems == ()
    (lease,) = found.leases
    assert (lease.job, lease.held, lease.attempt, lease.steps) == (running.id, True, 1, 200)
    by_kind = {worker.kind: worker for worker in found.workers}
    assert by_kind["plan"].job is None
    assert (by_kind["render"].job, by_kind["render"].name) == (running.id, lease.worker)
    assert by_kind["render"].silent_seconds < 9
    queue = found.queues["render.emoji-world"]
    assert (queue.waiting, queue.running, queue.jobs) == (1, 1, 2)
    assert text.startswith("all is well\n")
    assert all(name in text for name in (running.id, by_kind["plan"].name, "render.emoji-world", "agrees"))


ON_GPUS_ALONE = {"generator_gpu_memory_bytes"}
ADDED_BY_PROMETHEUS = {"up"}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def asked_for(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric of a PromQL expression, and the labels by which it is chosen."""
    found: list[tuple[str, set[str]]] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name is not None
            found.append((node.name, {matcher.name for matcher in node.matchers.matchers}))

    promql_parser.walk(promql_parser.parse(expression), visit)
    yield from dict.fromkeys((name, frozenset(labels)) for name, labels in found)


def test_dashboard_and_alerts_ask_for_what_is_exported(job: str, stack: LocalStack, repository: Path) -> None:
    exported: dict[str, set[str]] = {}
    for address in stack.addresses.with_metrics:
        for family in text_string_to_metric_families(httpx.get(f"{address}/metrics").text):
            for suffix in SUFFIXES.get(family.type, ()):
                exported.setdefault(family.name + suffix, set())
            for sample in family.samples:
                exported.setdefault(sample.name, set()).update(sample.labels)
    folder = repository / "deploy" / "observability"
    dashboard = json.loads((folder / "grafana" / "dashboards" / "service.json").read_text())
    rules = yaml.safe_load((folder / "alerts.yml").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    asked = [pair for expression in expressions for pair in asked_for(expression)]
    assert len({name for name, _ in asked}) > 15
    for name, labels in asked:
        if name in ON_GPUS_ALONE | ADDED_BY_PROMETHEUS:
            continue
        assert name in exported, name
        if exported[name]:  # without a sample yet, nobody knows
            assert labels <= exported[name], (name, labels)
