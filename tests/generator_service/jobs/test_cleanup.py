"""What jobs leave behind goes, and nothing else."""

import threading
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from generator_service.contract.report import Diagnostics
from generator_service.jobs.cleanup import Cleanup
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.store import JobStore
from shared.errors import RenderingFailed, StorageUnavailable, Unavailable
from shared.plan import Plan

MakeRecord = Callable[..., JobRecord]
Start = Callable[..., JobRecord]
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

    def delete_images(self, before: datetime, in_use: Callable[[str], Collection[str]]) -> None:
        if self.down:
            raise StorageUnavailable("down")


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def cleanup(store: JobStore, storage: Storage) -> Cleanup:
    return Cleanup(store, storage, WEEK, seconds=3.0)


def ago(store: JobStore, age: timedelta = timedelta(minutes=1)) -> JobStore:
    """The same store, so long ago."""
    return JobStore(store._redis, now=lambda: datetime.now(UTC) - age)


# in the storage


def test_leftovers_go_when_their_jobs_have_ended_however_they_did(
    cleanup: Cleanup, storage: Storage, store: JobStore, make_record: MakeRecord, start: Start
) -> None:
    names = ("queued", "running", "canceled", "failed", "succeeded", "deleted", "stored nothing")
    records = {name: make_record(attempt=2) for name in names}
    jobs = {name: record.id for name, record in records.items()}
    for name, record in records.items():
        store.create(record, None)
        if name != "stored nothing":
            store.note_objects(record.id)
        if name not in ("queued", "canceled"):
            start(record.id)
    store.cancel(jobs["canceled"])
    for name in ("failed", "deleted", "stored nothing"):
        store.fail(jobs[name], RenderingFailed("broken"), worker="w1")
    store.succeed(jobs["succeeded"], worker="w1", results=RESULTS, diagnostics=Diagnostics())
    store.delete(jobs["deleted"])

    cleanup.clean_up()
    assert storage.deleted == {
        jobs["canceled"]: None,
        jobs["failed"]: None,
        jobs["succeeded"]: 2,
        jobs["deleted"]: None,
    }
    storage.deleted.clear()
    cleanup.clean_up()
    assert storage.deleted == {}


def test_an_outage_of_the_storage_loses_track_of_nothing_and_keeps_nothing_else_waiting(
    cleanup: Cleanup, storage: Storage, store: JobStore, make_record: MakeRecord
) -> None:
    old, canceled = make_record(), make_record()
    for record in (old, canceled):
        store.create(record, None)
        store.note_objects(record.id)
    ago(store, 2 * WEEK).cancel(old.id)
    ago(store).cancel(canceled.id)
    storage.down = True
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            cleanup.clean_up()
    assert store.get_many([old.id]) == ()
    assert store.leftovers() == {old.id: None, canceled.id: None}

    storage.down = False
    cleanup.clean_up()
    assert storage.deleted == {old.id: None, canceled.id: None}
    assert store.leftovers() == {}


# in Redis


def test_a_job_is_kept_for_a_while_after_its_end(
    cleanup: Cleanup, storage: Storage, store: JobStore, make_record: MakeRecord, start: Start, plan: Plan
) -> None:
    young, old, unended = make_record(), make_record(request_id="order.42"), make_record()  # all created long ago
    for record in (young, old, unended):
        store.create(record, plan)
    for record, age in ((young, WEEK - timedelta(minutes=1)), (old, WEEK + timedelta(minutes=1))):
        start(record.id, store=ago(store, age))
        ago(store, age).succeed(record.id, worker="w1", results=RESULTS, diagnostics=Diagnostics())
    with capture_logs() as logs:
        cleanup.clean_up()
    assert [(entry["event"], entry["job_id"], entry["request_id"]) for entry in logs] == [
        ("job_expired", old.id, "order.42")
    ]
    assert {record.id for record in store.list(limit=9).jobs} == {young.id, unended.id}
    assert store.plan(old.id) is None
    assert store.plan(young.id) == plan
    assert storage.deleted == {old.id: None}


def test_a_process_whose_clock_is_ahead_deletes_nobodys_job(
    cleanup: Cleanup, store: JobStore, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(days=8)

    ended = make_record()
    store.create(ended, None)
    store.cancel(ended.id)
    monkeypatch.setattr("generator_service.jobs.store.datetime", Ahead)
    cleanup.clean_up()
    assert store.get(ended.id).id == ended.id


def test_a_full_redis_is_emptied(
    cleanup: Cleanup,
    storage: Storage,
    store: JobStore,
    make_record: MakeRecord,
    start: Start,
    plan: Plan,
    text_client: redis.Redis,
) -> None:
    *old, wished, queued = (make_record() for _ in range(52))
    for record in (*old, wished, queued):
        store.create(record, plan)
    for record in (*old, wished):
        moment = store if record is wished else ago(store, 2 * WEEK)
        start(record.id, store=moment)
        moment.fail(record.id, RenderingFailed("broken"), worker="w1")
    text_client.config_set("maxmemory", text_client.info("memory")["used_memory"] - 10_000)
    try:
        for refused in (store.check, lambda: store.cancel(queued.id)):
            with pytest.raises(Unavailable, match="takes no writes"):
                refused()
        store.delete(wished.id)
        cleanup.run_once()
        assert [record.id for record in store.list(limit=9).jobs] == [queued.id]
        assert storage.deleted == {record.id: None for record in (*old, wished)}
        assert not store.claim_round(cleanup.name, 3.0)  # it was this one's
        store.cancel(queued.id)  # there is room
    finally:
        text_client.config_set("maxmemory", 0)


def test_a_round_belongs_to_one_of_all_cleanups(store: JobStore, make_record: MakeRecord) -> None:
    record = make_record()
    store.create(record, None)
    store.note_objects(record.id)
    store.cancel(record.id)
    storages = [Storage() for _ in range(6)]
    gate = threading.Barrier(6)

    def look(cleanup: Cleanup) -> None:
        gate.wait()
        cleanup.run_once()

    all_of_them = [Cleanup(store, storage, WEEK, seconds=60.0) for storage in storages]
    threads = [threading.Thread(target=look, args=(one,)) for one in all_of_them]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [storage.deleted for storage in storages if storage.deleted] == [{record.id: None}]


# the thread


def test_it_works_by_itself_and_outlives_outages(
    store: JobStore, storage: Storage, make_record: MakeRecord, wait_until: WaitUntil
) -> None:
    record = make_record()
    store.create(record, None)
    store.note_objects(record.id)
    store.cancel(record.id)
    storage.down = True
    with capture_logs() as logs, Cleanup(store, storage, WEEK, seconds=0.02):
        wait_until(lambda: [entry["event"] for entry in logs].count("cleanup_interrupted") > 2)
        storage.down = False
        wait_until(lambda: storage.deleted == {record.id: None})
