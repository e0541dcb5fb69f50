"""The commands that run a service: the API and the three kinds of workers, configured by the environment."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from ipaddress import ip_address
from typing import Annotated

import typer

from generator_service.cli.errors import read_settings, report_errors, report_file_errors
from generator_service.settings import BadSettings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; else GENERATOR_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; else GENERATOR_PORT.")] = None,
) -> None:
    """Serve the HTTP API."""
    settings = read_settings()
    from generator_service.api import server  # the other commands do without the web server
    from generator_service.jobs.connection import connect
    from generator_service.storage import ObjectStore

    address = host or settings.host
    with report_errors(), report_file_errors():
        require_keys_off_loopback(address, settings.require_keys)
        connect(settings.redis_url, decode=True)  # fails here and not in a child process, for a malformed address
        ObjectStore.open(settings.storage)
    server.serve(settings, address, port or settings.port)


def plan_worker() -> None:
    """Plan queued jobs, one at a time."""
    settings = read_settings()
    from generator_service.workers import plan_worker

    run(plan_worker.plan_worker(settings))


def render_worker() -> None:
    """Render planned jobs, one at a time, with the backbone in memory (GENERATOR_RENDER_…)."""
    settings = read_settings()
    from generator_service.workers import render_worker
    from generator_service.workers.ranks import become_ranks

    become_ranks(settings.render.context_parallel)
    run(render_worker.render_worker(settings))


def webhook_worker() -> None:
    """Tell clients of the ends of their jobs (GENERATOR_WEBHOOK_…)."""
    settings = read_settings()
    from generator_service.workers import webhook_worker

    run(webhook_worker.webhook_worker(settings))


def run(worker: AbstractContextManager[Callable[[], None]]) -> None:
    """Errors while the worker starts are reported in one line; later ones keep their traceback."""
    with ExitStack() as stack:
        with report_errors(), report_file_errors():
            work = stack.enter_context(worker)
        work()


def require_keys_off_loopback(host: str, keys_required: bool) -> None:
    """Raises BadSettings for an API without keys that listens beyond loopback."""
    if not keys_required and not _is_loopback(host):
        raise BadSettings(
            f"the API asks nobody for a key, so it may listen on 127.0.0.1 and not on {host!r}: "
            "set GENERATOR_REQUIRE_KEYS=true, and make keys with `python -m generator_service keys create`"
        )


def _is_loopback(host: str) -> bool:
    """Of names, only `localhost` counts: any other may resolve to anything."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
