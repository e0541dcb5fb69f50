"""Which addresses are dialled, and which are not."""

import pytest
from pydantic import TypeAdapter, ValidationError

from generator_service.contract.request import EventType, Webhook
from generator_service.settings import WebhookSettings
from generator_service.webhooks.targets import TargetPolicy, TargetRefused

PUBLIC = "93.184.216.34"


def look(url: str, *addresses: str, **settings: object) -> tuple[str, ...]:
    """The addresses that are dialled for a URL whose name has these, or, where none is given, those of a real look."""
    policy = TargetPolicy(WebhookSettings.model_validate(settings))
    if addresses:
        policy = TargetPolicy(WebhookSettings.model_validate(settings), lambda _: addresses)
    return tuple(map(str, policy.target(Webhook.model_validate({"url": url}).url).addresses))


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:220:1:248:1893:25c8:1946"])
def test_public_addresses_are_dialled(address: str) -> None:
    assert look("https://example.com/hook", address) == (address,)


NOT_PUBLIC = {
    "unspecified": "0.0.0.0",  # noqa: S104
    "this network": "0.1.2.3",
    "private, class A": "10.1.2.3",
    "private, class B": "172.31.255.255",
    "private, class C": "192.168.0.1",
    "carrier's": "100.64.0.1",
    "Alibaba's metadata": "100.100.100.200",
    "loopback": "127.8.9.10",
    "metadata": "169.254.169.254",
    "Azure's metadata": "168.63.129.16",
    "Oracle's metadata": "192.0.0.192",
    "protocol assignments": "192.0.0.8",
    "benchmarks": "198.18.0.1",
    "documentation": "203.0.113.7",
    "multicast": "224.0.0.251",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "unspecified, v6": "::",
    "loopback, v6": "::1",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped public": f"::ffff:{PUBLIC}",
    "compatible": "::7f00:1",
    "translated": "64:ff9b::7f00:1",
    "6to4": "2002:7f00:1::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "documentation, v6": "2001:db8::1",
    "unique local": "fd00:ec2::254",
    "link-local": "fe80::1",
    "link-local, scoped": "fe80::1%eth0",
    "site-local": "fec0::1",
    "multicast, v6": "ff02::1",
}


@pytest.mark.parametrize("address", NOT_PUBLIC.values(), ids=NOT_PUBLIC.keys())
def test_all_others_are_refused(address: str) -> None:
    with pytest.raises(TargetRefused, match="not public"):
        look("https://example.com/hook", address)
    with pytest.raises(TargetRefused, match="not public"):  # among others, too
        look("https://example.com/hook", PUBLIC, address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]", "localhost"],
)
def test_no_spelling_of_an_address_helps(host: str) -> None:
    with pytest.raises(TargetRefused, match="not public"):
        look(f"https://{host}/hook")


def test_a_name_without_an_address_gets_the_same_answer() -> None:
    def unknown(_: str) -> tuple[str, ...]:
        raise OSError("name or service not known")

    policy = TargetPolicy(WebhookSettings(), unknown)
    with pytest.raises(TargetRefused, match="not public"):
        policy.target(Webhook.model_validate({"url": "https://example.com"}).url)


def test_https_at_few_ports() -> None:
    with pytest.raises(TargetRefused, match="must be https"):
        look("http://example.com/hook", PUBLIC)
    assert look("https://example.com:8443/hook", PUBLIC)
    with pytest.raises(TargetRefused, match="the ports 443, 8443 only"):
        look("https://example.com:6379/hook", PUBLIC)
    assert look("https://example.com:6379/hook", PUBLIC, ports=[6379])
    with pytest.raises(TargetRefused, match="the ports 443, 8443 only"):
        look("https://example.com:0/hook", PUBLIC)


def test_allowed_networks_may_be_anything() -> None:
    allowed = ["10.0.0.0/8", "fd00::/8"]
    assert look("http://inside:5000/hook", "10.1.2.3", "fd00::7", allowed_networks=allowed) == ("10.1.2.3", "fd00::7")
    with pytest.raises(TargetRefused):
        look("https://inside/hook", "192.168.1.1", allowed_networks=allowed)
    with pytest.raises(TargetRefused):
        look("http://inside:5000/hook", "10.1.2.3", PUBLIC, allowed_networks=allowed)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com:70/_x",
        "//example.com/hook",
        "https://",
        "https://user:password@example.com/",
        "https://user@example.com/",
        "https://:password@example.com/",
        f"https://example.com/{'a' * 2100}",
        "https://exa mple.com/",
        "https://example.com:99999/",
    ],
)
def test_what_is_no_url_for_a_webhook(url: str) -> None:
    with pytest.raises(ValidationError):
        Webhook.model_validate({"url": url})


def test_all_ends_are_told_unless_some_are_chosen() -> None:
    webhook = TypeAdapter(Webhook)
    assert webhook.validate_python({"url": "https://example.com"}).events == tuple(EventType)
    chosen = webhook.validate_python({"url": "https://example.com", "events": ["job.failed"]})
    assert chosen.events == (EventType.FAILED,)
    for events in ([], ["job.started"], ["job.failed"] * 4):
        with pytest.raises(ValidationError):
            webhook.validate_python({"url": "https://example.com", "events": events})
