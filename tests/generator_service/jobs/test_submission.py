"""Who is let in, and which job a key makes, in the real Valkey, whose clock it goes by."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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
    UNMEASURED_SECONDS,
    Created,
    IdempotencyKey,
    Limits,
    MadeBefore,
    Quota,
    Submissions,
    fingerprint,
)
from shared.errors import Conflict, KeyReused, QueueFull, TooFast, TooManyUnfinished, Unavailable
from shared.plan import Plan

MakeRecord = Callable[..., JobRecord]
Start = Callable[..., JobRecord]

T = TypeVar("T")

SLOW = 0.001
"""Jobs a second: no test takes so long that one more is let in."""
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
        self,
        record: JobRecord,
        plan: Plan | None = None,
        key: IdempotencyKey | None = None,
        admitted: Quota | None = None,
    ) -> Created | MadeBefore:
        return self._run(lambda submissions: submissions.submit(record, plan, key, admitted))

    def submit_at_once(self, records: list[JobRecord], key: IdempotencyKey | None = None) -> list[Created | MadeBefore]:
        return self._run(
            lambda submissions: asyncio.gather(*(submissions.submit(record, None, key) for record in records))
        )

    def admit(self, record: JobRecord, key: IdempotencyKey | None = None) -> Quota | MadeBefore:
        return self._run(lambda submissions: submissions.admit(record, key))


MakeGate = Callable[..., Gate]


@pytest.fixture
def gate(redis_url: str) -> MakeGate:
    def gate(*, queued: int = 100, unfinished: int = 100, rate: float = 100.0, burst: int = 100) -> Gate:
        return Gate(redis_url, Limits(queued, unfinished, rate, burst))

    return gate


def place(answer: Created | MadeBefore) -> int | None:
    assert isinstance(answer, Created)
    return answer.position


def left(answer: Created | MadeBefore) -> int | None:
    assert isinstance(answer, Created)
    return answer.quota.left


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
    gate(burst=1, rate=SLOW).submit(record)
    again = gate(burst=1, rate=SLOW).submit(record)  # its answer was lost
    assert (place(again), left(again)) == (0, None)
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
    assert sum(store.counts().values()) == store.waiting()["plan"] == 1


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
    with pytest.raises(QueueFull):
        gate(queued=5).submit_at_once([make_record() for _ in range(6)])


def test_an_owner_may_burst_and_then_goes_by_the_rate(gate: MakeGate, make_record: MakeRecord) -> None:
    slow = gate(rate=SLOW, burst=3)
    answers = [slow.submit(make_record(owner="ada")) for _ in range(3)]
    assert answers == [Created(number, Quota(limit=3, seconds=3000, left=2 - number)) for number in range(3)]
    with pytest.raises(TooFast, match=r"'ada' may submit 0\.001 jobs a second, and 3 at once") as caught:
        slow.submit(make_record(owner="ada"))
    assert caught.value.retry_after in (999, 1000)
    assert left(slow.submit(make_record(owner="bob"))) == 2


def test_what_is_refused_changes_nothing(gate: MakeGate, make_record: MakeRecord, text_client: redis.Redis) -> None:
    slow = gate(rate=SLOW, burst=1)
    slow.submit(make_record())
    before = {key: text_client.dump(key) for key in text_client.keys("*")}
    for refused in (slow.submit, slow.admit):
        with pytest.raises(TooFast):
            refused(make_record(), key=CAT)
    assert {key: text_client.dump(key) for key in text_client.keys("*")} == before


def test_who_is_admitted_first_counts_once_and_leaves_nothing_but_that(
    gate: MakeGate, make_record: MakeRecord, text_client: redis.Redis
) -> None:
    slow = gate(rate=SLOW, burst=2)
    admitted = slow.admit(make_record(), CAT)
    assert isinstance(admitted, Quota)
    assert (admitted.left, text_client.keys("*")) == (1, ["rate:anyone"])
    assert left(slow.submit(make_record(), None, CAT, admitted)) == 1
    assert left(slow.submit(make_record())) == 0
    with pytest.raises(QueueFull):
        gate(queued=2).submit(make_record(), None, None, admitted)


def test_time_gives_the_burst_back(gate: MakeGate, make_record: MakeRecord, text_client: redis.Redis) -> None:
    slow = gate(rate=SLOW, burst=3)
    for _ in range(3):
        slow.submit(make_record())
    used_up = float(text_client.get("rate:anyone"))
    assert 2_900_000 < text_client.pttl("rate:anyone") <= 3_000_000
    text_client.set("rate:anyone", used_up - 1_500_000)  # 1500 s later: one and a half of a job
    assert left(slow.submit(make_record())) == 0
    text_client.set("rate:anyone", used_up - 9_000_000)  # no more than the burst is ever saved up
    assert left(slow.submit(make_record())) == 2


# one job for each key


def test_the_first_makes_the_job_and_the_others_get_it(
    gate: MakeGate, make_record: MakeRecord, store: JobStore
) -> None:
    first = make_record()
    assert place(gate(burst=1, rate=SLOW).submit(first, key=CAT)) == 0
    for ask in (gate(burst=1, rate=SLOW).submit, gate(burst=1, rate=SLOW).admit):  # whatever the limits
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
    (name,) = text_client.keys("idempotency:*")
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
    gate = Gate(f"redis://127.0.0.1:{free_ports(1)[0]}/0", Limits(1, 1, 1.0, 1))
    with pytest.raises(Unavailable):
        gate.submit(make_record())
