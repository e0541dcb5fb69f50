"""What is refused when a job is submitted."""

import threading

import pytest

from generator_service.settings import WebhookSettings
from generator_service.subscription import Webhook
from generator_service.webhooks import acceptance
from generator_service.webhooks.acceptance import WebhookAcceptance
from shared.errors import InvalidRequest, NotFound

SECRET = "0123456789abcdef0123456789abcdef"
WEBHOOK = Webhook.model_validate({"url": "https://example.com/hook"})


def fields(refused: pytest.ExceptionInfo[InvalidRequest]) -> list[str]:
    return [violation.field for violation in refused.value.violations]


def test_without_a_secret_there_are_no_webhooks() -> None:
    with WebhookAcceptance(WebhookSettings()) as webhooks:
        with pytest.raises(InvalidRequest, match="no secret") as refused:
            webhooks.accept(WEBHOOK)
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
        webhooks.accept(WEBHOOK)
        assert webhooks.secret_of("anna") == "whsec_2gZuYh7dLcm3l2DMaeu2GtiI7JH/N3/mrhqHsf7Wxxg="
    with (
        WebhookAcceptance(settings, lambda _: ["10.0.0.1"]) as webhooks,
        pytest.raises(InvalidRequest, match="not public") as refused,
    ):
        webhooks.accept(WEBHOOK)
    assert fields(refused) == ["webhook.url"]


def test_a_slow_name_server_holds_no_answer_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "RESOLVE_SECONDS", 0.1)
    answering = threading.Event()

    def slow(_: str) -> list[str]:
        answering.wait(20)
        return ["93.184.216.34"]

    settings = WebhookSettings.model_validate({"secret": SECRET})
    with WebhookAcceptance(settings, slow) as webhooks:
        with pytest.raises(InvalidRequest, match=r"within 0\.1 s") as refused:
            webhooks.accept(WEBHOOK)
        answering.set()
    assert fields(refused) == ["webhook.url"]
