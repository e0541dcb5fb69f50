"""The commands that keep running: the API and the two kinds of workers.  The environment decides the rest."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from pydantic import ValidationError

from generator_service.logging import set_up_logging
from generator_service.settings import Settings, StorageSettings, WorkerSettings
from shared.errors import ServiceError, violations_of


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; else GENERATOR_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; else GENERATOR_PORT.")] = None,
) -> None:
    """Serve the HTTP API."""
    settings = _settings()
    from generator_service.api import processes  # the other commands do without the web framework

    with _refusals_told():
        processes.serve(settings, host or settings.host, port or settings.port)


def plan_worker() -> None:
    """Plan queued jobs, one at a time."""
    settings = _settings()
    from generator_service.workers.plan_worker import run_plan_worker

    with _refusals_told():
        run_plan_worker(settings)


def render_worker() -> None:
    """Render planned jobs, one at a time, with the backbone in memory (GENERATOR_RENDER_…)."""
    settings = _settings()
    from generator_service.workers.render_worker import run_render_worker

    with _refusals_told():
        run_render_worker(settings)


@contextmanager
def _refusals_told() -> Iterator[None]:
    """A service that cannot start says why in one line."""
    try:
        yield
    except ServiceError as error:
        refusal = f"{error.title}: {error.detail}"
    except ValueError as error:
        refusal = f"The settings make no sense: {error}"
    else:
        return
    typer.echo(refusal, err=True)
    raise typer.Exit(1)


def _settings() -> Settings:
    try:
        settings = Settings()
    except ValidationError as error:
        kinds = (Settings, StorageSettings, WorkerSettings)
        prefix = next(kind.model_config["env_prefix"] for kind in kinds if kind.__name__ == error.title)
        for violation in violations_of(error):
            typer.echo(f"{prefix}{violation.field.upper()}: {violation.message}", err=True)
        raise typer.Exit(2) from None
    set_up_logging(settings.log_format)
    return settings
