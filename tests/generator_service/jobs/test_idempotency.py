"""Who may make a key's job, in the real Valkey."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from generator_service.jobs.idempotency import KEPT_SECONDS, Idempotency, fingerprint
from generator_service.request import JobRequest
from shared.errors import KeyReused, StillSubmitting, Unavailable

CAT = JobRequest(prompt="a yellow cat", metadata={"a": "1", "b": "2"})
DOG = JobRequest(prompt="a brown dog")


@pytest.fixture
def keys(text_client: redis.Redis) -> Idempotency:
    return Idempotency(text_client)


@pytest.fixture
def short(text_client: redis.Redis) -> Idempotency:
    """Its holders are taken for dead at once."""
    return Idempotency(text_client, lease_seconds=0)


def test_the_first_makes_the_job_and_the_others_get_it(keys: Idempotency) -> None:
    first = keys.reserve("ada", "k", CAT, "job-1")
    assert (first.state, first.job_id) == ("new", "job-1")
    keys.settle(first)
    second = keys.reserve("ada", "k", CAT, "job-2")
    assert (second.state, second.job_id) == ("made", "job-1")


def test_meanwhile_the_others_wait(keys: Idempotency) -> None:
    keys.reserve("ada", "k", CAT, "job-1")
    with pytest.raises(StillSubmitting) as caught:
        keys.reserve("ada", "k", CAT, "job-2")
    assert caught.value.retry_after == 1


def test_of_many_at_once_one_may_make_it(keys: Idempotency) -> None:
    def ask(number: int) -> str:
        try:
            return keys.reserve("ada", "k", CAT, f"job-{number}").state
        except StillSubmitting:
            return "busy"

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))
    assert sorted(set(answers)) == ["busy", "new"]
    assert answers.count("new") == 1


@pytest.mark.parametrize("made", [True, False])
def test_another_request_may_not_use_the_key(keys: Idempotency, made: bool) -> None:
    reservation = keys.reserve("ada", "k", CAT, "job-1")
    if made:
        keys.settle(reservation)
    with pytest.raises(KeyReused):
        keys.reserve("ada", "k", DOG, "job-2")


def test_each_owner_has_keys_of_its_own(keys: Idempotency) -> None:
    keys.settle(keys.reserve("ada", "k", CAT, "job-1"))
    assert keys.reserve("bob", "k", DOG, "job-2").state == "new"
    assert keys.reserve("ada", "l", DOG, "job-3").state == "new"


def test_who_takes_over_from_a_dead_holder_makes_the_same_job(short: Idempotency) -> None:
    short.reserve("ada", "k", CAT, "job-1")
    second = short.reserve("ada", "k", CAT, "job-2")
    assert (second.state, second.job_id) == ("taken over", "job-1")
    short.settle(second)
    assert short.reserve("ada", "k", CAT, "job-3").state == "made"


def test_the_lease_is_short(keys: Idempotency, text_client: redis.Redis) -> None:
    name = keys.reserve("ada", "k", CAT, "job-1").name
    seconds, microseconds = text_client.time()
    left = int(text_client.hget(name, "until")) - seconds * 1000 - microseconds / 1000
    assert 5_000 < left <= 10_000


def test_an_answer_lost_on_its_way_is_no_other_request(keys: Idempotency) -> None:
    """The connection breaks, and the very same reservation is asked for again."""
    keys.reserve("ada", "k", CAT, "job-1")
    again = keys.reserve("ada", "k", CAT, "job-1")
    assert (again.state, again.job_id) == ("taken over", "job-1")


def test_a_refused_job_frees_its_key_for_another_request(keys: Idempotency) -> None:
    keys.free(keys.reserve("ada", "k", CAT, "job-1"))
    again = keys.reserve("ada", "k", DOG, "job-2")
    assert (again.state, again.job_id) == ("new", "job-2")


def test_who_was_taken_for_dead_frees_nothing(short: Idempotency) -> None:
    late = short.reserve("ada", "k", CAT, "job-1")
    short.settle(short.reserve("ada", "k", CAT, "job-2"))
    short.free(late)
    assert short.reserve("ada", "k", CAT, "job-3").state == "made"


def test_a_key_is_kept_for_a_day_from_its_first_use(short: Idempotency, text_client: redis.Redis) -> None:
    reservation = short.reserve("ada", "k", CAT, "job-1")
    assert KEPT_SECONDS - 5 < text_client.ttl(reservation.name) <= KEPT_SECONDS
    text_client.expire(reservation.name, 100)
    short.settle(short.reserve("ada", "k", CAT, "job-2"))
    short.reserve("ada", "k", CAT, "job-3")
    assert text_client.ttl(reservation.name) <= 100


def test_a_key_that_is_gone_is_not_settled_into_one_that_never_goes(
    keys: Idempotency, text_client: redis.Redis
) -> None:
    reservation = keys.reserve("ada", "k", CAT, "job-1")
    text_client.delete(reservation.name)
    keys.settle(reservation)
    assert text_client.keys("*") == []


def test_the_same_request_however_it_is_written() -> None:
    texts = (
        '{"prompt": "a yellow cat", "metadata": {"a": "1", "b": "2"}}',
        '{"metadata":{"b":"2","a":"1"},"planner":"auto","seed":null,"prompt":"a yellow c\\u0061t"}',
    )
    assert {fingerprint(JobRequest.model_validate_json(text)) for text in texts} == {fingerprint(CAT)}
    assert fingerprint(CAT) != fingerprint(CAT.model_copy(update={"priority": "low"}))


def test_redis_is_down(no_redis: redis.Redis) -> None:
    with pytest.raises(Unavailable):
        Idempotency(no_redis).reserve("ada", "k", CAT, "job-1")
