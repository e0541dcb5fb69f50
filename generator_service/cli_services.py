"""The commands that keep running: the API and the three kinds of workers.  The environment decides the rest."""

from ipaddress import ip_address
from typing import Annotated

import typer

from generator_service.cli_environment import read_settings
from generator_service.cli_refusals import refusals_told


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; else GENERATOR_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; else GENERATOR_PORT.")] = None,
) -> None:
    """Serve the HTTP API."""
    settings = read_settings()
    from generator_service.api import processes  # the other commands do without the web framework

    with refusals_told():
        address = host or settings.host
        require_callers_to_be_known(address, settings.require_keys)
        processes.serve(settings, address, port or settings.port)


def plan_worker() -> None:
    """Plan queued jobs, one at a time."""
    settings = read_settings()
    from generator_service.workers.plan_worker import run_plan_worker

    with refusals_told():
        run_plan_worker(settings)


def render_worker() -> None:
    """Render planned jobs, one at a time, with the backbone in memory (GENERATOR_RENDER_…)."""
    settings = read_settings()
    from generator_service.workers.render_worker import run_render_worker

    with refusals_told():
        run_render_worker(settings)


def webhook_worker() -> None:
    """Tell clients of the ends of their jobs (GENERATOR_WEBHOOK_…)."""
    settings = read_settings()
    from generator_service.workers.webhook_worker import run_webhook_worker

    with refusals_told():
        run_webhook_worker(settings)


def require_callers_to_be_known(host: str, keys_required: bool) -> None:
    """Raises ValueError for an API that anyone in some network could call."""
    if not keys_required and not _is_loopback(host):
        raise ValueError(
            f"the API asks nobody for a key, so it may listen on 127.0.0.1 and not on {host!r}: "
            "set GENERATOR_REQUIRE_KEYS=true, and make keys with `python -m generator_service keys create`"
        )


def _is_loopback(host: str) -> bool:
    """Not so for names, whatever they resolve to, but for the one that every machine knows."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
