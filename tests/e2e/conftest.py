"""The whole stack, every part a process of its own, started once by the code that `make demo` runs; traced, its logs
in JSON."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.signals import StopRequest
from deploy.stack import LocalStack, local_stack
from generator_service.client import Client


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stack has its data and, in `logs`, a file for each part."""
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="session")
def stack(folder: Path, collector: Any) -> Iterator[LocalStack]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        for service in ("GENERATOR", "PLANNER"):
            environment.setenv(f"{service}_LOG_FORMAT", "json")
        with local_stack(folder, request=StopRequest(), disposable=True) as stack:
            yield stack
            stack.check()  # no part died meanwhile


@pytest.fixture(scope="session")
def client(stack: LocalStack) -> Iterator[Client]:
    with Client(stack.addresses.api) as client:
        yield client


@pytest.fixture(scope="session")
def http(stack: LocalStack) -> Iterator[httpx.Client]:
    """For what a program sees that does not use our client."""
    with httpx.Client(base_url=stack.addresses.api, timeout=30.0) as http:
        yield http
