"""Several API processes behind one port."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import psutil
import pytest

from deploy.servers import LOOPBACK, answers, free_ports

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
            assert http.get("/health").status_code == 200
            answered += 1

    with httpx.Client(base_url=url, trust_env=False) as http:
        before = health_requests(http)
    for _ in range(30):
        ask()
    for _ in range(6):
        with httpx.Client(base_url=url, trust_env=False) as http:
            assert health_requests(http) == before + answered


def test_one_that_is_killed_has_a_successor(two, port, wait_until):
    killed = min(servers(two))
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(servers(two) - {killed}) == 2, START_SECONDS)
    assert answers(f"http://{LOOPBACK}:{port}/health")


def test_they_end_together(two, port):
    two.terminate()
    assert two.wait(timeout=20) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert not answers(f"http://{LOOPBACK}:{port}/health")


def test_none_outlives_the_one_that_began_them(two, port, wait_until):
    began = servers(two)
    two.kill()
    two.wait()
    wait_until(lambda: not any(alive(pid) for pid in began), 20)
    assert not answers(f"http://{LOOPBACK}:{port}/health")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
