"""What is refused when a job is submitted."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from generator_service.contract.request import Webhook
from generator_service.settings import WebhookSettings
from generator_service.webhooks import acceptance
from generator_service.webhooks.acceptance import WebhookAcceptance
from shared.errors import InvalidRequest, LimitReached, NotFound, Unavailable

SECRET = "0123456789abcdef0123456789abcdef"
WEBHOOK = Webhook.model_validate({"url": "https://example.com/hook"})


def fields(refused: pytest.ExceptionInfo[InvalidRequest]) -> list[str]:
    return [violation.field for violation in refused.value.violations]


def test_without_a_secret_there_are_no_webhooks() -> None:
    with WebhookAcceptance(WebhookSettings()) as webhooks:
        with pytest.raises(InvalidRequest, match="no secret") as refused:
            webhooks.accept(WEBHOOK, "anna")
        assert fields(refused) == ["webhook"]
        with pytest.raises(NotFound):
            webhooks.secret_of("anna")


def test_an_empty_secret_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATOR_WEBHOOK_SECRET", "")
    assert WebhookSettings().secret is None
    monkeypatch.setenv("GENERATOR_WEBHOOK_SECRET", "too short")
    with pytest.raises(ValueError, match="at least 24"):
        WebhookSettings()


def test_a_target_is_looked_at() -> None:
    settings = WebhookSettings.model_validate({"secret": SECRET})
    with WebhookAcceptance(settings, lambda _: ["93.184.216.34"]) as webhooks:
        webhooks.accept(WEBHOOK, "anna")
        assert webhooks.secret_of("anna") == "whsec_2gZuYh7dLcm3l2DMaeu2GtiI7JH/N3/mrhqHsf7Wxxg="
    with (
        WebhookAcceptance(settings, lambda _: ["10.0.0.1"]) as webhooks,
        pytest.raises(InvalidRequest, match="not public") as refused,
    ):
        webhooks.accept(WEBHOOK, "anna")
    assert fields(refused) == ["webhook.url"]


@dataclass
class NameServer:
    """Answers for `example.com` at once, for all other names once it is told to."""

    answering: threading.Event = field(default_factory=threading.Event)

    def resolve(self, host: str) -> list[str]:
        if host != "example.com":
            assert self.answering.wait(20)
        return ["93.184.216.34"]


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> NameServer:
    monkeypatch.setattr(acceptance, "RESOLVE_SECONDS", 0.1)
    monkeypatch.setattr(acceptance, "RESOLVERS_OF_AN_OWNER", 2)
    return NameServer()


@pytest.fixture
def webhooks(name_server: NameServer) -> Iterator[WebhookAcceptance]:
    settings = WebhookSettings.model_validate({"secret": SECRET})
    with WebhookAcceptance(settings, name_server.resolve) as webhooks:
        yield webhooks
        name_server.answering.set()


def dead(number: int) -> Webhook:
    return Webhook.model_validate({"url": f"https://dead{number}.example.com/hook"})


def test_a_slow_name_server_holds_no_answer_up(webhooks: WebhookAcceptance) -> None:
    with pytest.raises(InvalidRequest, match=r"could not be resolved within 0\.1 s") as refused:
        webhooks.accept(dead(1), "anna")
    assert fields(refused) == ["webhook.url"]


def test_whose_names_are_slow_waits_and_nobody_else(
    webhooks: WebhookAcceptance, name_server: NameServer, wait_until: Callable[..., None]
) -> None:
    """Two lookups of hers go on although nobody waits for them: as many as she may have."""
    for number in range(2):
        with pytest.raises(InvalidRequest):
            webhooks.accept(dead(number), "anna")
    with pytest.raises(LimitReached) as refused:
        webhooks.accept(WEBHOOK, "anna")
    assert refused.value.retry_after == 3
    webhooks.accept(WEBHOOK, "bert")
    name_server.answering.set()

    def accepted() -> bool:
        try:
            webhooks.accept(WEBHOOK, "anna")
        except LimitReached:
            return False
        return True

    wait_until(accepted)


def test_that_all_lookups_are_taken_is_no_fault_of_the_next_one(
    name_server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "RESOLVERS", 2)
    with WebhookAcceptance(WebhookSettings.model_validate({"secret": SECRET}), name_server.resolve) as webhooks:
        for owner in ("anna", "bert"):
            with pytest.raises(InvalidRequest):
                webhooks.accept(dead(1), owner)
        with pytest.raises(Unavailable, match="too many") as refused:
            webhooks.accept(WEBHOOK, "carl")
        assert refused.value.retry_after == 3
        name_server.answering.set()
