"""Traces across all processes, by OpenTelemetry: W3C trace context, OTLP over HTTP.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set; then OpenTelemetry's other
variables count too (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).  Where it is
off, nothing here imports OpenTelemetry, and a span is an empty block.

    POST /jobs (API) ─┬─ plan (plan worker) ─── POST (its client) ─── POST /plans (planner) ─── POST (language model)
                      ├─ render (render worker) ─┬─ sampling
                      │                          ├─ decoding
                      │                          └─ storing
                      └─ webhook (webhook worker), each attempt

The context travels in HTTP's `traceparent` header and, over the queues, in the job's record.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

NOT_TRACED: Final = "/health,/ready,/metrics,/load,/overview"
"""Polled every few seconds."""

EXPORT_SECONDS: Final = 2.0
"""Timeout of the exporter: a hanging collector delays only the end of a process, by this much."""


def set_up_tracing(service: str) -> None:
    """For the whole process, if the environment asks for it.  Pending spans are sent as the process ends."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not any(map(os.environ.get, endpoints)):
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME") or service})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=EXPORT_SECONDS)))
    trace.set_tracer_provider(provider)


def _on() -> bool:
    return "opentelemetry.sdk.trace" in sys.modules  # which `set_up_tracing` alone imports


@contextmanager
def span(name: str, *, parent: str | None = None, **attributes: str | int | None) -> Iterator[None]:
    """A span around the block; `parent`: the `traceparent` of a message, which makes this a CONSUMER span."""
    if not _on():
        yield
        return
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = None if parent is None else TraceContextTextMapPropagator().extract({"traceparent": parent})
    kind = trace.SpanKind.INTERNAL if parent is None else trace.SpanKind.CONSUMER
    known = {key: value for key, value in attributes.items() if value is not None}
    tracer = trace.get_tracer("motion-factorized-video")
    with tracer.start_as_current_span(name, context=context, kind=kind, attributes=known):
        yield


@contextmanager
def consecutive_spans() -> Iterator[Callable[[str], None]]:
    """Yields a function that ends the current span and begins another; the last one ends with the block."""
    with ExitStack() as current:

        def begin(name: str) -> None:
            current.close()
            current.enter_context(span(name))

        yield begin


def set_span_attributes(**attributes: str | int) -> None:
    """Add attributes to the current span."""
    if _on():
        from opentelemetry import trace

        trace.get_current_span().set_attributes(attributes)


def traceparent() -> str | None:
    """The current span's context, for a message to another process; None where nothing is traced."""
    if not _on():
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def trace_app(app: Any) -> None:
    """A server span for each request of a FastAPI application."""
    if not _on():
        return
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    FastAPIInstrumentor.instrument_app(app, excluded_urls=NOT_TRACED, exclude_spans=["receive", "send"])


def trace_client(client: Any) -> None:
    """A client span for each request of an httpx client, sent along as `traceparent`."""
    if not _on():
        return
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    HTTPXClientInstrumentor.instrument_client(client)
