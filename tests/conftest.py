"""The real servers, started once for the whole run; each test gets an empty database and a bucket of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from deploy.servers import RedisServer, S3Server, embedded_s3, embedded_valkey

# Before anything imports torch: OpenMP's threads wait for each other by spinning, unless told otherwise, and where
# something else wants a core of a small machine, that makes renders 100 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with embedded_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with embedded_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def redis_url(valkey: RedisServer) -> Iterator[str]:
    """An empty database of the session's Valkey."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
        yield valkey.url
        client.flushall()


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]
