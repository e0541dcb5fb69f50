"""Where an event may go.  A client names the place and this service's network reaches more than the client's, so only
what is public is dialled, and what is dialled is the very address that was looked at: a name that later leads elsewhere
(DNS rebinding) gains nothing.
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
"""Beside what `ipaddress` knows: IANA's registries of special-purpose addresses, and a cloud's own use of one."""


class TargetRefused(Exception):
    """Says why, and nothing of what this service's network looks like from inside."""


@dataclass(frozen=True)
class Target:
    url: httpx.URL
    addresses: tuple[Address, ...]
    """Looked at; to be dialled in this order."""


def resolved(host: str) -> tuple[str, ...]:
    """As this machine resolves names, which may take many seconds."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class TargetPolicy:
    def __init__(self, settings: WebhookSettings, resolve: Resolve = resolved) -> None:
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
        if (url.port or 443) not in self._ports:
            ports = ", ".join(map(str, sorted(self._ports)))
            raise TargetRefused(f"may name the ports {ports} only")
        if not addresses or not all(_is_public(address) for address in addresses):
            # One answer for both: names of a private network are not to be found out here.
            raise TargetRefused("has no address, or one that is not public")
        return Target(url, addresses)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:  # IPv4-mapped and NAT64 are not
        return False
    return address.is_global and not _is_in(address, _NOT_PUBLIC)


def _is_in(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)
