"""The whole service on this machine, without containers, GPU or root.

python -m deploy.local demo --prompt "…"   start everything, make one video, stop everything
python -m deploy.local up                  start everything and keep it running until Ctrl-C
"""

import errno
import fcntl
import shlex
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from deploy.demo import make_video, request_for
from deploy.display import start_display
from deploy.parts import PartError
from deploy.servers import LOOPBACK, S3_ACCESS_KEY, S3_SECRET_KEY
from deploy.signals import Stopped, StopRequest, stop_requests
from deploy.stack import Addresses, LocalStack, bypass_proxies, local_stack
from generator_service.cli.progress import ProgressDisplay
from shared.errors import ServiceError

EXAMPLE_PROMPT: Final = "a red car drives to the right while a tree stands still"
WATCH_SECONDS: Final = 0.5

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)


@app.command()
def demo(
    prompt: Annotated[str, typer.Option(help="What the video shows.")] = EXAMPLE_PROMPT,
    out: Annotated[Path, typer.Option(help="Video, plan and preview go to a folder in this one.")] = Path("out"),
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same video; random if absent.")] = None,
) -> None:
    """Start every part, make one video, say where it is, stop every part."""
    console = _console()
    begin = time.monotonic()
    with ExitStack() as cleanup:
        stop = cleanup.enter_context(_reporting(console))
        request = request_for(prompt, seed)  # refused, if so, before anything is started
        data = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="motion-factorized-video-"))
        stack = cleanup.enter_context(_started(console, stop, Path(data), disposable=True))
        start_seconds = time.monotonic() - begin
        with ProgressDisplay(console) as show:
            job, files = make_video(stack, request, out, show)
        if files is None:
            reason = job.error.message if job.error is not None else "nobody said why"
            console.print(f"The job ended {job.status}: {reason}", style="red")
            raise typer.Exit(1)
        for label, path in (("video", files.video), ("plan", files.plan), ("preview", files.preview)):
            console.print(f"{label:8} {path}")
        for note in job.diagnostics.remarks:
            console.print(f"{'note':8} {note}", style="yellow")
        video_seconds = time.monotonic() - begin - start_seconds
        took = f"{start_seconds:.0f} s to start, {video_seconds:.0f} s for the video"
        console.print(f"Seed {job.settings.seed}; {took}.", style="dim")
        console.print("To change the plan and make it again: make up, and open plan.json in the studio that it names.")


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Where the API listens.", min=1, max=65535)] = 8080,
    data: Annotated[Path, typer.Option(help="Jobs, videos and logs; they outlive a restart.")] = Path("var"),
) -> None:
    """Start every part and keep them running until Ctrl-C."""
    console = _console()
    with _reporting(console) as stop, _claimed(data.absolute()) as folder:
        _require_free(port)
        with _started(console, stop, folder, port) as stack:
            _tell_addresses(console, stack.addresses, folder)
            try:
                while True:
                    stack.check()
                    time.sleep(WATCH_SECONDS)
            except Stopped:
                console.print("Stopping.  Ctrl-C again stops without waiting for jobs in hand.")


class _Refused(Exception):
    """Nothing was started, and why."""


def _console() -> Console:
    return Console(highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _reporting(console: Console) -> Iterator[StopRequest]:
    """Whatever ends the block becomes a line and an exit code, once everything is cleaned up."""
    bypass_proxies()
    with stop_requests() as request:
        try:
            yield request
        except Stopped as stopped:
            console.print(f"Stopped by {stopped.by.name}; nothing is left running.")
            raise typer.Exit(128 + stopped.by) from None
        except PartError as error:
            console.print(str(error), style="red")
            raise typer.Exit(1) from None
        except _Refused as error:
            console.print(str(error), style="red")
            raise typer.Exit(1) from None
        except ServiceError as error:
            console.print(f"{error.title}: {error.detail}", style="red")
            raise typer.Exit(1) from None


@contextmanager
def _started(
    console: Console, stop: StopRequest, data: Path, port: int | None = None, *, disposable: bool = False
) -> Iterator[LocalStack]:
    with ExitStack() as display:
        show = display.enter_context(start_display(console))
        with local_stack(data, port=port, request=stop, show=show, disposable=disposable) as stack:
            display.close()
            yield stack


@contextmanager
def _claimed(data: Path) -> Iterator[Path]:
    """The data folder, for one stack at a time."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _Refused(f"Another stack is running on {data}: stop it, or give this one another --data.") from None
        yield data


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _Refused(f"Port {port} is taken: stop whoever listens there, or give another --port.") from None
            raise _Refused(f"Port {port} cannot be used: {error.strerror}.") from None


def _tell_addresses(console: Console, addresses: Addresses, data: Path) -> None:
    body = f'{{"prompt": "{EXAMPLE_PROMPT}"}}'
    console.print(f"""
studio   {addresses.api}/
API      {addresses.api}
docs     {addresses.api}/docs
S3       {addresses.s3}  (access key {S3_ACCESS_KEY}, secret key {S3_SECRET_KEY})
planner  {addresses.planner}/docs
Redis    {addresses.redis}
metrics  {" ".join(f"{part}/metrics" for part in addresses.with_metrics)}
data     {data}
logs     {data / "logs"}

Try:  curl -s {addresses.api}/jobs -H 'Content-Type: application/json' -d {shlex.quote(body)}

Ctrl-C stops everything; jobs and videos stay.""")


if __name__ == "__main__":
    app()
