"""What jobs leave behind goes, and nothing else."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
import redis
from rq.job import Job
from rq.serializers import JSONSerializer
from structlog.testing import capture_logs

from generator_service.contract.job import Stage
from generator_service.contract.report import Diagnostics
from generator_service.jobs.delivery import PLAN_QUEUE, Delivery, render_queue
from generator_service.jobs.janitor import Janitor
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.store import JobStore
from generator_service.workers import plan_worker
from generator_service.workers.plan_worker import PlanWorker
from generator_service.workers.resident import ResidentWorker
from shared.errors import RenderingFailed, StorageUnavailable
from shared.plan import Plan

MakeRecord = Callable[..., JobRecord]
WaitUntil = Callable[..., None]
RESULTS = Results(video="v", plan=None, preview="w", manifest="m", report="r")
WEEK = timedelta(days=7)


class Storage:
    """What it was asked to delete: a job's id, and the attempt whose results stay."""

    def __init__(self) -> None:
        self.deleted: dict[str, int | None] = {}
        self.down = False

    def delete_leftovers(self, job_id: str, winner: int | None) -> None:
        if self.down:
            raise StorageUnavailable("down")
        self.deleted[job_id] = winner


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def delivery(raw_client: redis.Redis) -> Delivery:
    return Delivery(raw_client, job_seconds=600)


@pytest.fixture
def janitor(store: JobStore, delivery: Delivery, storage: Storage) -> Janitor:
    return Janitor(store, delivery, storage.delete_leftovers, WEEK, seconds=3.0)


def ago(store: JobStore, age: timedelta = timedelta(minutes=1)) -> JobStore:
    """The same store, so long ago."""
    return JobStore(store._redis, now=lambda: datetime.now(UTC) - age)


def rq_keys_about(client: redis.Redis, job: str) -> list[str]:
    """Keys of RQ's that are named after the job, and those of RQ's collections that have it as a member."""
    named = [key.decode() for key in client.scan_iter(f"rq:*{job}*")]
    lists = [
        key
        for key in client.scan_iter("rq:*", _type="list")
        if any(job.encode() in it for it in client.lrange(key, 0, -1))
    ]
    sets = [
        key
        for key in client.scan_iter("rq:*", _type="zset")
        if any(job.encode() in it for it in client.zrange(key, 0, -1))
    ]
    return named + [key.decode() for key in (*lists, *sets)]


# in the storage


def test_leftovers_go_when_their_jobs_have_ended_however_they_did(
    janitor: Janitor, storage: Storage, store: JobStore, make_record: MakeRecord
) -> None:
    names = ("queued", "running", "canceled", "failed", "succeeded", "deleted", "stored nothing")
    records = {name: make_record(attempt=2) for name in names}
    jobs = {name: record.id for name, record in records.items()}
    for name, record in records.items():
        store.create(record, None)
        if name != "stored nothing":
            store.note_objects(record.id)
        if name not in ("queued", "canceled"):
            store.start(record.id, worker="w1", stage=Stage.PLANNING)
    store.cancel(jobs["canceled"])
    for name in ("failed", "deleted", "stored nothing"):
        store.fail(jobs[name], RenderingFailed("broken"), worker="w1")
    store.succeed(jobs["succeeded"], worker="w1", results=RESULTS, diagnostics=Diagnostics())
    store.delete(jobs["deleted"])

    janitor.tidy_up()
    assert storage.deleted == {
        jobs["canceled"]: None,
        jobs["failed"]: None,
        jobs["succeeded"]: 2,
        jobs["deleted"]: None,
    }
    storage.deleted.clear()
    janitor.tidy_up()
    assert storage.deleted == {}


def test_an_outage_of_the_storage_loses_track_of_nothing_and_keeps_nothing_else_waiting(
    janitor: Janitor, storage: Storage, store: JobStore, delivery: Delivery, make_record: MakeRecord
) -> None:
    old, canceled = make_record(), make_record()
    for record in (old, canceled):
        store.create(record, None)
        store.note_objects(record.id)
        delivery.enqueue(record)
    ago(store, 2 * WEEK).cancel(old.id)
    ago(store).cancel(canceled.id)
    storage.down = True
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            janitor.tidy_up()
    assert store.some([old.id]) == ()
    assert [delivery.queue(PLAN_QUEUE).count, delivery.position(canceled)] == [0, None]
    assert store.leftovers() == {old.id: None, canceled.id: None}

    storage.down = False
    janitor.tidy_up()
    assert storage.deleted == {old.id: None, canceled.id: None}
    assert store.leftovers() == {}


# in Redis


def test_a_job_is_kept_for_a_while_after_its_end(
    janitor: Janitor, storage: Storage, store: JobStore, make_record: MakeRecord, plan: Plan
) -> None:
    young, old, unended = make_record(), make_record(request_id="order.42"), make_record()  # all created long ago
    for record in (young, old, unended):
        store.create(record, plan)
    for record, age in ((young, WEEK - timedelta(minutes=1)), (old, WEEK + timedelta(minutes=1))):
        ago(store, age).start(record.id, worker="w1", stage=Stage.PLANNING)
        ago(store, age).succeed(record.id, worker="w1", results=RESULTS, diagnostics=Diagnostics())
    with capture_logs() as logs:
        janitor.tidy_up()
    assert [(entry["event"], entry["job_id"], entry["request_id"]) for entry in logs] == [
        ("job_expired", old.id, "order.42")
    ]
    assert {record.id for record in store.list(limit=9).jobs} == {young.id, unended.id}
    assert store.plan(old.id) is None
    assert store.plan(young.id) == plan
    assert storage.deleted == {old.id: None}


def test_who_waits_though_it_has_ended_is_withdrawn_and_nobody_else(
    janitor: Janitor, store: JobStore, delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    """Canceled between its delivery's two steps; deleted before the second; delivered to a worker that was late."""
    canceled, deleted, running, waiting = (make_record() for _ in range(4))
    for record in (canceled, deleted, running, waiting):
        store.create(record, None)
    for record in (canceled, deleted):
        store.cancel(record.id)
    store.delete(deleted.id)
    store.start(running.id, worker="w1", stage=Stage.PLANNING)
    for record in (canceled, deleted, running, waiting):
        delivery.enqueue(record)
    janitor.tidy_up()
    order = delivery.queue(PLAN_QUEUE).order
    assert order.ids() == [running.id, waiting.id]
    for _ in range(2):
        raw_client.zpopmin(order.key)  # by a worker that dies at once
    janitor.tidy_up()
    assert [key for key in raw_client.keys("*") if b":plan" in key] == []


def test_a_round_belongs_to_one_of_all_janitors(store: JobStore, delivery: Delivery, make_record: MakeRecord) -> None:
    record = make_record()
    store.create(record, None)
    store.note_objects(record.id)
    store.cancel(record.id)
    deleted: list[str] = []
    gate = threading.Barrier(6)

    def look(janitor: Janitor) -> None:
        gate.wait()
        janitor.look()

    all_of_them = [Janitor(store, delivery, lambda job, _: deleted.append(job), WEEK, seconds=60.0) for _ in range(6)]
    threads = [threading.Thread(target=look, args=(one,)) for one in all_of_them]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert deleted == [record.id]


# in RQ


def taken(delivery: Delivery, name: str, worker_name: str = "w1") -> tuple[ResidentWorker, Job]:
    """A worker has just taken the first message of the queue, and would now begin with its job."""
    queue = delivery.queue(name)
    worker = ResidentWorker(
        [queue], connection=queue.connection, serializer=JSONSerializer, name=worker_name, worker_ttl=16
    )
    message, _ = worker.dequeue_job_and_maintain_ttl(None)
    return worker, message


def begun(delivery: Delivery, name: str, worker_name: str = "w1") -> tuple[ResidentWorker, Job]:
    worker, message = taken(delivery, name, worker_name)
    worker.prepare_execution(message)
    worker.prepare_job_execution(message, remove_from_intermediate_queue=True)
    return worker, message


@pytest.mark.parametrize("reached", [taken, begun], ids=["taken", "begun"])
@pytest.mark.parametrize("stage", [Stage.PLANNING, Stage.SAMPLING])
def test_what_a_killed_worker_left_in_rqs_hands_goes_once_its_job_goes_on_without_it(
    stage: Stage, reached: Callable[..., object], janitor: Janitor, store: JobStore, delivery: Delivery,
    raw_client: redis.Redis, make_record: MakeRecord,
) -> None:  # fmt: skip
    record = make_record(stage=stage)
    queue = PLAN_QUEUE if stage is Stage.PLANNING else render_queue("emoji-world")
    store.create(record, None)
    delivery.enqueue(record)
    reached(delivery, queue)
    held = (ago(store) if reached is begun else store).start(record.id, worker="w1", stage=stage)
    before = rq_keys_about(raw_client, record.id)
    janitor.tidy_up()
    assert rq_keys_about(raw_client, record.id) == before  # that worker may be alive

    store.take_back(held, attempts=2, pause=timedelta(0))
    delivery.enqueue(store.deliver(store.get(record.id)))
    worker, message = begun(delivery, queue, "w2")
    ago(store).start(record.id, worker="w2", stage=stage)
    janitor.tidy_up()
    (execution,) = worker.executions.values()
    assert set(rq_keys_about(raw_client, record.id)) == {
        message.key,
        execution.key,
        f"rq:executions:{message.id}",
        f"rq:wip:{queue}",
    }  # and nothing of "w1"

    ago(store).fail(record.id, RenderingFailed("broken"), worker="w2")
    janitor.tidy_up()
    assert rq_keys_about(raw_client, record.id) == []


def test_a_message_that_rq_has_given_up_goes(
    janitor: Janitor, store: JobStore, delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    record = make_record()
    store.create(record, None)
    delivery.enqueue(record)
    worker, message = begun(delivery, PLAN_QUEUE)
    worker.handle_job_failure(message, delivery.queue(PLAN_QUEUE), exc_string="ended by a second signal")
    ago(store).cancel(record.id)
    assert delivery.queue(PLAN_QUEUE).failed_job_registry.get_job_ids()
    janitor.tidy_up()
    assert rq_keys_about(raw_client, record.id) == []


def test_a_worker_that_is_about_to_tell_rq_has_time_to_do_so(
    janitor: Janitor, store: JobStore, delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    record = make_record()
    store.create(record, None)
    delivery.enqueue(record)
    begun(delivery, PLAN_QUEUE)
    store.cancel(record.id)
    before = rq_keys_about(raw_client, record.id)
    janitor.tidy_up()
    assert rq_keys_about(raw_client, record.id) == before


def test_a_worker_outlives_that_the_message_it_is_at_was_forgotten(
    janitor: Janitor, store: JobStore, delivery: Delivery, raw_client: redis.Redis, make_record: MakeRecord
) -> None:
    """It was taken for dead, goes on, and ends its work on a job that another has ended long since."""
    record = make_record()
    store.create(record, None)
    delivery.enqueue(record)
    worker, message = taken(delivery, PLAN_QUEUE)

    class Late:
        def run(self, job_id: str) -> None:
            ago(store).cancel(job_id)
            janitor.tidy_up()
            assert rq_keys_about(raw_client, job_id) == []

    with plan_worker.serving(cast(PlanWorker, Late())):
        worker.execute_job(message, delivery.queue(PLAN_QUEUE))
    janitor.tidy_up()
    assert rq_keys_about(raw_client, record.id) == []


def test_a_message_that_was_taken_and_not_begun_stays_while_its_job_is_queued(
    janitor: Janitor, store: JobStore, delivery: Delivery, make_record: MakeRecord
) -> None:
    record, behind = make_record(), make_record()  # which have waited for long
    for each in (record, behind):
        store.create(each, None)
        delivery.enqueue(each)
    _, message = taken(delivery, PLAN_QUEUE)
    janitor.tidy_up()
    assert delivery.messages() == {message.id: record.id}
    assert delivery.position(behind) == 0


# the thread


def test_it_works_by_itself_and_outlives_outages(
    store: JobStore, delivery: Delivery, storage: Storage, make_record: MakeRecord, wait_until: WaitUntil
) -> None:
    record = make_record()
    store.create(record, None)
    store.note_objects(record.id)
    store.cancel(record.id)
    storage.down = True
    with capture_logs() as logs, Janitor(store, delivery, storage.delete_leftovers, WEEK, seconds=0.02):
        wait_until(lambda: [entry["event"] for entry in logs].count("janitor_blind") > 2)
        storage.down = False
        wait_until(lambda: storage.deleted == {record.id: None})
