"""Job records to play with, and clients of the real Valkey."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
from pydantic import SecretStr

from deploy.servers import free_ports
from generator_service.jobs.connection import connect
from generator_service.jobs.record import JobRecord
from generator_service.jobs.states import JobStatus, Stage
from generator_service.jobs.store import JobStore
from generator_service.request import RenderSettings
from shared.geometry import Box
from shared.motion_graph import Instance, MotionGraph, MotionLabel
from shared.plan import Phase, Plan, Track

BIRTH = datetime(2026, 3, 1, 12, tzinfo=UTC)

SETTINGS = RenderSettings(
    backbone="emoji-world", seed=7, steps=4, frames=9, width=64, height=48, fps=8, guidance_scale=3.0
)

MakeRecord = Callable[..., JobRecord]
"""A new queued job; every job is a second younger than the one before."""


@pytest.fixture
def text_client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(SecretStr(redis_url), decode=True) as client:
        yield client


@pytest.fixture
def raw_client(redis_url: str) -> Iterator[redis.Redis]:
    with connect(SecretStr(redis_url), decode=False) as client:
        yield client


@pytest.fixture
def no_redis() -> Iterator[redis.Redis]:
    """A client of a Redis that is not there."""
    url = SecretStr(f"redis://127.0.0.1:{free_ports(1)[0]}/0")
    with connect(url, decode=True) as client:
        yield client


@pytest.fixture
def store(text_client: redis.Redis) -> JobStore:
    return JobStore(text_client)


@pytest.fixture
def make_record() -> MakeRecord:
    numbers = itertools.count(1)

    def make(**changes: object) -> JobRecord:
        number = next(numbers)
        birth = BIRTH + timedelta(seconds=number)
        values: dict[str, object] = {
            "id": f"{number:032x}",
            "status": JobStatus.QUEUED,
            "stage": Stage.PLANNING,
            "steps": SETTINGS.steps,
            "prompt": "a red car drives to the right",
            "planner": "auto",
            "settings": SETTINGS,
            "metadata": {"order": "4711"},
            "created_at": birth,
            "updated_at": birth,
        }
        return JobRecord.model_validate(values | changes)

    return make


@pytest.fixture(scope="session")
def plan() -> Plan:
    car = Instance(id="car", name="red car", description="a red car in profile", label=MotionLabel.RIGID)
    boxes = tuple(Box.around(0.2 + 0.05 * frame, 0.5, 0.2, 0.3) for frame in range(SETTINGS.frames))
    track = Track(instance="car", phases=(Phase(label=MotionLabel.RIGID, start=0, end=len(boxes) - 1),), boxes=boxes)
    return Plan(
        prompt="a red car drives to the right",
        graph=MotionGraph(instances=(car,)),
        background="a street",
        tracks=(track,),
        depth_order=("car",),
    )
