"""What a trace costs where there is none, and how it passes through the planner to the language model."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from telemetry.tracing import EXPORT_SECONDS

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

OFF = """
import json, sys
from telemetry.tracing import consecutive_spans, set_span_attributes, set_up_tracing, span
from telemetry.tracing import trace_app, trace_client, traceparent
set_up_tracing("nobody")
trace_app(None)
trace_client(None)
with span("plan", parent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", attempt=1):
    with consecutive_spans() as begin:
        begin("sampling")
        set_span_attributes(outcome="done")
        assert traceparent() is None
print(json.dumps([name for name in sys.modules if name.startswith("opentelemetry")]))
"""


def test_off_nothing_is_imported() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ENDPOINTS}
    done = subprocess.run([sys.executable, "-c", OFF], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


TRACES = """
import time
from telemetry.tracing import set_up_tracing, span
set_up_tracing("nobody")
with span("plan"):
    pass
print(time.time())
"""


def test_a_collector_that_hangs_does_not_hold_up_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        done = subprocess.run(
            [sys.executable, "-c", TRACES],
            env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert time.time() - float(done.stdout) < EXPORT_SECONDS + 3


ASKS = """
import sys
from fastapi.testclient import TestClient
from planner_service.api import create_app
from planner_service.main import open_planners
from planner_service.metrics import PlannerMetrics
from planner_service.settings import Settings
from telemetry.tracing import set_up_tracing
set_up_tracing("planner")
metrics = PlannerMetrics()
with open_planners(Settings(language_model_url=sys.argv[1]), metrics) as planners:
    with TestClient(create_app(planners, 2048, metrics=metrics)) as client:
        order = {"prompt": "a red car drives", "planner": "language-model"}
        answer = client.post("/plans", json=order, headers={"traceparent": sys.argv[2]})
        assert answer.status_code == 422, answer.text
        print(client.get("/metrics").text)
"""

USAGE = {"prompt_tokens": 100, "completion_tokens": 2}


@pytest.fixture
def model(served: Any) -> Iterator[tuple[str, list[str]]]:
    """A server that is ready and whose every answer has to be repaired, and the contexts that it was given."""
    contexts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            contexts.append(self.headers["traceparent"])
            content = '{"state": "ready"}' if asked["response_format"]["json_schema"]["name"] == "ready" else "{}"
            choice = {"message": {"content": content}, "finish_reason": "stop"}
            answer = json.dumps({"choices": [choice], "usage": USAGE}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield f"{url}/v1", contexts


def test_it_passes_through_the_planner_to_the_language_model(model: tuple[str, list[str]], collector: Any) -> None:
    url, contexts = model
    trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    done = subprocess.run(
        [sys.executable, "-c", ASKS, url, f"00-{trace}-{caller}-01"],
        env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    answered = collector.wait_for("planner", "POST /plans", trace=trace)
    assert answered.parent == caller
    asked = [span for span in collector.spans if (span.name, span.trace) == ("POST", trace)]
    # the first answer, whether a schema is obeyed, and two repairs
    assert [span.parent for span in asked] == [answered.id] * 4
    assert sorted(contexts) == sorted(f"00-{trace}-{span.id}-01" for span in asked)

    assert 'planner_repairs_total{planner="language-model"} 2.0' in done.stdout
    assert 'planner_language_model_seconds_count{outcome="answered"} 4.0' in done.stdout
    assert 'planner_language_model_tokens_total{kind="prompt"} 400.0' in done.stdout
    assert 'planner_language_model_tokens_total{kind="completion"} 8.0' in done.stdout
