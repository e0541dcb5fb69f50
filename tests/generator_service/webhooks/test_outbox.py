"""Ends of jobs, from the change that makes them to the last attempt to tell them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from generator_service.contract.answers import DeliveryAttempt, Overdue
from generator_service.contract.job import JobStatus
from generator_service.contract.report import Diagnostics
from generator_service.jobs import outbox as outbox_module
from generator_service.jobs.outbox import Lease, Outbox
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.store import JobStore
from shared.errors import OutOfMemory

MakeJob = Callable[..., JobRecord]
URL = "https://example.com/hook"
RESULTS = Results(video="v", plan=None, preview="w", manifest="m", report="r")


def leased(
    outbox: Outbox, *, after: float = 1.0, limit: int = 100, per_target: int = 100, per_owner: int = 100, **more: Any
) -> list[Lease]:
    """What is due `after` so many seconds, for a minute."""
    now = datetime.now(UTC) + timedelta(seconds=after)
    return list(outbox.lease(now, 60, limit=limit, per_target=per_target, per_owner=per_owner, **more))


def an_attempt(again: datetime | None = None) -> DeliveryAttempt:
    return DeliveryAttempt(at=datetime.now(UTC), seconds=0.1, status=500, error="answered 500", next_attempt_at=again)


def start(store: JobStore, job: JobRecord) -> JobRecord:
    started = store.start("plan", worker="w1")
    assert started is not None
    return started


ENDS: dict[str, Callable[[JobStore, JobRecord], object]] = {
    "succeeded": lambda store, job: (
        start(store, job),
        store.succeed(job.id, worker="w1", results=RESULTS, diagnostics=Diagnostics()),
    ),
    "failed": lambda store, job: (start(store, job), store.fail(job.id, OutOfMemory("x"), worker="w1")),
    "failed after its last worker": lambda store, job: store.reclaim(
        start(store, job), "dead", attempts=1, pause=timedelta(0)
    ),
    "canceled in the queue": lambda store, job: store.cancel(job.id),
    "canceled by its worker": lambda store, job: (
        start(store, job),
        store.cancel(job.id),
        store.confirm_cancel(job.id, worker="w1"),
    ),
    "canceled after its worker": lambda store, job: (
        start(store, job),
        store.reclaim(store.cancel(job.id), "dead", attempts=3, pause=timedelta(0)),
    ),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_every_end_is_entered_once(
    end: Callable[[JobStore, JobRecord], object], store: JobStore, outbox: Outbox, make_job: MakeJob
) -> None:
    job = make_job(URL)
    assert leased(outbox) == []
    end(store, job)
    assert store.get(job.id).status.is_terminal
    assert [lease.job_id for lease in leased(outbox)] == [job.id]


def test_only_the_ends_that_are_wished_for(store: JobStore, outbox: Outbox, make_job: MakeJob) -> None:
    deaf = make_job(URL, webhook=None)
    choosy = make_job(URL, webhook={"url": URL, "events": ["job.succeeded"]})
    for job in (deaf, choosy):
        store.cancel(job.id)
    assert leased(outbox) == []


def test_an_end_and_its_entry_are_written_together_or_not_at_all(
    store: JobStore, outbox: Outbox, make_job: MakeJob, text_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(URL)

    def dies(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(outbox_module, "enter", dies)
        with pytest.raises(SystemExit):
            store.cancel(job.id)
    assert store.get(job.id).status is JobStatus.QUEUED

    commands: list[str] = []
    with text_client.monitor() as monitor:
        store.cancel(job.id)
        while not commands or commands[-1] != "EXEC":
            commands.append(monitor.next_command()["command"].split(" ")[0])
    transaction = commands[commands.index("MULTI") :]
    assert transaction.count("HSET") == 2  # the record; the outbox
    assert (transaction[0], transaction[-1]) == ("MULTI", "EXEC")


def test_of_all_who_see_an_entry_one_leases_it(
    ended: Callable[[str], str], outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(URL)
    seen = outbox._due(datetime.now(UTC), 0)
    assert len(seen) == 1
    monkeypatch.setattr(Outbox, "_due", lambda *_: seen)  # all look at the same moment
    assert len(leased(outbox)) == 1
    assert leased(outbox) == []


def test_the_lease_of_one_that_died_ends(ended: Callable[[str], str], outbox: Outbox) -> None:
    job = ended(URL)
    (dead,) = leased(outbox, after=1)
    assert leased(outbox, after=60.9) == []
    (other,) = leased(outbox, after=61.1)
    assert other.job_id == job
    # Should it not be dead after all, it can change nothing any more.
    assert not outbox.settle(dead, an_attempt())
    assert outbox.attempts(job) == ()
    assert outbox.settle(other, an_attempt())


def test_a_failure_is_due_again_when_it_says(ended: Callable[[str], str], outbox: Outbox) -> None:
    job = ended(URL)
    (lease,) = leased(outbox)
    first = an_attempt(datetime.now(UTC) + timedelta(hours=1))
    assert outbox.settle(lease, first)
    assert leased(outbox, after=3599) == []
    (lease,) = leased(outbox, after=3601)
    last = an_attempt()
    assert outbox.settle(lease, last)
    assert leased(outbox, after=1e6) == []
    assert outbox.attempts(job) == (first, last)


def test_nothing_is_left_of_a_job_that_is_deleted(
    ended: Callable[[str], str], outbox: Outbox, store: JobStore, text_client: redis.Redis
) -> None:
    told, untold, under_way = (ended(URL) for _ in range(3))
    leases = {lease.job_id: lease for lease in leased(outbox)}
    outbox.settle(leases[told], an_attempt())
    outbox.settle(leases[untold], an_attempt(datetime.now(UTC) + timedelta(hours=1)))
    for job in (told, untold, under_way):
        store.delete(job)
        store.forget_objects(job)  # as the janitor does, once the storage has deleted its files
    store.forget_owners()  # and this
    assert not outbox.settle(leases[under_way], an_attempt())
    assert text_client.keys() == []


def test_the_longest_due_come_first_and_no_target_has_more_than_its_share(
    ended: Callable[[str], str], outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "PAGE", 5)
    hog = [ended("https://slow.example.com/hook") for _ in range(12)]
    other = ended("https://fast.example.com/hook")
    port = ended("https://slow.example.com:8443/hook")

    found = leased(outbox, per_target=2)
    assert [lease.job_id for lease in found] == [*hog[:2], other, port]
    assert leased(outbox, per_target=2, under_way=found) == []
    assert [lease.job_id for lease in leased(outbox, per_target=2, under_way=found[1:])] == [hog[2]]
    assert [lease.job_id for lease in leased(outbox, limit=3)] == hog[3:6]
    assert [lease.job_id for lease in leased(outbox)] == hog[6:]


def test_two_owners_with_one_target_do_not_share_its_share(store: JobStore, make_job: MakeJob, outbox: Outbox) -> None:
    jobs = [make_job(URL, owner=owner).id for owner in ("anna", "anna", "bob")]
    for job in jobs:
        store.cancel(job)
    assert [lease.job_id for lease in leased(outbox, per_target=1)] == [jobs[0], jobs[2]]


def test_no_owner_has_more_than_its_share_however_many_targets_it_has(
    store: JobStore, make_job: MakeJob, outbox: Outbox
) -> None:
    jobs = [make_job(f"https://slow{number}.example.com/hook", owner="anna").id for number in range(5)]
    jobs.append(make_job(URL, owner="bob").id)
    for job in jobs:
        store.cancel(job)
    found = leased(outbox, per_owner=2)
    assert [(lease.job_id, lease.owner) for lease in found] == [(jobs[0], "anna"), (jobs[1], "anna"), (jobs[5], "bob")]
    assert leased(outbox, per_owner=2, under_way=found) == []
    assert [lease.job_id for lease in leased(outbox, per_owner=2, under_way=found[1:])] == [jobs[2]]


def test_overdue_is_what_is_due_and_in_nobodys_hands(outbox: Outbox, store: JobStore, make_job: MakeJob) -> None:
    assert outbox.overdue(datetime.now(UTC)) == Overdue(events=0, oldest_seconds=None)
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    for minutes in (0, 2):
        then = moment + timedelta(minutes=minutes)
        JobStore(store._redis, now=lambda then=then: then).cancel(make_job(URL).id)
    assert outbox.overdue(moment - timedelta(seconds=1)).events == 0
    assert outbox.overdue(moment + timedelta(minutes=1)) == Overdue(events=1, oldest_seconds=60.0)
    later = moment + timedelta(minutes=5)
    assert outbox.overdue(later) == Overdue(events=2, oldest_seconds=300.0)

    (lease,) = outbox.lease(later, 60, limit=1, per_target=1, per_owner=1)
    assert outbox.overdue(later) == Overdue(events=1, oldest_seconds=180.0)
    assert outbox.settle(lease, an_attempt(again=later + timedelta(hours=1)))
    assert outbox.overdue(later + timedelta(minutes=30)) == Overdue(events=1, oldest_seconds=1980.0)
    assert outbox.overdue(later + timedelta(hours=1, minutes=1)).events == 2  # what failed is due again, too
