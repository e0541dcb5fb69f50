"""One delivery attempt, within a deadline whatever the receiver does."""

import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import anyio
import httpx
from anyio.to_thread import run_sync
from pydantic import HttpUrl

from generator_service.webhooks.targets import Address, Target, TargetPolicy, TargetRefused

DEADLINE_SECONDS: Final = 10.0
"""In all: name resolution, connection, answer."""
CONNECT_SECONDS: Final = 3.0
"""For each address of the name."""
DRAIN_BYTES: Final = 4096
DRAIN_SECONDS: Final = 1.0
"""So much of the response body is read and ignored: some receivers fail when the client closes early."""
RESOLVERS: Final = 32

GONE: Final = 410


@dataclass(frozen=True)
class Outcome:
    status: int | None
    error: str | None
    """None after a 2xx."""

    @property
    def is_final(self) -> bool:
        """Delivered, or refused for good: Standard Webhooks gives 410 that meaning."""
        return self.error is None or self.status == GONE


class Sender:
    def __init__(
        self, policy: TargetPolicy, tls: ssl.SSLContext | None = None, deadline: float = DEADLINE_SECONDS
    ) -> None:
        """tls: None trusts the system's certificate authorities, or SSL_CERT_FILE."""
        self._policy = policy
        self._tls = tls or httpx.create_ssl_context()
        self._deadline = deadline
        self._timeout = httpx.Timeout(deadline, connect=min(deadline, CONNECT_SECONDS))
        self._resolvers = anyio.CapacityLimiter(RESOLVERS)

    async def post(self, url: HttpUrl, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Never raises for network errors."""
        try:
            with anyio.fail_after(self._deadline):
                target = await run_sync(self._policy.target, url, abandon_on_cancel=True, limiter=self._resolvers)
                return _outcome_of(await self._status(target, headers, body))
        except TargetRefused as refusal:
            return Outcome(None, f"the URL {refusal}")
        except TimeoutError:
            return Outcome(None, f"no answer within {self._deadline:g} s")
        except (httpx.ConnectError, httpx.ConnectTimeout):  # TLS is part of it
            return Outcome(None, "no connection")
        except httpx.HTTPError as error:
            return Outcome(None, f"no answer: {type(error).__name__}")

    async def _status(self, target: Target, headers: Mapping[str, str], body: bytes) -> int:
        *first, last = target.addresses
        for address in first:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._exchange(target.url, address, headers, body)
        return await self._exchange(target.url, last, headers, body)

    async def _exchange(self, url: httpx.URL, address: Address, headers: Mapping[str, str], body: bytes) -> int:
        """Dials the checked address; Host header and TLS still use the name.

        A fresh connection for each request: no pool, no proxy, no redirects.
        """
        own = {"host": url.netloc.decode(), "content-type": "application/json", "user-agent": "motion-factorized-video"}
        async with (
            httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=self._timeout) as client,
            client.stream(
                "POST",
                url.copy_with(host=str(address)),
                headers={**own, **headers},
                content=body,
                extensions={"sni_hostname": url.raw_host.decode()},
                follow_redirects=False,
            ) as response,
        ):
            await _drain(response)
            return response.status_code


def _outcome_of(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status, None)
    if 300 <= status < 400:
        return Outcome(status, "redirected: redirects are not followed")
    return Outcome(status, f"answered {status}")


async def _drain(response: httpx.Response) -> None:
    received = 0
    with suppress(httpx.HTTPError), anyio.move_on_after(DRAIN_SECONDS):
        async for chunk in response.aiter_raw(DRAIN_BYTES):
            received += len(chunk)
            if received >= DRAIN_BYTES:
                return
