"""The numbers to scale on, and what is wrong in plain words."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.servers import LOOPBACK, free_ports
from generator_service.cli.overview import lines
from generator_service.client import Client
from generator_service.contract.job import JobStatus
from generator_service.jobs.store import JobStore
from generator_service.jobs.workers import WorkerInfo
from shared.errors import PlannerUnavailable


def overview(api):
    with Client(api.url) as client:
        return client.overview()


def in_metrics(api, name, queue):
    families = text_string_to_metric_families(api.http.get("/metrics").text)
    (value,) = (
        sample.value
        for family in families
        for sample in family.samples
        if (sample.name, sample.labels.get("queue")) == (name, queue)
    )
    return value


def test_load_is_what_waits_and_what_runs(api, plan):
    planned, *_ = [api.submit() for _ in range(3)]
    rendered = api.submit(prompt=None, plan=plan.model_dump(mode="json"))
    for job in (planned, rendered):
        api.start(job)
    load = api.http.get("/load").json()
    planning = load["plan"]["any"]
    assert (planning["waiting"], planning["running"], planning["jobs"]) == (2, 1, 3)
    assert load["render"]["emoji-world"] == {
        "waiting": 0,
        "put_aside": 0,
        "running": 1,
        "jobs": 1,
        "oldest_seconds": None,
    }
    assert load["render"]["cogvideox-2b"]["jobs"] == 0
    assert in_metrics(api, "generator_queue_running", "plan") == 1


def test_the_oldest_is_the_one_that_still_waits(api, text_client):
    hours = {}
    for age in (3, 2, 1):
        job = api.submit()
        then = datetime.now(UTC) - timedelta(hours=age)
        text_client.hset(f"job:{job}", "updated_at", json.dumps(then.isoformat()))
        hours[age] = job
    assert round(in_metrics(api, "generator_queue_oldest_seconds", "plan") / 3600, 2) == 3
    api.parts.store.cancel(hours[3])
    assert round(in_metrics(api, "generator_queue_oldest_seconds", "plan") / 3600, 2) == 2
    api.parts.store.cancel(hours[2])
    api.parts.store.cancel(hours[1])
    load = api.http.get("/load").json()["plan"]["any"]
    assert (load["waiting"], load["oldest_seconds"]) == (0, None)


def test_one_that_is_never_let_to_the_front_is_not_overlooked(api, text_client):
    last, *_ = [api.submit() for _ in range(30)]
    then = datetime.now(UTC) - timedelta(hours=2)
    text_client.hset(f"job:{last}", "updated_at", json.dumps(then.isoformat()))
    text_client.zadd("waiting:plan", {last: 1e6})  # its turn never comes
    assert last not in api.parts.store.fronts(20)["plan"].first
    assert round(in_metrics(api, "generator_queue_oldest_seconds", "plan") / 3600, 2) == 2


def test_delayed_jobs_wait_too(api, text_client):
    api.beat("plan")
    api.beat("render", "emoji-world")
    gone = PlannerUnavailable("gone")
    jobs = [api.submit() for _ in range(5)]
    then = datetime.now(UTC) - timedelta(hours=2)
    for job in jobs:
        text_client.hset(f"job:{job}", "created_at", json.dumps(then.isoformat()))
        api.start(job)
        api.parts.store.retry_later(job, gone, worker="w1", pause=timedelta(hours=1))
    waiting = api.submit()
    load = api.http.get("/load").json()["plan"]["any"]
    assert (load["waiting"], load["put_aside"], load["running"], load["jobs"]) == (1, 5, 0, 6)
    assert round(load["oldest_seconds"] / 3600, 2) == 2
    assert in_metrics(api, "generator_queue_length", "plan") == 6
    assert overview(api).problems == ("queue plan: 6 jobs wait (5 put aside), one of them for 120 minutes",)
    api.parts.store.cancel(waiting)
    for job in jobs[1:]:
        api.parts.store.cancel(job)
    JobStore(text_client, now=lambda: datetime.now(UTC) + timedelta(hours=1)).promote(jobs[0])
    load = api.http.get("/load").json()["plan"]["any"]
    assert (load["waiting"], load["put_aside"], round(load["oldest_seconds"] / 3600, 2)) == (1, 0, 2)


def test_metrics_do_not_read_every_job(api, text_client):
    def records_read():
        def reads():
            return text_client.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"]

        before = reads()
        api.http.get("/metrics")
        return reads() - before

    for _ in range(30):
        api.submit()
    assert records_read() == 20  # the front of one queue
    for _ in range(30):
        api.submit()
    assert records_read() == 20


def test_problems_in_plain_words(api, plan):
    job = api.submit(prompt=None, plan=plan.model_dump(mode="json"))
    assert overview(api).problems == (
        "plan_worker: no plan worker is alive",
        "render_worker: no render worker is alive",
        "queue render.emoji-world: 1 job waits, and no worker is there for it",
    )
    api.beat("plan")
    api.beat("render", "emoji-world")
    assert overview(api).problems == ()
    record = api.start(job)
    found = overview(api)
    assert [(lease.job, lease.worker, lease.held) for lease in found.leases] == [(job, "w1", False)]
    assert found.problems == (f"job {job}: its worker w1 is silent; another will take the job within seconds",)
    info = WorkerInfo(name="w1", kind="render", backbone="emoji-world", started_at=record.created_at)
    api.parts.workers.beat(info)  # it has just taken the job
    assert overview(api).problems == ()
    api.parts.workers.beat(info.model_copy(update={"job": job}))
    assert overview(api).problems == ()
    api.parts.workers.beat(info.model_copy(update={"job": "0" * 32}))
    assert not overview(api).leases[0].held
    assert overview(api).jobs[JobStatus.RUNNING] == 1


def test_for_people_what_is_wrong_comes_first(api):
    api.beat("plan")
    text = list(lines(overview(api)))
    assert text[0] == "! render_worker: no render worker is alive"
    table = text[text.index("") + 1 :]
    assert table[0].split("  ")[0] == "worker"
    assert table[1].startswith("plan-1")
    assert "waits" in table[1]
    assert any(line.split() == ["queue", "waiting", "put", "aside", "running", "oldest", "waits"] for line in text)
    api.beat("render", "emoji-world")
    assert next(lines(overview(api))) == "all is well"


def test_without_redis_it_says_so(serve):
    with serve(redis_url=f"redis://{LOOPBACK}:{free_ports(1)[0]}/0") as api:
        found = overview(api)
        assert api.http.get("/load").status_code == 503
    assert found.problems[0] == "redis: Redis does not answer"
    assert found.workers == ()


@pytest.fixture
def due(api, text_client):
    """A webhook that has been due for so many minutes."""

    def due(minutes):
        job = api.parts.store.get(api.submit())
        webhook = {"url": "https://example.com/hook"}
        text_client.hset(f"job:{job.id}", "webhook", json.dumps(webhook))
        then = datetime.now(UTC) - timedelta(minutes=minutes)
        JobStore(text_client, now=lambda: then).cancel(job.id)

    return due


def test_webhooks_that_nobody_sends_are_a_problem(api, due):
    api.beat("plan")
    api.beat("render", "emoji-world")
    assert overview(api).problems == ()  # none is due: no webhook worker is missed
    assert in_metrics(api, "generator_webhooks_overdue", None) == 0
    assert in_metrics(api, "generator_webhooks_overdue_seconds", None) == 0
    due(9)
    assert overview(api).problems == ("webhooks: 1 event is due, and no webhook worker is alive",)
    due(2)
    found = overview(api)
    assert found.problems == ("webhooks: 2 events are due, and no webhook worker is alive",)
    assert found.webhooks.events == in_metrics(api, "generator_webhooks_overdue", None) == 2
    assert round(found.webhooks.oldest_seconds / 60) == 9
    assert round(in_metrics(api, "generator_webhooks_overdue_seconds", None) / 60) == 9
    api.beat("webhook")
    assert overview(api).problems == ()
    due(11)
    assert overview(api).problems == ("webhooks: 3 events are due, one of them for 11 minutes",)


@pytest.mark.parametrize("minutes", [9, 11])
def test_a_long_wait_is_a_problem(api, minutes, text_client):
    api.beat("plan")
    api.beat("render", "emoji-world")
    then = datetime.now(UTC) - timedelta(minutes=minutes)
    text_client.hset(f"job:{api.submit()}", "updated_at", json.dumps(then.isoformat()))
    told = ("queue plan: 1 job waits, one of them for 11 minutes",)
    assert overview(api).problems == (told if minutes == 11 else ())


def test_what_the_api_takes_back_is_counted(serve, redis_url, wait_until):
    with serve(redis_url=redis_url, heartbeat_seconds=0.1) as api:
        job = api.submit()
        api.start(job)
        wait_until(lambda: 'jobs_taken_back_total{status="queued"} 1.0' in api.http.get("/metrics").text)
        assert api.parts.store.get(job).attempt == 2
