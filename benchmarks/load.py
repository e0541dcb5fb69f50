"""The API under load: how long its answers take while thousands of jobs wait and many clients follow theirs.

    python benchmarks/load.py                       Valkey and the API alone, so that every job keeps waiting
    python benchmarks/load.py --with-workers        the whole local stack, which plans and renders meanwhile

First the API's answers are compared with the bare ones of `bare_routes.py`, by the time of a core that each takes.

Then requests are sent at a fixed rate by h2load (Debian's nghttp2-client, Homebrew's nghttp2), over connections that
stay open and begin one after the other, so that they come evenly spread.  A time is measured from the first byte sent
to the last one received.  Keys are required, and every request gives one.
"""

import argparse
import json
import math
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import httpx
import psutil
from pydantic import SecretStr

from deploy.parts import Part, started
from deploy.servers import LOOPBACK, VALKEY, answers, free_ports, redis_url, valkey
from deploy.signals import stop_requests
from deploy.stack import GENERATOR_API, bypass_proxies, local_stack
from generator_service.jobs.api_keys import ApiKeys, Scope
from generator_service.jobs.connection import connect

CONNECTIONS: Final = {"POST": 40, "GET": 100}
"""So many that even an answer that takes a tenth of a second delays no other request."""
FILLING: Final = 300
"""Jobs a second, before the measurement."""
PAGE: Final = 100
ROUNDS: Final = 3
"""The comparison is a median of so many, of all servers by turns."""
COMPARED_CONNECTIONS: Final = 16
BARE: Final = {
    "bare FastAPI on h11": ("fastapi", "h11"),
    "bare FastAPI": ("fastapi", "httptools"),
    "bare Starlette": ("starlette", "httptools"),
}
START_SECONDS: Final = 120.0
BODY: Final = {"prompt": "a red car drives to the right while a tree stands still", "planner": "parser"}
UNLIMITED: Final = {
    "GENERATOR_QUEUE_LIMIT": "1000000",
    "GENERATOR_OWNER_UNFINISHED": "1000000",
    "GENERATOR_OWNER_RATE": "1000000",
    "GENERATOR_OWNER_BURST": "1000000",
    "GENERATOR_OWNER_KEPT": "1000000",
    "GENERATOR_OWNER_BYTES": "1000000000000",
    "GENERATOR_OWNER_STREAMS": "1000000",
    "GENERATOR_REQUIRE_KEYS": "true",
}
"""What is measured is the service, and not its limits."""


@dataclass(frozen=True)
class Service:
    url: str
    key: str
    api: int
    """The process ids."""
    valkey: int
    bare: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """The servers to compare with: address and process id."""

    @property
    def authorization(self) -> str:
        return f"Bearer {self.key}"

    def memory(self) -> dict[str, float]:
        """Resident, in MiB; the API with all its processes."""
        api = psutil.Process(self.api)
        resident = [process.memory_info().rss for process in (api, *api.children(recursive=True))]
        return {"API": sum(resident) / 2**20, "Valkey": psutil.Process(self.valkey).memory_info().rss / 2**20}


def core_seconds(process_id: int) -> float:
    """Of a process and its children, so far."""
    parent = psutil.Process(process_id)
    times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
    return sum(each.user + each.system for each in times)


@contextmanager
def alone(folder: Path) -> Iterator[Service]:
    api_port, redis_port, *bare_ports = free_ports(2 + len(BARE))
    url = f"http://{LOOPBACK}:{api_port}"
    environment = {
        "GENERATOR_PORT": str(api_port),
        "GENERATOR_REDIS_URL": redis_url(redis_port),
        "GENERATOR_STORAGE_URL": "memory://",
    }
    command = [sys.executable, "-m", "generator_service", "serve"]
    api = Part(GENERATOR_API, command, lambda: answers(f"{url}/health"), environment, start_seconds=START_SECONDS)
    urls = {name: f"http://{LOOPBACK}:{port}" for name, port in zip(BARE, bare_ports, strict=True)}
    script = str(Path(__file__).with_name("bare_routes.py"))
    bare = [
        Part(
            name,
            [sys.executable, script, *kind, urls[name].rpartition(":")[2], redis_url(redis_port)],
            partial(answers, f"{urls[name]}/health"),
            start_seconds=START_SECONDS,
        )
        for name, kind in BARE.items()
    ]
    with started([valkey(folder / "valkey", redis_port), api, *bare], folder / "logs") as stack:
        addresses = {name: (urls[name], stack.pid(name)) for name in BARE}
        key = new_key(redis_url(redis_port))
        yield Service(url, key, stack.pid(GENERATOR_API), stack.pid(VALKEY), addresses)


@contextmanager
def whole(folder: Path) -> Iterator[Service]:
    with stop_requests() as request, local_stack(folder, request=request, disposable=True) as stack:
        key = new_key(stack.addresses.redis)
        yield Service(stack.addresses.api, key, stack.pid(GENERATOR_API), stack.pid(VALKEY))


def new_key(redis: str) -> str:
    with connect(SecretStr(redis), decode=True) as client:
        return ApiKeys(client).create("load", [Scope.SUBMIT, Scope.READ]).text


@dataclass(frozen=True)
class Load:
    """Requests of one kind, sent by a process of h2load."""

    method: str
    process: subprocess.Popen[bytes]
    log: Path

    def row(self) -> str:
        if self.process.wait() != 0:
            raise RuntimeError(f"h2load ended with code {self.process.returncode}")
        rows = [line.split("\t") for line in self.log.read_text().splitlines()]
        first, last = (edge(int(start) for start, *_ in rows) / 1e6 for edge in (min, max))
        times = sorted(int(microseconds) / 1000 for _, _, microseconds in rows)
        errors = sum(not status.startswith("2") for _, status, _ in rows)

        def quantile(share: float) -> str:
            return f"{times[min(len(times), math.ceil(share * len(times))) - 1]:.1f} ms"

        cells = (f"{self.method} /jobs" + "/{id}" * (self.method == "GET"), f"{len(rows) / (last - first):.0f}/s")
        return table_row(*cells, quantile(0.5), quantile(0.99), quantile(1.0), f"{errors} of {len(rows)}")


def load(
    folder: Path, name: str, service: Service, urls: Sequence[str], rate: int, requests: int, body: object = None
) -> Load:
    """`requests` in all, `rate` a second: POSTs where there is a body."""
    method = "GET" if body is None else "POST"
    connections = min(CONNECTIONS[method], rate)
    inputs, log = folder / f"{name}.urls", folder / f"{name}.log"
    inputs.write_text("\n".join(urls))
    command = [
        "h2load", "--h1", f"--clients={connections}", f"--rps={rate / connections:g}", "--max-concurrent-streams=1",
        "--rate=1", f"--rate-period={max(1, round(1000 / rate))}ms", f"--requests={requests}",
        f"--input-file={inputs}", f"--log-file={log}", f"--header=authorization: {service.authorization}",
    ]  # fmt: skip
    if body is not None:
        data = folder / f"{name}.json"
        data.write_text(json.dumps(body))
        command += [f"--data={data}", "--header=content-type: application/json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603  (our own command line)
    return Load(method, process, log)


@contextmanager
def followers(service: Service, jobs: Sequence[str]) -> Iterator[list[int]]:
    """An event stream of each of these jobs, read by one thread; yields a list that holds how many bytes came."""
    address = httpx.URL(service.url)
    received, stopping = [0], threading.Event()
    with selectors.DefaultSelector() as selector:
        for job in jobs:
            connection = socket.create_connection((address.host, address.port or 80))
            head = f"GET /jobs/{job}/events HTTP/1.1\r\nHost: {address.host}\r\n"
            connection.sendall(f"{head}Authorization: {service.authorization}\r\n\r\n".encode())
            selector.register(connection, selectors.EVENT_READ, connection)

        def read() -> None:
            while not stopping.is_set():
                for key, _ in selector.select(timeout=0.2):
                    chunk = key.data.recv(65536)
                    received[0] += len(chunk)
                    if not chunk:  # its job has ended
                        selector.unregister(key.data)
                        key.data.close()

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield received
        finally:
            stopping.set()
            thread.join()
            for key in list(selector.get_map().values()):
                key.data.close()


def known_jobs(service: Service, count: int) -> list[str]:
    """The newest."""
    jobs: list[str] = []
    after: dict[str, str] = {}
    with httpx.Client(base_url=service.url, headers={"Authorization": service.authorization}, timeout=60) as http:
        while after is not None and len(jobs) < count:
            page = http.get("/jobs", params={"limit": PAGE, **after}).raise_for_status().json()
            jobs += [job["id"] for job in page["jobs"]]
            after = {"after": page["next"]} if page["next"] else None
    return jobs[:count]


def compare(service: Service, folder: Path, jobs: Sequence[str], requests: int) -> None:
    """What a request costs the server's core, beside the same of the bare routes."""
    servers = {"the API": (service.url, service.api), **service.bare}
    used: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for method in ("GET", "POST"):
            for name, (url, process_id) in servers.items():
                urls = [f"{url}/jobs/{job}" for job in jobs] if method == "GET" else [f"{url}/jobs"]
                before = core_seconds(process_id)
                errors = send(folder, service, urls, requests, None if method == "GET" else BODY)
                if errors:
                    raise RuntimeError(f"{errors} requests to {name} failed")
                used.setdefault((method, name), []).append((core_seconds(process_id) - before) / requests * 1000)
    say(table_row("core time of a request", *servers, *(f"the API / {name}" for name in service.bare)))
    say(table_row(*["---"] * (1 + len(servers) + len(service.bare))))
    for method in ("GET", "POST"):
        each = {name: median(used[method, name]) for name in servers}
        own = each["the API"]
        ratios = (f"{own / each[name]:.2f} ×" for name in service.bare)
        say(table_row(method, *(f"{milliseconds:.2f} ms" for milliseconds in each.values()), *ratios))
    say("")


def send(folder: Path, service: Service, urls: Sequence[str], requests: int, body: object = None) -> int:
    """As fast as they are answered; how many were answered with an error."""
    inputs, data = folder / "compare.urls", folder / "compare.json"
    inputs.write_text("\n".join(urls))
    data.write_text(json.dumps(body))
    command = [
        "h2load", "--h1", f"--clients={COMPARED_CONNECTIONS}", f"--requests={requests}", f"--input-file={inputs}",
        "--max-concurrent-streams=1", f"--header=authorization: {service.authorization}",
    ]  # fmt: skip
    if body is not None:
        command += [f"--data={data}", "--header=content-type: application/json"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  (our own)
    return requests - int(re.findall(r"status codes: (\d+) 2xx", told)[0])


def measure(service: Service, folder: Path, given: argparse.Namespace) -> None:
    queued, streams, posts, gets, seconds = given.queued, given.streams, given.posts, given.gets, given.seconds
    before = service.memory()
    fill = load(folder, "fill", service, [f"{service.url}/jobs"], min(queued, FILLING), queued, BODY)
    fill.row()
    filled = service.memory()
    jobs = known_jobs(service, queued)
    if service.bare:
        compare(service, folder, jobs, given.compared)
    urls = [f"{service.url}/jobs/{job}" for job in jobs]
    busy = os.getloadavg()[0]
    say(f"{len(jobs)} jobs, {streams} event streams, {seconds} s on {os.cpu_count()} cores; load average {busy:.1f}\n")
    say(table_row("request", "rate", "p50", "p99", "longest", "errors"))
    say(table_row(*["---"] * 6))
    with followers(service, jobs[:: max(1, len(jobs) // streams)][:streams]) as received:
        begin, used = time.monotonic(), core_seconds(service.api)
        loads = [load(folder, "get", service, urls, gets, gets * seconds)]
        if posts:
            loads.append(load(folder, "post", service, [f"{service.url}/jobs"], posts, posts * seconds, BODY))
        for one in loads:
            say(one.row())
        if not received[0]:
            raise RuntimeError("the event streams are silent")
        used, took = core_seconds(service.api) - used, time.monotonic() - begin
    each = used / ((gets + posts) * seconds)
    say(f"\nThe API used {used / took:.2f} cores, {each * 1000:.2f} ms for each request.")
    after = service.memory()
    moments = ("at first", f"with {len(jobs)} jobs", f"after the load, with {len(jobs) + posts * seconds} jobs")
    say("\n" + table_row("resident memory", *moments))
    say(table_row(*["---"] * 4))
    for name in before:
        say(table_row(name, *(f"{sizes[name]:.0f} MiB" for sizes in (before, filled, after))))


def table_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queued", type=int, default=10_000, help="jobs that wait before the measurement")
    parser.add_argument("--streams", type=int, default=50, help="clients that follow a job")
    parser.add_argument("--posts", type=int, default=200, help="a second")
    parser.add_argument("--gets", type=int, default=1000, help="a second")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--compared", type=int, default=3000, help="requests of each kind to each server, three times")
    parser.add_argument("--processes", type=int, default=2, help="of the API")
    parser.add_argument("--with-workers", action="store_true", help="plan and render meanwhile")
    given = parser.parse_args()
    if shutil.which("h2load") is None:
        parser.error("h2load is missing: apt-get install nghttp2-client, or brew install nghttp2")
    bypass_proxies()
    os.environ |= UNLIMITED | {"GENERATOR_PROCESSES": str(given.processes)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (whole if given.with_workers else alone)(folder) as service:
            measure(service, folder, given)


if __name__ == "__main__":
    main()
