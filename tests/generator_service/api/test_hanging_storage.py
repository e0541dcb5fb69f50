"""A storage that takes requests and never answers them: the real server, stopped by SIGSTOP."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.servers import S3_ACCESS_KEY, S3_SECRET_KEY, embedded_s3
from generator_service.settings import StorageSettings

DELETED_AT_ONCE = 60
"""More than the threads that requests share."""


def test_it_keeps_no_request_waiting_and_the_files_go_later(
    serve: Any, redis_url: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with embedded_s3(tmp_path) as server:
        storage = StorageSettings(
            url=f"s3://{server.bucket}",
            endpoint=server.endpoint,
            access_key=S3_ACCESS_KEY,
            secret_key=S3_SECRET_KEY,
        )
        with serve(redis_url=redis_url, storage=storage, heartbeat_seconds=0.5) as api:
            api.beat("render", "emoji-world")
            kept = api.submit()
            api.start(kept)
            api.finish(kept)
            ended = [api.submit() for _ in range(DELETED_AT_ONCE)]
            os.kill(server.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                for job in ended:
                    api.http.post(f"/jobs/{job}/cancel").raise_for_status()
                for job in (kept, *ended):
                    assert api.http.delete(f"/jobs/{job}").status_code == 204
                api.submit()
                ready = api.http.get("/ready")
                assert "storage" in {violation["field"] for violation in ready.json()["violations"]}
                assert time.monotonic() - began < 20
                assert api.parts.store.may_have_objects(kept)
            finally:
                os.kill(server.pid, signal.SIGCONT)
            wait_until(lambda: not api.parts.store.may_have_objects(kept), 60)
            assert api.parts.objects.keys(f"jobs/{kept}/") == ()
