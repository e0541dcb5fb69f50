"""The whole stack, every part a process of its own, started once by the code that `make demo` runs."""

from collections.abc import Iterator

import httpx
import pytest

from deploy.signals import StopRequest
from deploy.stack import LocalStack, local_stack
from generator_service.client import Client


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with local_stack(tmp_path_factory.mktemp("stack"), request=StopRequest(), disposable=True) as stack:
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
