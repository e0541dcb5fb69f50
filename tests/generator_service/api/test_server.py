"""Several API processes behind one port, and what their HTTP parser takes."""

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest

from deploy.servers import LOOPBACK, answers, free_ports
from generator_service.api import server
from generator_service.api.server import MAXIMUM_HEAD_BYTES

START_SECONDS = 90.0

WaitUntil = Callable[..., None]


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def two(redis_url: str, port: int, wait_until: WaitUntil) -> Iterator[subprocess.Popen[bytes]]:
    variables = {
        "GENERATOR_PROCESSES": "2",
        "GENERATOR_REDIS_URL": redis_url,
        "GENERATOR_PORT": str(port),
        "GENERATOR_STORAGE_URL": "memory://",
    }
    process = subprocess.Popen([sys.executable, "-m", "generator_service", "serve"], env=os.environ | variables)
    children: list[psutil.Process] = []
    try:
        wait_until(lambda: answers(f"http://{LOOPBACK}:{port}/health"), START_SECONDS)
        wait_until(lambda: len(servers(process)) == 2, START_SECONDS)
        children = psutil.Process(process.pid).children(recursive=True)
        yield process
    finally:
        process.kill()
        process.wait()
        for child in children:
            if child.is_running():
                child.kill()


def servers(process: subprocess.Popen[bytes]) -> set[int]:
    """The living processes that answer; Python's own helper among the children is none of them."""
    return {child.pid for child in psutil.Process(process.pid).children() if "spawn_main" in command(child)}


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # or a zombie
        return ""


def health_requests(http: httpx.Client) -> float:
    counted = re.findall(r'^generator_http_requests_total\{.*"/health".*\} (\S+)$', http.get("/metrics").text, re.M)
    return sum(map(float, counted))


def test_they_share_the_port_and_count_together(two, port):
    url = f"http://{LOOPBACK}:{port}"
    answered = 0

    def ask() -> None:
        nonlocal answered
        with httpx.Client(base_url=url, trust_env=False) as http:  # a connection of its own: either may answer
            answer = http.get("/health")
            assert (answer.status_code, answer.headers.get("server")) == (200, None)
            answered += 1

    with httpx.Client(base_url=url, trust_env=False) as http:
        before = health_requests(http)
    for _ in range(30):
        ask()
    for _ in range(6):
        with httpx.Client(base_url=url, trust_env=False) as http:
            assert health_requests(http) == before + answered


def test_they_end_together(two, port):
    two.terminate()
    assert two.wait(timeout=20) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert not answers(f"http://{LOOPBACK}:{port}/health")


def exchange(api: Any, *parts: bytes) -> bytes:
    """Sends these one after the other while no answer comes, and gives what comes back within a second."""
    address = httpx.URL(api.url)
    with socket.create_connection((address.host, address.port)) as connection:
        connection.settimeout(1.0)
        answer = b""
        for part in parts:
            connection.sendall(part)
            if select.select([connection], [], [], 0.01)[0]:
                break
        with suppress(OSError):
            while chunk := connection.recv(65536):
                answer += chunk
        return answer


HEAD = b"GET /health HTTP/1.1\r\nHost: test\r\n"
CHUNKED = b"POST /jobs HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        [HEAD + b"X: " + b"a" * MAXIMUM_HEAD_BYTES + b"\r\n\r\n"],
        [HEAD + b"X: ", *[b"a" * 8192] * 40],  # never ends
        [HEAD, *[b"X: " + b"a" * 1000 + b"\r\n"] * 100],
        [b"GET /", *[b"a" * 8192] * 40],
        [CHUNKED + b"2\r\n{}\r\n0\r\n", *[b"X: " + b"a" * 1000 + b"\r\n"] * 100],  # trailers
        [CHUNKED + b"2;x=", *[b"a" * 8192] * 40],
    ],
    ids=["one piece", "one header", "many headers", "path", "trailers", "chunk extension"],
)
def test_headers_of_any_size_are_not_taken_into_memory(api: Any, parts: list[bytes]) -> None:
    assert exchange(api, *parts).startswith(b"HTTP/1.1 400 ")


def test_large_headers_and_large_bodies_of_several_requests_are_taken(api: Any) -> None:
    """The size of the head is of each request by itself, without its body."""
    once = HEAD + b"X: " + b"a" * (MAXIMUM_HEAD_BYTES // 2) + b"\r\n\r\n"
    assert exchange(api, once * 3).count(b"HTTP/1.1 200 OK") == 3
    body = b"{" + b" " * (4 * MAXIMUM_HEAD_BYTES)
    head = b"POST /jobs HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    assert exchange(api, head % len(body) + body + HEAD + b"\r\n").count(b"HTTP/1.1 ") == 2


def test_two_lengths_of_a_body_end_the_connection(api: Any) -> None:
    """What one server takes for the body, another takes for the next request."""
    both = b"POST /jobs HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    answer = exchange(api, both + HEAD + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "SEND_SECONDS"):
        monkeypatch.setattr(server, name, 0.5)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (b"", b""),
        (b"GET /", b"a"),
        (HEAD, b"X: 1\r\n"),
        (b"", b"\r\n"),
        (HEAD + b"\r\n", b"\r\n"),
        (CHUNKED, b"1\r\n \r\n"),
        (b"POST /jobs HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n", b" "),
    ],
    ids=["silent", "line", "headers", "blank lines", "blank lines after a request", "chunks", "body"],
)
def test_whoever_sends_little_by_little_is_cut_off(api: Any, begin: bytes, drop: bytes) -> None:
    started = time.monotonic()
    with open_connection(api) as connection, suppress(OSError):
        connection.settimeout(0.05)
        connection.sendall(begin)
        while time.monotonic() - started < 30:
            connection.sendall(drop)
            with suppress(TimeoutError):
                if not connection.recv(65536):
                    break
    assert 0.4 < time.monotonic() - started < 20


@pytest.mark.usefixtures("hasty")
def test_whoever_takes_nothing_of_an_answer_is_cut_off(api: Any, wait_until: WaitUntil) -> None:
    with open_connection(api) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: test\r\n\r\n" * 20)
        wait_until(lambda: connection.getsockname()[1] in clients(api))
        wait_until(lambda: connection.getsockname()[1] not in clients(api))


def clients(api: Any) -> set[int]:
    return {protocol.client[1] for protocol in list(api.server.server_state.connections)}


def open_connection(api: Any) -> socket.socket:
    address = httpx.URL(api.url)
    return socket.create_connection((address.host, address.port))
