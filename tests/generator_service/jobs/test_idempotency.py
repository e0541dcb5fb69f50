"""Who may make a key's job, in the real Valkey."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from generator_service.contract.request import JobRequest
from generator_service.jobs.idempotency import KEPT_SECONDS, Idempotency, Reservation, fingerprint
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from shared.errors import KeyReused, StillSubmitting, Unavailable

Make = Callable[[Reservation], None]
CAT = JobRequest(prompt="a yellow cat", metadata={"a": "1", "b": "2"})
DOG = JobRequest(prompt="a brown dog")
JOB_1, JOB_2, JOB_3 = (digit * 32 for digit in "123")


@pytest.fixture
def keys(text_client: redis.Redis) -> Idempotency:
    return Idempotency(text_client)


@pytest.fixture
def make(store: JobStore, make_record: Callable[..., JobRecord]) -> Make:
    """The job of a reservation."""

    def make(reservation: Reservation) -> None:
        store.create(make_record(id=reservation.job_id), None, reservation.name)

    return make


@pytest.fixture
def short(text_client: redis.Redis) -> Idempotency:
    """Its holders are taken for dead at once."""
    return Idempotency(text_client, lease_seconds=0)


def test_the_first_makes_the_job_and_the_others_get_it(keys: Idempotency, make: Make) -> None:
    first = keys.reserve("ada", "k", CAT, JOB_1)
    assert (first.made, first.job_id) == (False, JOB_1)
    make(first)
    second = keys.reserve("ada", "k", CAT, JOB_2)
    assert (second.made, second.job_id) == (True, JOB_1)


def test_meanwhile_the_others_wait(keys: Idempotency) -> None:
    keys.reserve("ada", "k", CAT, JOB_1)
    with pytest.raises(StillSubmitting) as caught:
        keys.reserve("ada", "k", CAT, JOB_2)
    assert caught.value.retry_after == 1


def test_of_many_at_once_one_may_make_it(keys: Idempotency) -> None:
    def ask(number: int) -> str:
        try:
            return "busy" if keys.reserve("ada", "k", CAT, f"{number:032x}").made else "reserved"
        except StillSubmitting:
            return "busy"

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    assert sorted(set(answers)) == ["busy", "reserved"]
    assert answers.count("reserved") == 1


@pytest.mark.parametrize("made", [True, False])
def test_another_request_may_not_use_the_key(keys: Idempotency, made: bool, make: Make) -> None:
    reservation = keys.reserve("ada", "k", CAT, JOB_1)
    if made:
        make(reservation)
    with pytest.raises(KeyReused):
        keys.reserve("ada", "k", DOG, JOB_2)


def test_each_owner_has_keys_of_its_own(keys: Idempotency, make: Make) -> None:
    make(keys.reserve("ada", "k", CAT, JOB_1))
    assert keys.reserve("bob", "k", DOG, JOB_2).job_id == JOB_2
    assert keys.reserve("ada", "l", DOG, JOB_3).job_id == JOB_3


def test_who_takes_over_from_a_dead_holder_makes_the_same_job(short: Idempotency, make: Make) -> None:
    short.reserve("ada", "k", CAT, JOB_1)
    second = short.reserve("ada", "k", CAT, JOB_2)
    assert (second.made, second.job_id) == (False, JOB_1)
    make(second)
    assert short.reserve("ada", "k", CAT, JOB_3).made


def test_the_lease_is_short(keys: Idempotency, text_client: redis.Redis) -> None:
    name = keys.reserve("ada", "k", CAT, JOB_1).name
    seconds, microseconds = text_client.time()
    left = int(text_client.hget(name, "until")) - seconds * 1000 - microseconds / 1000
    assert 5_000 < left <= 10_000


def test_an_answer_lost_on_its_way_is_no_other_request(keys: Idempotency) -> None:
    """The connection breaks, and the very same reservation is asked for again."""
    keys.reserve("ada", "k", CAT, JOB_1)
    again = keys.reserve("ada", "k", CAT, JOB_1)
    assert (again.made, again.job_id) == (False, JOB_1)


def test_a_refused_job_frees_its_key_for_another_request(keys: Idempotency) -> None:
    keys.free(keys.reserve("ada", "k", CAT, JOB_1))
    again = keys.reserve("ada", "k", DOG, JOB_2)
    assert (again.made, again.job_id) == (False, JOB_2)


def test_who_was_taken_for_dead_frees_nothing(short: Idempotency, make: Make) -> None:
    late = short.reserve("ada", "k", CAT, JOB_1)
    make(short.reserve("ada", "k", CAT, JOB_2))
    short.free(late)
    assert short.reserve("ada", "k", CAT, JOB_3).made


def test_who_took_over_and_is_refused_leaves_the_job_to_the_first(
    short: Idempotency, keys: Idempotency, make: Make
) -> None:
    slow = short.reserve("ada", "k", CAT, JOB_1)
    keys.free(keys.reserve("ada", "k", CAT, JOB_2))
    third = keys.reserve("ada", "k", CAT, JOB_3)  # at once
    assert (third.made, third.job_id) == (False, JOB_1)
    keys.free(third)
    make(slow)
    last = keys.reserve("ada", "k", CAT, "4" * 32)
    assert (last.made, last.job_id) == (True, JOB_1)


def test_a_key_is_kept_for_a_day_from_its_first_use(short: Idempotency, text_client: redis.Redis, make: Make) -> None:
    reservation = short.reserve("ada", "k", CAT, JOB_1)
    assert KEPT_SECONDS - 5 < text_client.ttl(reservation.name) <= KEPT_SECONDS
    text_client.expire(reservation.name, 100)
    make(short.reserve("ada", "k", CAT, JOB_2))
    short.reserve("ada", "k", CAT, JOB_3)
    assert text_client.ttl(reservation.name) <= 100


def test_a_key_that_is_gone_does_not_come_back_without_an_end(
    keys: Idempotency, text_client: redis.Redis, make: Make
) -> None:
    reservation = keys.reserve("ada", "k", CAT, JOB_1)
    text_client.delete(reservation.name)
    make(reservation)
    assert text_client.keys("idempotency:*") == []


def test_the_same_request_however_it_is_written() -> None:
    texts = (
        '{"prompt": "a yellow cat", "metadata": {"a": "1", "b": "2"}}',
        '{"metadata":{"b":"2","a":"1"},"planner":"auto","seed":null,"prompt":"a yellow c\\u0061t"}',
    )
    assert {fingerprint(JobRequest.model_validate_json(text)) for text in texts} == {fingerprint(CAT)}
    assert fingerprint(CAT) != fingerprint(CAT.model_copy(update={"priority": "low"}))


def test_redis_is_down(no_redis: redis.Redis) -> None:
    with pytest.raises(Unavailable):
        Idempotency(no_redis).reserve("ada", "k", CAT, JOB_1)
