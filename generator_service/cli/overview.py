"""The command for those who run the service."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated

import typer

from generator_service.cli.errors import report_errors
from generator_service.cli.options import Key, Url
from generator_service.client import DEFAULT_URL, Client
from generator_service.contract.answers import Overview


def overview(
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Everything at a glance: workers, the jobs they hold, queues, and what is wrong."""
    with report_errors(), Client(url, key) as client:
        found = client.overview()
    typer.echo(found.model_dump_json(indent=2) if as_json else "\n".join(lines(found)))


def lines(found: Overview) -> Iterator[str]:
    yield from [f"! {problem}" for problem in found.problems] or ["all is well"]
    yield from _section(
        ("worker", "holds", "on", "host", "does", "since", "last beat"),
        [
            (
                worker.name,
                worker.backbone or "",
                worker.device or "",
                worker.host or "",
                worker.job or "waits",
                _ago(worker.since, found.at),
                f"{worker.silent_seconds:.0f} s ago",
            )
            for worker in found.workers
        ],
    )
    yield from _section(
        ("job in hand", "worker", "stage", "step", "attempt", "since", "heartbeat"),
        [
            (
                lease.job,
                lease.worker,
                "canceling" if lease.canceling else str(lease.stage),
                f"{lease.step}/{lease.steps}",
                str(lease.attempt),
                "" if lease.since is None else _ago(lease.since, found.at),
                "agrees" if lease.held else "SILENT",
            )
            for lease in found.leases
        ],
    )
    yield from _section(
        ("queue", "waiting", "put aside", "running", "oldest waits"),
        [
            (
                name,
                str(queue.waiting),
                str(queue.put_aside),
                str(queue.running),
                "" if queue.oldest_seconds is None else _span(queue.oldest_seconds),
            )
            for name, queue in found.queues.items()
        ],
    )
    yield from _section(("jobs", "number"), [(status.value, str(number)) for status, number in found.jobs.items()])


def _section(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    yield ""
    for row in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _ago(then: datetime, now: datetime) -> str:
    return _span((now - then).total_seconds())


def _span(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
