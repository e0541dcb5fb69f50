"""What a person sees while the parts start: a live table in a terminal, a line for each event elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import assert_never

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from deploy.parts import PartState, Running, Stack


@contextmanager
def start_display(console: Console) -> Iterator[Callable[[Stack], None]]:
    """Yields what to call again and again with the stack that starts."""
    if not console.is_terminal:
        yield _lines(console)
        return
    # Refreshed by hand: rich's own refresher is a thread, and this process starts others.
    with Live(console=console, auto_refresh=False) as live:
        spinner = Spinner("dots", style="cyan")
        yield lambda stack: live.update(_table(stack, spinner), refresh=True)


def _table(stack: Stack, spinner: Spinner) -> Table:
    table = Table.grid(padding=(0, 2))
    for running in stack.parts.values():
        mark: RenderableType
        match running.state:
            case PartState.WAITING:
                mark, says = Text("·", style="dim"), Text("waits for " + " and ".join(running.part.needs), style="dim")
            case PartState.STARTING:
                mark, says = spinner, Text(f"starting, {running.seconds:.0f} s")
            case PartState.READY:
                mark, says = Text("✓", style="green"), Text(f"ready after {running.seconds:.1f} s", style="dim")
            case _:
                assert_never(running.state)
        table.add_row(mark, running.part.name, says)
    return table


def _lines(console: Console) -> Callable[[Stack], None]:
    told: set[Running] = set()

    def show(stack: Stack) -> None:
        for running in stack.parts.values():
            if running.state is PartState.READY and running not in told:
                told.add(running)
                console.print(f"{running.part.name} is ready after {running.seconds:.1f} s", highlight=False)

    return show
