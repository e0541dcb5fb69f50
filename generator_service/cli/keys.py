"""The commands for keys.  They talk to Redis (GENERATOR_REDIS_URL), not to the API."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from generator_service.cli.errors import read_settings, report_errors
from generator_service.contract.keys import ApiKey
from generator_service.jobs.api_keys import ApiKeys, Owner, Scope
from generator_service.jobs.connection import connect

app = typer.Typer(help="Make, list, rotate and revoke the API's keys.", no_args_is_help=True, rich_markup_mode=None)

GRACE_HOURS = 24.0

KeyIdArgument = Annotated[str, typer.Argument(metavar="ID", help="The key's id: mfv_ID_…")]


@app.command()
def create(
    owner: Annotated[str, typer.Argument(help="Whose jobs it is for: small letters, digits, dots, dashes.")],
    scope: Annotated[list[Scope], typer.Option(help="May be given more than once.")] = [Scope.SUBMIT, Scope.READ],  # noqa: B006  (typer's)
) -> None:
    """Make a key, and print it: this is the only time it is shown."""
    try:
        TypeAdapter(Owner).validate_python(owner)
    except ValidationError:
        raise typer.BadParameter("small letters, digits, dots and dashes, at most 64", param_hint="OWNER") from None
    with _keys() as keys:
        _show(keys.create(owner, scope))


@app.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False) -> None:
    """List all keys: a line each, tabs between."""
    with _keys() as keys:
        found = keys.all()
    if not as_json:
        typer.echo("id\towner\tscopes\tcreated (UTC)\tlast used\tends")
    for key in found:
        if as_json:
            typer.echo(key.model_dump_json())
        else:
            times = map(_moment, (key.created_at, key.used_at, key.expires_at))
            typer.echo("\t".join((key.id, key.owner, ",".join(key.scopes), *times)))


@app.command()
def rotate(
    key_id: KeyIdArgument,
    grace: Annotated[float, typer.Option(min=0, help="Hours for which the old key is still good.")] = GRACE_HOURS,
) -> None:
    """Make another key for the same owner, with the same scopes, and print it; the old one ends after the grace."""
    with _keys() as keys:
        _show(keys.rotate(key_id, timedelta(hours=grace)))


@app.command()
def revoke(key_id: KeyIdArgument) -> None:
    """End a key at once."""
    with _keys() as keys:
        keys.revoke(key_id)


@contextmanager
def _keys() -> Iterator[ApiKeys]:
    settings = read_settings()
    with report_errors(), connect(settings.redis_url, decode=True) as client:
        yield ApiKeys(client)


def _show(key: ApiKey) -> None:
    """Only the key goes to stdout, so that it can be piped."""
    typer.echo(f"key {key.id}; it is shown this once:", err=True)
    typer.echo(key.text)


def _moment(time: datetime | None) -> str:
    return "-" if time is None else f"{time:%Y-%m-%d %H:%M}"
