"""What the commands that run beside the servers begin with: settings from the environment, and refusals in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError

from generator_service.settings import Settings, StorageSettings, WebhookSettings, WorkerSettings
from shared.errors import ServiceError, violations_of
from telemetry.logging import set_up_logging


@contextmanager
def refusals_told() -> Iterator[None]:
    """A command that cannot begin says why in one line, and ends."""
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


def read_settings() -> Settings:
    """Names what is wrong, and ends the command, where they make no sense.  Sets up logging."""
    try:
        settings = Settings()
    except ValidationError as error:
        kinds = (Settings, StorageSettings, WorkerSettings, WebhookSettings)
        prefix = next(kind.model_config["env_prefix"] for kind in kinds if kind.__name__ == error.title)
        for violation in violations_of(error):
            typer.echo(f"{prefix}{violation.field.upper()}: {violation.message}", err=True)
        raise typer.Exit(2) from None
    set_up_logging(settings.log_format)
    return settings
