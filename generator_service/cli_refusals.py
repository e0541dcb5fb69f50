"""How every command ends that cannot go on: one line on stderr, and an exit code; no traceback, and nothing secret.

1   it was refused, whoever refused it
2   what was typed, or stands in the environment, makes no sense
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import redis
import typer
from pydantic import ValidationError

from shared.errors import ServiceError, invalid_request


@contextmanager
def refusals_told() -> Iterator[None]:
    """Around all that a command does.  Errors of which nothing is known here are left to the interpreter."""
    try:
        yield
    except ValidationError as error:
        reason = _said(invalid_request(error))
    except ServiceError as error:
        reason = _said(error)
    except OSError as error:
        reason = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
    except redis.RedisError as error:
        reason = f"Redis refuses: {error}"
    except ValueError as error:
        reason = f"The settings make no sense: {error}"
    else:
        return
    refuse(reason)


def refuse(reason: str, code: int = 1) -> NoReturn:
    """End the command."""
    typer.echo(one_line(reason), err=True)
    raise typer.Exit(code)


def one_line(text: str) -> str:
    """Whoever wrote it must not move the cursor of whoever reads it."""
    return "".join(character if character.isprintable() else " " for character in text)


def _said(error: ServiceError) -> str:
    return f"{error.title}: {error.detail}"
