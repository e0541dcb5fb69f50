"""The real servers, started once for the whole run; each test gets an empty database and a bucket of its own."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from deploy.servers import RedisServer, S3Server, embedded_s3, embedded_valkey

# Before anything imports torch: OpenMP's threads wait for each other by spinning, unless told otherwise, and where
# something else wants a core of a small machine, that makes renders 100 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


Served = Callable[[type[BaseHTTPRequestHandler]], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with embedded_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with embedded_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def redis_url(valkey: RedisServer, allowed_keys: list[str]) -> Iterator[str]:
    """An empty database of the session's Valkey; in the end it may hold no keys but those the services may reach."""
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        client.flushall()
        yield valkey.url
        names = cast(list[str], client.keys())
        client.flushall()
    strange = [name for name in names if not any(fnmatch(name, pattern) for pattern in allowed_keys)]
    assert not strange, "deploy/valkey/users.acl keeps the services from these keys"


@pytest.fixture(scope="session")
def allowed_keys(repository: Path) -> list[str]:
    """The patterns of the keys that the services may reach where Valkey knows who asks."""
    return re.findall(r"~(\S+)", (repository / "deploy" / "valkey" / "users.acl").read_text())


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace: str
    id: str
    parent: str
    """"" where it has none."""
    attributes: dict[str, Any]


@dataclass
class Collector:
    """An OTLP receiver over HTTP."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def take(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            known = {item.key: item.value.string_value for item in resource.resource.attributes}
            spans = [span for scope in resource.scope_spans for span in scope.spans]
            with self.arrived:
                for span in spans:
                    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                    values = {item.key: item.value.string_value for item in span.attributes}
                    self.spans.append(Span(known["service.name"], span.name, *ids, values))
                self.arrived.notify_all()

    def wait_for(self, service: str, name: str, trace: str | None = None, **attributes: str) -> Span:
        def found() -> Span | None:
            for span in self.spans:
                named = (span.service, span.name) == (service, name) and trace in (None, span.trace)
                if named and attributes.items() <= span.attributes.items():
                    return span
            return None

        with self.arrived:
            span = self.arrived.wait_for(found, 20.0)
        assert span is not None, (service, name, [(span.service, span.name) for span in self.spans])
        return span


@pytest.fixture(scope="session")
def served() -> Served:
    """A handler's server on a free port, while the block runs: its address."""

    @contextmanager
    def serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()

    return serve


@pytest.fixture(scope="session")
def collector(served: Served) -> Iterator[Collector]:
    collecting = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers.get("content-encoding") is None
            collecting.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as collecting.url:
        yield collecting
