"""Protection against server-side request forgery (SSRF): which addresses a webhook may go to.

Clients choose the URL, and this service can reach internal networks.  So only public addresses are dialled, and the
address that was checked is the one that is dialled, which defeats DNS rebinding.
"""

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import httpx
from pydantic import HttpUrl

from generator_service.settings import WebhookSettings

Address = IPv4Address | IPv6Address
Resolve = Callable[[str], Iterable[str]]
"""A host's name -> its addresses.  Raises OSError or UnicodeError where it has none."""

_GLOBAL_UNICAST: Final = ip_network("2000::/3")
_NOT_PUBLIC: Final = tuple(
    ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's metadata
        "192.0.0.0/24",  # Oracle's among them; older Pythons call most of it global
        "192.88.99.0/24",
        "224.0.0.0/4",  # multicast, which Python calls global
        "2001::/23",  # Teredo among them
        "2002::/16",  # 6to4: any IPv4 address in disguise
        "3fff::/20",
    )
)
"""Not known to `ipaddress`: more of IANA's special-purpose registries, and a cloud's metadata address."""


class TargetRefused(Exception):
    """The message is shown to clients and tells nothing about the internal network."""


@dataclass(frozen=True)
class Target:
    url: httpx.URL
    addresses: tuple[Address, ...]
    """Checked; to be dialled in this order."""


def resolve_host(host: str) -> tuple[str, ...]:
    """The system's resolver, which may take many seconds."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class TargetPolicy:
    def __init__(self, settings: WebhookSettings, resolve: Resolve = resolve_host) -> None:
        self._ports = settings.ports
        self._allowed = settings.allowed_networks
        self._resolve = resolve

    def target(self, wish: HttpUrl) -> Target:
        """Raises TargetRefused."""
        try:
            url = httpx.URL(str(wish))
            host = url.raw_host.decode()
            addresses = tuple(ip_address(text) for text in self._resolve(host))
        except (OSError, UnicodeError, ValueError, httpx.InvalidURL):
            addresses = ()
        if addresses and all(_is_in(address, self._allowed) for address in addresses):
            return Target(url, addresses)
        if url.scheme != "https":
            raise TargetRefused("must be https")
        if (443 if url.port is None else url.port) not in self._ports:
            ports = ", ".join(map(str, sorted(self._ports)))
            raise TargetRefused(f"may name the ports {ports} only")
        if not addresses or not all(_is_public(address) for address in addresses):
            # One message for both: it must not reveal which internal names exist.
            raise TargetRefused("has no address, or one that is not public")
        return Target(url, addresses)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:  # IPv4-mapped and NAT64 are not
        return False
    return address.is_global and not _is_in(address, _NOT_PUBLIC)


def _is_in(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)
