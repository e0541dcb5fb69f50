"""Keys in a real Valkey: what is kept, what is good, and for how long."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from pydantic import ValidationError

from generator_service.contract.keys import ApiKey
from generator_service.jobs import api_keys
from generator_service.jobs.api_keys import ApiKeys, KeyInfo, Scope
from shared.errors import NotFound, Unauthenticated

BOTH = (Scope.SUBMIT, Scope.READ)
HOUR = timedelta(hours=1)


Verified = Callable[[str], KeyInfo]


@pytest.fixture
def keys(text_client: redis.Redis) -> ApiKeys:
    return ApiKeys(text_client)


def test_a_key_is_known_again(keys: ApiKeys, verified: Verified) -> None:
    key = keys.create("backend", [Scope.SUBMIT, Scope.READ, Scope.READ])
    found = verified(key.text)
    assert (found.id, found.owner, found.scopes, found.expires_at) == (
        key.id,
        "backend",
        (Scope.READ, Scope.SUBMIT),
        None,
    )


def test_only_the_hash_of_a_secret_is_kept(keys: ApiKeys, verified: Verified, text_client: redis.Redis) -> None:
    key = keys.create("backend", BOTH)
    verified(key.text)
    assert set(text_client.keys()) == {f"key:{key.id}", "keys", "keys:used"}
    kept = text_client.get(f"key:{key.id}")
    assert hashlib.sha256(key.secret.encode()).hexdigest() in kept
    everything = f"{kept} {text_client.smembers('keys')} {text_client.hgetall('keys:used')}"
    assert everything.count(key.id) == 3
    assert key.secret not in everything


def test_secrets_are_256_random_bits_and_shown_by_nothing_but_text() -> None:
    keys = [ApiKey.new() for _ in range(8)]
    assert len({key.secret for key in keys}) == len({key.id for key in keys}) == 8
    for key in keys:
        assert len(bytes.fromhex(key.secret)) == 32
        assert key.secret not in repr(key) + str(key)
        assert ApiKey.parse(key.text) == key


def test_another_secret_under_the_same_id_is_not_good(keys: ApiKeys, verified: Verified) -> None:
    mine, other = keys.create("a", BOTH), keys.create("b", BOTH)
    last = "0" if mine.secret[-1] != "0" else "1"
    for secret in (other.secret, mine.secret[:-1] + last, "0" * 64):
        with pytest.raises(Unauthenticated, match="not known here"):
            verified(ApiKey(mine.id, secret).text)


def test_an_unknown_id_is_refused_as_a_wrong_secret_is(keys: ApiKeys, verified: Verified) -> None:
    key = keys.create("a", BOTH)
    details = []
    for stranger in (ApiKey.new(), ApiKey(key.id, ApiKey.new().secret)):
        with pytest.raises(Unauthenticated) as refusal:
            verified(stranger.text)
        details.append(refusal.value.detail)
    assert details[0] == details[1]


def test_an_unknown_id_is_compared_too(keys: ApiKeys, verified: Verified, monkeypatch: pytest.MonkeyPatch) -> None:
    """In constant time, and whether or not there is such a key: the time it takes tells neither."""
    compared: list[tuple[str, str]] = []
    monkeypatch.setattr(api_keys.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or False)
    known = keys.create("a", BOTH)
    for key in (known, ApiKey.new()):
        with pytest.raises(Unauthenticated):
            verified(key.text)
    assert [(len(a), len(b)) for a, b in compared] == [(64, 64), (64, 64)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mfv_",
        "mfv_0123456789ab_",
        f"mfv_0123456789ab_{'0' * 63}",
        f"mfv_0123456789ab_{'0' * 65}",
        f"mfv_0123456789ab_{'0' * 64}\n",
        f"mfv_0123456789AB_{'0' * 64}",
        f"mfv_*_{'0' * 64}",
        f"sk_0123456789ab_{'0' * 64}",
        "mfv_\udcff",
    ],
)
def test_what_cannot_be_a_key_is_not_repeated(text: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        ApiKey.parse(text)
    assert refusal.value.detail == "the key is not of the form mfv_<id>_<secret>"


@pytest.mark.parametrize("owner", ["", "a:b", "jobs*", "Ä", "UPPER", ".hidden", "a b", "a\n", "a" * 65])
def test_an_owner_becomes_part_of_redis_keys_and_has_a_plain_name(keys: ApiKeys, owner: str) -> None:
    with pytest.raises(ValidationError):
        keys.create(owner, BOTH)
    assert keys.all() == ()


def test_a_revoked_key_ends_at_once_and_leaves_nothing(
    keys: ApiKeys, verified: Verified, text_client: redis.Redis
) -> None:
    key = keys.create("a", BOTH)
    verified(key.text)
    keys.revoke(key.id)
    with pytest.raises(Unauthenticated):
        verified(key.text)
    assert text_client.keys() == []
    with pytest.raises(NotFound):
        keys.revoke(key.id)


def test_after_a_rotation_both_are_good_until_the_grace_ends(
    keys: ApiKeys, verified: Verified, text_client: redis.Redis
) -> None:
    old = keys.create("backend", [Scope.ADMIN])
    new = keys.rotate(old.id, HOUR)
    for key in (old, new):
        found = verified(key.text)
        assert (found.owner, found.scopes) == ("backend", (Scope.ADMIN,))
    left = text_client.pttl(f"key:{old.id}")
    assert 3_590_000 < left <= 3_600_000
    assert text_client.pttl(f"key:{new.id}") == -1
    text_client.pexpire(f"key:{old.id}", 0)  # the hour is over
    with pytest.raises(Unauthenticated):
        verified(old.text)
    assert [info.id for info in keys.all()] == [new.id]
    assert text_client.smembers("keys") == {new.id}
    assert text_client.hkeys("keys:used") == [new.id]


def test_without_grace_the_old_key_ends_at_once(keys: ApiKeys, verified: Verified) -> None:
    old = keys.create("backend", BOTH)
    keys.rotate(old.id, timedelta(0))
    with pytest.raises(Unauthenticated):
        verified(old.text)


def test_rotating_again_never_prolongs_a_key(keys: ApiKeys, verified: Verified) -> None:
    old = keys.create("backend", BOTH)
    keys.rotate(old.id, HOUR)
    before = verified(old.text).expires_at
    keys.rotate(old.id, 24 * HOUR)
    assert verified(old.text).expires_at == before
    assert before is not None
    assert before - datetime.now(UTC) <= HOUR


def test_a_key_that_is_unknown_cannot_be_rotated(keys: ApiKeys) -> None:
    with pytest.raises(NotFound):
        keys.rotate("0123456789ab", HOUR)
    assert keys.all() == ()


def test_a_list_tells_who_when_and_no_hash(keys: ApiKeys, verified: Verified) -> None:
    zebra, ant = keys.create("zebra", [Scope.READ]), keys.create("ant", [Scope.SUBMIT])
    assert [info.used_at for info in keys.all()] == [None, None]
    verified(zebra.text)
    listed = keys.all()
    assert [(info.id, info.owner) for info in listed] == [(ant.id, "ant"), (zebra.id, "zebra")]
    assert listed[0].used_at is None
    assert listed[1].used_at is not None
    assert abs(listed[1].used_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert ApiKey.parse(zebra.text).hash not in "".join(info.model_dump_json() for info in listed)


def test_a_key_that_is_made_and_used_while_they_are_listed_stays(
    keys: ApiKeys, verified: Verified, text_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [keys.create("a", BOTH).id]

    def meanwhile(read: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*arguments: Any) -> Any:
            found = read(*arguments)
            key = keys.create("a", BOTH)
            verified(key.text)
            made.append(key.id)
            return found

        return reading

    with monkeypatch.context() as patch:
        for name in ("hgetall", "smembers", "mget"):
            patch.setattr(text_client, name, meanwhile(getattr(text_client, name)))
        keys.all()
    assert len(made) == 4
    assert {info.id for info in keys.all()} == set(made)
    assert set(text_client.hkeys("keys:used")) == set(made[1:])


def test_a_redis_that_takes_no_writes_still_knows_its_keys(
    keys: ApiKeys, verified: Verified, refusing_writes: Callable[[], AbstractContextManager[None]]
) -> None:
    key = keys.create("a", BOTH)
    with refusing_writes():
        assert verified(key.text).owner == "a"
