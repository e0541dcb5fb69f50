"""How every command ends that cannot go on: one line on stderr, and an exit code; no traceback, and nothing secret.

1   it was refused, whoever refused it: a request that is not valid, too
2   what was typed cannot be read, or the settings make no sense
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

NONSENSE: Final = 2
"""As typer ends what it cannot read."""


@contextmanager
def refusals_told() -> Iterator[None]:
    """Around all that a command does.  Any other error is a defect, and left to the interpreter with its traceback."""
    try:
        yield
    except ServiceError as error:
        refuse(f"{error.title}: {error.detail}")
    except redis.RedisError as error:
        refuse(f"Redis refuses: {error}")
    except BadSettings as error:
        refuse(f"The settings make no sense: {error}", NONSENSE)


@contextmanager
def files_told() -> Iterator[None]:
    """Around the reading and writing of files that were named to the command."""
    try:
        yield
    except OSError as error:
        refuse(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))


def refuse(reason: str, code: int = 1) -> NoReturn:
    """End the command."""
    typer.echo(one_line(reason), err=True)
    raise typer.Exit(code)


def one_line(text: str) -> str:
    """Whoever wrote it must not move the cursor of whoever reads it."""
    return "".join(character if character.isprintable() else " " for character in text)


def read_settings() -> Settings:
    """Names what is wrong, and ends the command, where they make no sense.  Sets up logging."""
    try:
        settings = Settings()
    except ValidationError as error:
        kinds = (Settings, StorageSettings, WorkerSettings, WebhookSettings)
        prefix = next(kind.model_config["env_prefix"] for kind in kinds if kind.__name__ == error.title)
        named = (f"{prefix}{violation.field.upper()}: {violation.message}" for violation in violations_of(error))
        refuse("; ".join(named), NONSENSE)
    set_up_logging(settings.log_format)
    return settings
