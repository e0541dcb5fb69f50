"""A Redis that takes connections and says nothing: worse than one that is gone, since whoever asks it waits."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from deploy.servers import embedded_valkey
from generator_service.jobs.api_keys import ApiKeys, Scope
from generator_service.jobs.connection import SERVING_SECONDS, connect

SIMULTANEOUS = 60
"""More than the API has threads for, and connections."""
PATIENCE_SECONDS = 10.0
"""The API's own patience twice, for those who waited for a connection or a thread first, on a machine that does much
else: less than a worker's client would wait."""


@contextmanager
def hanging(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("require_keys", [False, True])
def test_everybody_is_soon_told_to_come_back(
    serve: Any, problem: Any, wait_until: Any, tmp_path: Path, require_keys: bool
) -> None:
    with embedded_valkey(tmp_path) as server, serve(redis_url=server.url, require_keys=require_keys) as api:
        with connect(SecretStr(server.url), decode=True) as client:
            key = ApiKeys(client).create("a", [Scope.ADMIN])
        api.http.headers["Authorization"] = f"Bearer {key.text}"
        job = api.submit()
        kinds = (
            ("POST", "/jobs", {"json": {"prompt": "a red car"}}),
            ("GET", f"/jobs/{job}", {}),
            ("GET", "/jobs", {}),
            ("POST", f"/jobs/{job}/cancel", {}),
            ("GET", f"/jobs/{job}/events", {}),
            ("GET", "/load", {}),
        )

        def ask(number: int) -> tuple[httpx.Response, float]:
            method, path, body = kinds[number % len(kinds)]
            begin = time.monotonic()
            answer = httpx.request(
                method, api.url + path, headers=api.http.headers, timeout=30.0, trust_env=False, **body
            )
            return answer, time.monotonic() - begin

        with ThreadPoolExecutor(SIMULTANEOUS) as pool, hanging(server.pid):
            asked = [pool.submit(ask, number) for number in range(SIMULTANEOUS)]
            healthy: list[float] = []
            while not all(one.done() for one in asked):
                begin = time.monotonic()
                assert api.http.get("/health").status_code == 200
                healthy.append(time.monotonic() - begin)
            answers = [one.result() for one in asked]

        for answer, seconds in answers:
            assert "Redis does not answer" in problem(answer, 503, "unavailable").detail
            assert int(answer.headers["retry-after"]) > 0
            assert seconds < PATIENCE_SECONDS
        assert len(healthy) > 10
        assert max(healthy) < SERVING_SECONDS
        wait_until(lambda: api.http.get(f"/jobs/{job}").status_code == 200)
        assert api.http.post("/jobs", json={"prompt": "a red car"}).status_code == 202
