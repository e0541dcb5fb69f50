"""Errors of commands: one line on stderr and an exit code; no traceback, no secrets.

1   the request was refused, here or by a server
2   usage error: the arguments or the settings are not valid
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import redis
import typer
from pydantic import ValidationError

from generator_service.settings import BadSettings, Settings, StorageSettings, WebhookSettings, WorkerSettings
from shared.errors import ServiceError, violations_of
from telemetry.logging import set_up_logging

USAGE_ERROR: Final = 2
"""typer's own exit code for usage errors."""


@contextmanager
def report_errors() -> Iterator[None]:
    """Put around the whole command.  Any other exception is a bug and keeps its traceback."""
    try:
        yield
    except ServiceError as error:
        exit_with(f"{error.title}: {error.detail}")
    except redis.RedisError as error:
        exit_with(f"Redis refuses: {error}")
    except BadSettings as error:
        exit_with(f"The settings make no sense: {error}", USAGE_ERROR)


@contextmanager
def report_file_errors() -> Iterator[None]:
    """Put around reading and writing the files given as arguments."""
    try:
        yield
    except OSError as error:
        exit_with(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))


def exit_with(reason: str, code: int = 1) -> NoReturn:
    """End the command."""
    typer.echo(one_line(reason), err=True)
    raise typer.Exit(code)


def one_line(text: str) -> str:
    """Control characters replaced: untrusted text must not move the terminal's cursor."""
    return "".join(character if character.isprintable() else " " for character in text)


def read_settings() -> Settings:
    """Settings from the environment; exits with the variable's name where one is not valid.  Sets up logging."""
    try:
        settings = Settings()
    except ValidationError as error:
        kinds = (Settings, StorageSettings, WorkerSettings, WebhookSettings)
        prefix = next(kind.model_config["env_prefix"] for kind in kinds if kind.__name__ == error.title)
        named = (f"{prefix}{violation.field.upper()}: {violation.message}" for violation in violations_of(error))
        exit_with("; ".join(named), USAGE_ERROR)
    set_up_logging(settings.log_format)
    return settings
