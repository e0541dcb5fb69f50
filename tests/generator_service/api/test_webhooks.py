"""Webhooks for those who use the client or the command line."""

import socket

from typer.testing import CliRunner

from generator_service.__main__ import app
from generator_service.client import Client
from generator_service.settings import WebhookSettings

TARGET = "https://93.184.216.34/hook"


def test_the_client_and_the_command_line(serve, redis_url):
    webhook = WebhookSettings.model_validate({"secret": "0123456789abcdef0123456789abcdef"})
    with serve(redis_url=redis_url, webhook=webhook) as api, Client(api.url) as client:

        def run(*arguments):
            return CliRunner().invoke(app, [*arguments, "--url", api.url])

        assert client.webhook_secret().startswith("whsec_")
        assert run("webhook-secret").stdout.strip() == client.webhook_secret()

        job = client.submit(prompt="a red car", webhook={"url": TARGET, "events": ["job.canceled"]})
        assert job.webhook is not None
        assert (str(job.webhook.url), job.webhook.events) == (TARGET, ("job.canceled",))
        assert run("deliveries", job.id).stdout == "none\n"
        client.cancel(job.id)
        assert client.deliveries(job.id).state == "pending"
        assert run("deliveries", job.id).stdout.startswith("pending: next attempt 20")
        assert '"state": "pending"' in run("deliveries", job.id, "--json").stdout

        refused = run("submit", "a red car", "--webhook", "https://10.0.0.1/hook")
        assert refused.exit_code == 1
        assert "webhook.url: has no address, or one that is not public" in refused.output


def test_who_submits_too_fast_has_no_names_looked_up(serve, redis_url, problem, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", tracing(asked, socket.getaddrinfo))
    webhook = WebhookSettings.model_validate({"secret": "0123456789abcdef0123456789abcdef"})
    job = {"prompt": "a red car", "webhook": {"url": "https://name.invalid/hook"}}
    with serve(redis_url=redis_url, webhook=webhook, owner_burst=1, owner_rate=0.001) as api:
        problem(api.http.post("/jobs", json=job), 422, "invalid_request")
        assert asked.count("name.invalid") == 1
        problem(api.http.post("/jobs", json=job), 429, "too_fast")
        assert asked.count("name.invalid") == 1


def tracing(asked, getaddrinfo):
    def traced(host, *arguments, **options):
        asked.append(host)
        return getaddrinfo(host, *arguments, **options)

    return traced
