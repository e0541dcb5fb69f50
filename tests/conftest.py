"""The real servers, started once for the whole run; each test gets an empty database and a bucket of its own."""

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import cast

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
def redis_url(valkey: RedisServer, allowed_keys: list[str]) -> Iterator[str]:
    """An empty database of the session's Valkey; in the end it may hold no keys but those the services may reach."""
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        client.flushall()
        yield valkey.url
        names = cast(list[str], client.keys())
        client.flushall()
    strange = [name for name in names if not any(fnmatch(name, pattern) for pattern in allowed_keys)]
    assert not strange, "deploy/valkey/users.acl keeps the services from these keys"


@pytest.fixture(scope="session")
def allowed_keys(repository: Path) -> list[str]:
    """The patterns of the keys that the services may reach where Valkey knows who asks."""
    return re.findall(r"~(\S+)", (repository / "deploy" / "valkey" / "users.acl").read_text())


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]
