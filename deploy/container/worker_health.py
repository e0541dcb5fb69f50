"""A worker's health check: `python -m deploy.container.worker_health plan|render|webhook` fails unless its heart beats.

The heartbeat is in Redis; this container's worker is the one whose name says this host.
"""

import socket
import sys
from typing import Final

import redis

from generator_service.jobs.workers import WorkerRegistry
from generator_service.settings import Settings
from shared.errors import Unavailable

SECONDS: Final = 10.0


def complaint(kind: str, settings: Settings) -> str | None:
    """What is wrong; None where nothing is."""
    mine = f"{kind}-{socket.gethostname()}-"
    url = settings.redis_url.get_secret_value()
    with redis.Redis.from_url(url, decode_responses=True, socket_timeout=SECONDS) as client:
        try:
            workers = WorkerRegistry(client, settings.heartbeat_seconds).alive()
        except Unavailable as error:
            return error.detail
    if any(worker.name.startswith(mine) for worker in workers):
        return None
    return f"no heartbeat of {mine}*"


if __name__ == "__main__":
    sys.exit(complaint(sys.argv[1], Settings()))
