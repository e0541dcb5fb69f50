"""Records that cannot be read: an older version's, a newer one's, or nobody's."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from unittest.mock import create_autospec

import pytest
import redis
from pydantic import SecretStr
from structlog.testing import capture_logs

from generator_service.contract.job import JobStatus
from generator_service.jobs.cleanup import Cleanup
from generator_service.jobs.connection import connect_async, connect_serving
from generator_service.jobs.rate import Rate
from generator_service.jobs.reading import Reader
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.storage import ObjectStore
from shared.errors import Conflict, NotFound, Unreadable

MakeRecord = Callable[..., JobRecord]


@pytest.fixture
def records(store: JobStore, make_record: MakeRecord) -> list[JobRecord]:
    """Three jobs, the first of them the oldest."""
    made = [make_record() for _ in range(3)]
    for record in made:
        store.create(record, None)
    return made


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("status", '"nonsense"'),
        ("status", b'"\xff"'),
        ("settings", "{"),
        ("step", '3,"owner":"bob"'),
        ("owner", ""),
        ("owner", "[1]"),
        ("created_at", None),
        ("id", None),
    ],
)
def test_a_broken_record_hides_no_other(
    store: JobStore, text_client: redis.Redis, records: list[JobRecord], field: str, text: str | bytes | None
) -> None:
    first, broken, last = (record.id for record in records)
    if text is None:
        text_client.hdel(f"job:{broken}", field)
    else:
        text_client.hset(f"job:{broken}", field, text)
    assert [record.id for record in store.list(limit=10).jobs] == [last, first]
    for look in (store.get, store.cancel, store.delete):
        with pytest.raises(NotFound):
            look(broken)
    started = [store.start("plan", worker=f"w{number}") for number in range(3)]
    assert [record and record.id for record in started] == [first, last, None]


def test_a_broken_record_hides_no_running_job(
    store: JobStore, text_client: redis.Redis, records: list[JobRecord]
) -> None:
    for _ in records:
        store.start("plan", worker="w1")
    text_client.hset(f"job:{records[0].id}", "stage", "sampling")
    assert {record.id for record in store.list_running()} == {records[1].id, records[2].id}


def test_bytes_that_are_no_text_hide_only_themselves_from_the_api(redis_url: str, raw_client: redis.Redis) -> None:
    raw_client.hset("job:1", "status", b'"\xff"')

    async def found() -> dict[str, str]:
        async with connect_async(SecretStr(redis_url)) as client:
            return (await Reader(client, Rate(per_second=1.0, burst=1)).find("1")).fields

    assert asyncio.run(found()) == {"status": '"\ufffd"'}
    with connect_serving(SecretStr(redis_url), decode=True) as client:
        assert client.hget("job:1", "status") == '"\ufffd"'


def test_fields_of_a_newer_version_are_passed_over_at_any_depth(
    store: JobStore, text_client: redis.Redis, records: list[JobRecord]
) -> None:
    job = records[0].id
    settings = json.loads(text_client.hget(f"job:{job}", "settings"))
    guidance = settings["guidance"] | {"colour": "low"}
    newer = settings | {"colour": "lower", "guidance": guidance}
    text_client.hset(f"job:{job}", mapping={"colour": json.dumps("high"), "settings": json.dumps(newer)})
    assert store.get(job) == records[0]
    started = store.start("plan", worker="w1")
    assert started is not None
    assert (started.id, started.status) == (job, JobStatus.RUNNING)
    assert text_client.hget(f"job:{job}", "colour") == '"high"'
    assert json.loads(text_client.hget(f"job:{job}", "settings")) == newer


@pytest.mark.parametrize("text", ["", "null", "{}", "[" * 5000])
def test_a_broken_plan_is_told_as_such(
    store: JobStore, text_client: redis.Redis, records: list[JobRecord], text: str
) -> None:
    job = records[0].id
    assert store.plan(job) is None
    text_client.set(f"job:{job}:plan", text)
    with pytest.raises(Unreadable):
        store.plan(job)


# the cleanup


def cleaned_up(store: JobStore, retention: timedelta) -> tuple[list[str], dict[str, int | None]]:
    """The jobs that are told to be dropped, and those whose objects go."""
    storage = create_autospec(ObjectStore, instance=True)
    with capture_logs() as logs:
        Cleanup(store, storage, retention, seconds=3.0).clean_up()
    deleted = dict(call.args for call in storage.delete_leftovers.call_args_list)
    return [line["job_id"] for line in logs if line["event"] == "unreadable_job_dropped"], deleted


@pytest.mark.parametrize("field", ["settings", "owner", "everything"])
@pytest.mark.parametrize("ended", [False, True])
def test_what_cannot_be_read_is_dropped_once_it_is_old(
    store: JobStore, text_client: redis.Redis, make_record: MakeRecord, field: str, ended: bool
) -> None:
    record = make_record(owner="ann")
    job = record.id
    store.create(record, None)
    store.note_objects(job)
    if ended:
        store.cancel(job)
    if field == "everything":
        text_client.delete(f"job:{job}")
    else:
        text_client.hset(f"job:{job}", field, "{")

    assert cleaned_up(store, timedelta(days=36500)) == ([], {job: None} if field == "everything" else {})
    assert text_client.zscore("jobs:of:ann", job) is not None

    assert cleaned_up(store, timedelta(0)) == ([job], {job: None})
    assert list(text_client.scan_iter("job:*")) + list(text_client.scan_iter("*:plan")) == []
    assert [key for key in text_client.scan_iter("jobs*") if not key.startswith("jobs:round:")] == []
    assert cleaned_up(store, timedelta(0)) == ([], {})


def test_no_cleanup_takes_the_files_of_a_job_that_it_cannot_read(
    store: JobStore, text_client: redis.Redis, records: list[JobRecord]
) -> None:
    """While a newer version is rolled out, its jobs may be unreadable to an older one."""
    newer, plain = records[0].id, records[1].id
    for job in (newer, plain):
        store.note_objects(job)
    text_client.hset(f"job:{newer}", "stage", '"of a newer version"')
    store.cancel(plain)
    assert cleaned_up(store, timedelta(days=36500)) == ([], {plain: None})


def test_what_can_be_read_is_not_dropped(store: JobStore, records: list[JobRecord]) -> None:
    with pytest.raises(Conflict):
        store.drop(records[0].id)
    with pytest.raises(NotFound):
        store.drop("f" * 32)
