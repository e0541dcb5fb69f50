"""Who is let in, and which job a key makes, in the real Valkey, whose clock it goes by."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest
import redis
from pydantic import SecretStr
from redis.asyncio.connection import Connection

from deploy.servers import free_ports
from generator_service.contract.job import Stage
from generator_service.contract.request import JobRequest
from generator_service.jobs.connection import connect_async
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.submission import (
    KEPT_SECONDS,
    SHARE,
    UNMEASURED_SECONDS,
    Created,
    IdempotencyKey,
    Limits,
    MadeBefore,
    Submissions,
    fingerprint,
)
from shared.errors import Conflict, KeyReused, QueueFull, TooManyUnfinished, TooMuchKept, Unavailable
from shared.plan import Plan

MakeRecord = Callable[..., JobRecord]
Start = Callable[..., JobRecord]

T = TypeVar("T")

WIDE = Limits(queued=100, unfinished=100, kept=100, bytes=10**6)
CAT, DOG = IdempotencyKey("k", "cat"), IdempotencyKey("k", "dog")


@dataclass(frozen=True)
class Gate:
    url: str
    limits: Limits

    def _run(self, call: Callable[[Submissions], Awaitable[T]]) -> T:
        async def run() -> T:
            async with connect_async(SecretStr(self.url)) as client:
                return await call(Submissions(client, self.limits))

        return asyncio.run(run())

    def submit(
        self, record: JobRecord, plan: Plan | None = None, key: IdempotencyKey | None = None
    ) -> Created | MadeBefore:
        return self._run(lambda submissions: submissions.submit(record, plan, key))

    def submit_at_once(self, records: list[JobRecord], key: IdempotencyKey | None = None) -> list[object]:
        """Their answers and refusals, when all have one."""
        return self._run(
            lambda submissions: asyncio.gather(
                *(submissions.submit(record, None, key) for record in records), return_exceptions=True
            )
        )

    def find(self, record: JobRecord, key: IdempotencyKey | None = None) -> MadeBefore | None:
        return self._run(lambda submissions: submissions.find(record, key))


MakeGate = Callable[..., Gate]


@pytest.fixture
def gate(redis_url: str) -> MakeGate:
    def gate(**limits: float) -> Gate:
        return Gate(redis_url, replace(WIDE, **limits))

    return gate


def place(answer: Created | MadeBefore) -> int | None:
    assert isinstance(answer, Created)
    return answer.position


# a job that waits


def test_a_submitted_job_is_kept_and_waits(
    gate: MakeGate, make_record: MakeRecord, store: JobStore, plan: Plan
) -> None:
    planned, mine = make_record(stage=Stage.SAMPLING), make_record()
    assert place(gate().submit(planned, plan)) == 0
    assert place(gate().submit(mine)) == 0
    assert place(gate().submit(make_record())) == 1
    assert (store.get(planned.id), store.plan(planned.id)) == (planned, plan)
    assert (store.get(mine.id), store.plan(mine.id)) == (mine, None)
    assert store.start("plan", worker="w1") == store.get(mine.id)


def test_the_same_record_is_submitted_once(
    gate: MakeGate, make_record: MakeRecord, store: JobStore, start: Start
) -> None:
    record = make_record()
    gate(kept=1).submit(record)
    assert place(gate(kept=1).submit(record)) == 0  # its answer was lost
    start(record.id)
    with pytest.raises(Conflict):
        gate().submit(record.model_copy(update={"created_at": record.updated_at.replace(microsecond=1)}))
    assert store.get(record.id).worker == "w1"


def test_an_answer_lost_in_transit_is_no_other_job(
    gate: MakeGate, make_record: MakeRecord, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks after Redis has made the job and before it could say so."""
    read = Connection.read_response
    lost: list[object] = []

    async def losing(self: Connection, *arguments: object, **options: object) -> object:
        answer = await read(self, *arguments, **options)
        if not lost and isinstance(answer, list) and answer[0] == "created":
            lost.append(answer)
            raise redis.ConnectionError("the answer is lost")
        return answer

    monkeypatch.setattr(Connection, "read_response", losing)
    answer = gate().submit(make_record(), key=CAT)
    assert lost
    assert isinstance(answer, Created)
    assert sum(store.counts().values()) == store.count_waiting()["plan"] == 1


# limits


def test_a_full_queue(gate: MakeGate, make_record: MakeRecord) -> None:
    for _ in range(2):
        gate(queued=2).submit(make_record())
    with pytest.raises(QueueFull, match="'plan' holds 2 jobs, as many as it may"):
        gate(queued=2).submit(make_record())
    gate(queued=2).submit(make_record(stage=Stage.SAMPLING))  # the render queue is empty


def test_a_job_to_be_planned_needs_room_among_the_renders_too(gate: MakeGate, make_record: MakeRecord) -> None:
    gate(queued=1).submit(make_record(stage=Stage.SAMPLING))
    for stage in (Stage.PLANNING, Stage.SAMPLING):
        with pytest.raises(QueueFull, match=r"'render\.emoji-world' holds 1"):
            gate(queued=1).submit(make_record(stage=stage))
    other = make_record(stage=Stage.SAMPLING)
    settings = other.settings.model_copy(update={"backbone": "cogvideox-2b"})
    gate(queued=1).submit(other.model_copy(update={"settings": settings}))  # each backbone has a queue of its own


def test_the_wait_is_what_was_measured(gate: MakeGate, make_record: MakeRecord, text_client: redis.Redis) -> None:
    gate().submit(make_record())
    with pytest.raises(QueueFull, match="the wait is a guess") as caught:
        gate(queued=1).submit(make_record())
    assert caught.value.retry_after == UNMEASURED_SECONDS
    now = text_client.time()[0]
    text_client.rpush("taken:plan", now - 1, now - 36)  # two in 36 seconds
    with pytest.raises(QueueFull, match=r"one leaves it every 18\.\d s") as caught:
        gate(queued=1).submit(make_record())
    assert caught.value.retry_after in (18, 19)


def test_work_makes_room(gate: MakeGate, make_record: MakeRecord, store: JobStore) -> None:
    gate(queued=1).submit(make_record())
    store.start("plan", worker="w1")
    gate(queued=1).submit(make_record())


def test_an_owner_has_so_many_unfinished_jobs(
    gate: MakeGate, make_record: MakeRecord, store: JobStore, start: Start
) -> None:
    queued, running, canceling = (make_record(owner="ada") for _ in range(3))
    for record in (queued, running, canceling):
        gate(unfinished=3).submit(record)
    for record in (running, canceling):
        start(record.id)
    store.cancel(canceling.id)
    with pytest.raises(TooManyUnfinished, match="'ada' has 3 unfinished jobs, of 3 it may have"):
        gate(unfinished=3).submit(make_record(owner="ada"))
    gate(unfinished=3).submit(make_record(owner="bob"))
    store.cancel(queued.id)
    gate(unfinished=3).submit(make_record(owner="ada"))


def test_the_limits_hold_for_those_who_submit_at_the_same_moment(gate: MakeGate, make_record: MakeRecord) -> None:
    answers = gate(queued=5).submit_at_once([make_record() for _ in range(6)])
    assert Counter(map(type, answers)) == {Created: 5, QueueFull: 1}


def test_what_is_refused_changes_nothing(gate: MakeGate, make_record: MakeRecord, text_client: redis.Redis) -> None:
    gate().submit(make_record())
    before = {key: text_client.dump(key) for key in text_client.keys("*")}
    for limits, error in (({"queued": 1}, QueueFull), ({"kept": 1}, TooMuchKept), ({"bytes": 1}, TooMuchKept)):
        for refused in (gate(**limits).submit, gate(**limits).find):
            with pytest.raises(error):
                refused(make_record(), key=CAT)
    assert gate().find(make_record(), CAT) is None
    assert {key: text_client.dump(key) for key in text_client.keys("*")} == before


# what is kept


def test_an_owner_has_so_many_jobs_until_some_are_deleted(
    gate: MakeGate, make_record: MakeRecord, store: JobStore
) -> None:
    ended, queued = make_record(owner="ada"), make_record(owner="ada")
    for record in (ended, queued):
        gate(kept=2).submit(record)
    store.cancel(ended.id)
    with pytest.raises(TooMuchKept, match="'ada' has 2 jobs here, as many as it may: delete some"):
        gate(kept=2).submit(make_record(owner="ada"))
    gate(kept=2).submit(make_record(owner="bob"))
    store.delete(ended.id)
    gate(kept=2).submit(make_record(owner="ada"))


def test_an_owners_bytes_are_those_of_its_requests_and_plans(
    gate: MakeGate, make_record: MakeRecord, store: JobStore, start: Start, plan: Plan, text_client: redis.Redis
) -> None:
    def taken() -> int:
        return int(text_client.hget("jobs:bytes", "ada") or 0)

    size = len(plan.model_dump_json().encode())
    given, planned = make_record(owner="ada", stage=Stage.SAMPLING), make_record(owner="ada")
    gate().submit(given, plan)
    requests = taken() - size
    assert 500 < requests < 10_000
    with pytest.raises(TooMuchKept, match="bytes of requests and plans here"):
        gate(bytes=taken() + size).submit(make_record(owner="ada"), plan)
    gate().submit(planned)
    start(planned.id)
    before = taken()
    store.hand_over(planned.id, plan, worker="w1", progress=0.1, seconds=1.0)
    assert taken() == before + size
    for record in (given, planned):  # nobody will draw them any more
        store.cancel(record.id)
        assert store.plan(record.id) is None
    assert taken() == before - size
    store.delete(given.id)
    text_client.hset(f"job:{planned.id}", "status", "broken")
    store.drop(planned.id)
    assert taken() == 0


def test_an_owner_has_so_many_idempotency_keys_though_the_jobs_are_deleted(
    gate: MakeGate, make_record: MakeRecord, store: JobStore, text_client: redis.Redis
) -> None:
    for key in ("a", "b"):
        record = make_record()
        gate(kept=2).submit(record, None, IdempotencyKey(key, "cat"))
        store.cancel(record.id)
        store.delete(record.id)
    gate(kept=2).submit(make_record())  # without one
    with pytest.raises(TooMuchKept, match="has used 2 Idempotency-Keys within 24 hours"):
        gate(kept=2).submit(make_record(), None, CAT)
    (first, _), *_ = text_client.zrange("idempotency:anyone", 0, 0, withscores=True)
    text_client.zadd("idempotency:anyone", {first: 1})  # a day later
    gate(kept=2).submit(make_record(), None, CAT)
    assert text_client.zcard("idempotency:anyone") == 2


def test_no_job_is_taken_in_where_redis_is_full_but_for_the_others(
    gate: MakeGate, make_record: MakeRecord, store: JobStore, start: Start, plan: Plan, text_client: redis.Redis
) -> None:
    record = make_record()
    gate().submit(record)
    text_client.config_set("maxmemory", round(text_client.info("memory")["used_memory"] / (SHARE + 0.02)))
    try:
        with pytest.raises(Unavailable, match="Redis is full") as caught:
            gate().submit(make_record())
        assert caught.value.retry_after == UNMEASURED_SECONDS
        start(record.id)
        store.hand_over(record.id, plan, worker="w1", progress=0.1, seconds=1.0)
        store.cancel(record.id)
    finally:
        text_client.config_set("maxmemory", 0)


# one job for each key


def test_the_first_makes_the_job_and_the_others_get_it(
    gate: MakeGate, make_record: MakeRecord, store: JobStore
) -> None:
    first = make_record()
    assert place(gate(kept=1).submit(first, key=CAT)) == 0
    for ask in (gate(kept=1).submit, gate(kept=1).find):  # whatever the limits
        assert ask(make_record(), key=CAT) == MadeBefore(first.id)
    assert [record.id for record in store.list(limit=9).jobs] == [first.id]


def test_of_many_at_once_one_makes_it(gate: MakeGate, make_record: MakeRecord) -> None:
    answers = gate().submit_at_once([make_record() for _ in range(64)], key=CAT)
    assert sum(isinstance(answer, Created) for answer in answers) == 1
    assert len({answer for answer in answers if isinstance(answer, MadeBefore)}) == 1


def test_another_request_may_not_use_the_key(gate: MakeGate, make_record: MakeRecord) -> None:
    gate().submit(make_record(), key=CAT)
    with pytest.raises(KeyReused):
        gate().submit(make_record(), key=DOG)


def test_each_owner_has_keys_of_its_own(gate: MakeGate, make_record: MakeRecord) -> None:
    answers = [
        gate().submit(make_record(owner=owner), key=IdempotencyKey(text, owner + text))
        for owner, text in (("ada", "k"), ("bob", "k"), ("ada", "l"))
    ]
    assert all(isinstance(answer, Created) for answer in answers)


def test_a_key_makes_no_other_job_though_its_own_is_deleted(
    gate: MakeGate, make_record: MakeRecord, store: JobStore
) -> None:
    first = make_record()
    gate().submit(first, key=CAT)
    store.cancel(first.id)
    store.delete(first.id)
    assert gate().submit(make_record(), key=CAT) == MadeBefore(first.id)


def test_a_key_is_kept_for_a_day_from_its_first_use(
    gate: MakeGate, make_record: MakeRecord, text_client: redis.Redis
) -> None:
    gate().submit(make_record(), key=CAT)
    (name,) = text_client.keys("idempotency:*:*")
    assert KEPT_SECONDS - 5 < text_client.ttl(name) <= KEPT_SECONDS
    text_client.expire(name, 100)
    gate().submit(make_record(), key=CAT)
    assert text_client.ttl(name) <= 100


def test_the_same_request_however_it_is_written() -> None:
    cat = JobRequest(prompt="a yellow cat", metadata={"a": "1", "b": "2"})
    texts = (
        '{"prompt": "a yellow cat", "metadata": {"a": "1", "b": "2"}}',
        '{"metadata":{"b":"2","a":"1"},"planner":"auto","seed":null,"prompt":"a yellow c\\u0061t"}',
    )
    assert {fingerprint(JobRequest.model_validate_json(text)) for text in texts} == {fingerprint(cat)}
    assert fingerprint(cat) != fingerprint(cat.model_copy(update={"priority": "low"}))


def test_redis_is_down(make_record: MakeRecord) -> None:
    gate = Gate(f"redis://127.0.0.1:{free_ports(1)[0]}/0", WIDE)
    with pytest.raises(Unavailable):
        gate.submit(make_record())
