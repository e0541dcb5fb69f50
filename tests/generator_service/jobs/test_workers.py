"""Who is at work, told through a real Valkey."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import pytest
import redis

from generator_service.jobs.workers import Heartbeat, WorkerInfo, WorkerRegistry
from shared.errors import Unavailable

WaitUntil = Callable[..., None]

STARTED = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLANNER = WorkerInfo(name="plan-1", kind="plan", started_at=STARTED)
RENDERER = WorkerInfo(name="render-1", kind="render", backbone="emoji-world", device="cpu", started_at=STARTED)


@pytest.fixture
def registry(text_client: redis.Redis) -> WorkerRegistry:
    return WorkerRegistry(text_client, heartbeat_seconds=0.1)


def test_nobody_is_at_work(registry: WorkerRegistry) -> None:
    assert registry.alive() == ()


def test_workers_by_name(registry: WorkerRegistry) -> None:
    registry.beat(RENDERER)
    registry.beat(PLANNER)
    assert registry.alive() == (PLANNER, RENDERER)


def test_a_beat_is_good_for_three(text_client: redis.Redis) -> None:
    WorkerRegistry(text_client, heartbeat_seconds=5.0).beat(PLANNER)
    assert 14_000 < text_client.pttl("worker:plan-1") <= 15_000


def test_a_silent_worker_is_forgotten_and_leaves_nothing(
    registry: WorkerRegistry, text_client: redis.Redis, wait_until: WaitUntil
) -> None:
    registry.beat(PLANNER)
    assert registry.alive() == (PLANNER,)
    wait_until(lambda: registry.alive() == ())
    assert text_client.keys() == []


def test_a_worker_thought_silent_is_back_with_its_next_beat(registry: WorkerRegistry, text_client: redis.Redis) -> None:
    registry.beat(PLANNER)
    text_client.delete("worker:plan-1")
    assert registry.alive() == ()
    registry.beat(PLANNER)
    assert registry.alive() == (PLANNER,)


def test_the_first_beat_comes_before_the_block_and_the_end_takes_all_away(
    text_client: redis.Redis,
) -> None:
    registry = WorkerRegistry(text_client, heartbeat_seconds=60)
    with Heartbeat(registry, RENDERER):
        assert registry.alive() == (RENDERER,)
    assert text_client.keys() == []


def test_it_beats_while_the_main_thread_is_busy(text_client: redis.Redis) -> None:
    registry = WorkerRegistry(text_client, heartbeat_seconds=0.3)
    with Heartbeat(registry, RENDERER):
        deadline = time.monotonic() + 2 * 3 * registry.heartbeat_seconds
        while time.monotonic() < deadline:  # two lifetimes of a beat
            assert text_client.exists("worker:render-1")


def test_the_job_in_hand_is_told_at_once(text_client: redis.Redis) -> None:
    registry = WorkerRegistry(text_client, heartbeat_seconds=60)

    def jobs() -> list[str | None]:
        return [worker.job for worker in registry.alive()]

    with Heartbeat(registry, RENDERER) as heartbeat:
        assert jobs() == [None]
        with heartbeat.working_on("abc"):
            assert jobs() == ["abc"]
        assert jobs() == [None]
        with pytest.raises(KeyError), heartbeat.working_on("def"):
            raise KeyError
        assert jobs() == [None]


def test_a_worker_does_not_start_without_redis(no_redis: redis.Redis) -> None:
    heartbeat = Heartbeat(WorkerRegistry(no_redis, heartbeat_seconds=1), PLANNER)
    with pytest.raises(Unavailable), heartbeat:
        pytest.fail("the block must not run")


@pytest.mark.parametrize("trouble", [Unavailable("Redis does not answer"), ValueError("anything")])
def test_whatever_happens_to_a_beat_is_outlived(
    trouble: Exception, text_client: redis.Redis, wait_until: WaitUntil
) -> None:
    """The first beat arrives, the next three are lost, then all is well again."""
    outcomes: list[bool] = []

    class Flaky(WorkerRegistry):
        def beat(self, info: WorkerInfo) -> None:
            outcomes.append(len(outcomes) not in (1, 2, 3))
            if not outcomes[-1]:
                text_client.flushall()
                raise trouble
            super().beat(info)

    registry = Flaky(text_client, heartbeat_seconds=0.05)
    with Heartbeat(registry, RENDERER):
        wait_until(lambda: len(outcomes) > 4)
        wait_until(lambda: registry.alive() == (RENDERER,))
    assert outcomes[:5] == [True, False, False, False, True]


def test_a_redis_that_takes_no_writes_is_outlived(
    text_client: redis.Redis, refusing_writes: Callable[[], AbstractContextManager[None]], wait_until: WaitUntil
) -> None:
    registry = WorkerRegistry(text_client, heartbeat_seconds=0.05)
    with Heartbeat(registry, RENDERER) as heartbeat:
        assert heartbeat.is_heard()
        with refusing_writes():
            wait_until(lambda: text_client.get("worker:render-1") is None)
            wait_until(lambda: not heartbeat.is_heard())
            with pytest.raises(Unavailable, match="takes no writes"):
                registry.beat(RENDERER)
        wait_until(lambda: registry.alive() == (RENDERER,) and heartbeat.is_heard())


def test_redis_is_down(no_redis: redis.Redis) -> None:
    registry = WorkerRegistry(no_redis, heartbeat_seconds=1)
    for call in (registry.alive, lambda: registry.beat(PLANNER), lambda: registry.forget("plan-1")):
        with pytest.raises(Unavailable):
            call()


def test_what_a_newer_version_says_of_its_worker_blinds_nobody(
    registry: WorkerRegistry, text_client: redis.Redis
) -> None:
    """One field more is passed over; a record that cannot be read hides no other."""
    for info in (PLANNER, RENDERER):
        registry.beat(info)
    registry.beat(PLANNER.model_copy(update={"name": "plan-2"}))
    newer = json.loads(text_client.get("worker:plan-1")) | {"colour": "red"}
    text_client.set("worker:plan-1", json.dumps(newer))
    text_client.set("worker:plan-2", '{"kind": "of a newer version"}')
    assert registry.alive() == (PLANNER, RENDERER)
