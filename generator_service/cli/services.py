"""The commands that keep running: the API and the three kinds of workers.  The environment decides the rest."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from ipaddress import ip_address
from typing import Annotated

import typer

from generator_service.cli.errors import files_told, read_settings, refusals_told
from generator_service.settings import BadSettings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; else GENERATOR_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; else GENERATOR_PORT.")] = None,
) -> None:
    """Serve the HTTP API."""
    settings = read_settings()
    from generator_service.api import app, server  # the other commands do without the web framework

    address = host or settings.host
    with refusals_told(), files_told():
        require_callers_to_be_known(address, settings.require_keys)
        app.create_app(settings)  # as each of the processes will
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

    run(render_worker.render_worker(settings))


def webhook_worker() -> None:
    """Tell clients of the ends of their jobs (GENERATOR_WEBHOOK_…)."""
    settings = read_settings()
    from generator_service.workers import webhook_worker

    run(webhook_worker.webhook_worker(settings))


def run(worker: AbstractContextManager[Callable[[], None]]) -> None:
    """Whatever keeps a worker from its start is told; what ends it later is a defect, with a traceback."""
    with ExitStack() as stack:
        with refusals_told(), files_told():
            work = stack.enter_context(worker)
        work()


def require_callers_to_be_known(host: str, keys_required: bool) -> None:
    """Raises BadSettings for an API that anyone in some network could call."""
    if not keys_required and not _is_loopback(host):
        raise BadSettings(
            f"the API asks nobody for a key, so it may listen on 127.0.0.1 and not on {host!r}: "
            "set GENERATOR_REQUIRE_KEYS=true, and make keys with `python -m generator_service keys create`"
        )


def _is_loopback(host: str) -> bool:
    """Not so for names, whatever they resolve to, but for the one that every machine knows."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
