"""Job records to play with, and clients of the real Valkey."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
from pydantic import SecretStr

from deploy.servers import free_ports
from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.request import RenderSettings
from generator_service.jobs.connection import connect
from generator_service.jobs.record import JobRecord

BIRTH = datetime(2026, 3, 1, 12, tzinfo=UTC)

SETTINGS = RenderSettings(
    backbone="emoji-world", seed=7, steps=4, frames=9, width=96, height=64, fps=8, guidance_scale=3.0
)

MakeRecord = Callable[..., JobRecord]
"""A new queued job; every job is a second younger than the one before."""


@pytest.fixture
def no_redis() -> Iterator[redis.Redis]:
    """A client of a Redis that is not there."""
    url = SecretStr(f"redis://127.0.0.1:{free_ports(1)[0]}/0")
    with connect(url, decode=True) as client:
        yield client


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
            "prompt": "a red car drives to the right",
            "planner": "auto",
            "settings": SETTINGS,
            "metadata": {"order": "4711"},
            "created_at": birth,
            "updated_at": birth,
        }
        return JobRecord.model_validate(values | changes)

    return make
