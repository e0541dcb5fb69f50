"""deploy/tls/Caddyfile before the running stack, as docs/tls.md says, with certificates that Caddy makes itself."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.compose_check.shell import expect, run, until
from deploy.compose_check.stack import JOB, LONG, Stack
from deploy.servers import free_ports

API: Final = "api.localhost"
STORAGE: Final = "storage.localhost"
OPTIONS: Final = "{\n\tskip_install_trust\n\tadmin off\n\tauto_https disable_redirects\n}\n"
PROXIES: Final = '["172.16.0.0/12", "192.168.0.0/16"]'
LARGE: Final = 1_900_000
TRUSTING: Final = ("curl", "--silent", "--show-error", "--max-time", "300", "--cacert")


@dataclass(frozen=True)
class Proxy:
    api: str
    storage: str
    certificate: Path
    key: str

    def curl(self, *arguments: str | Path) -> str:
        curl: list[str | Path] = [*TRUSTING, self.certificate, "--header", f"Authorization: Bearer {self.key}"]
        return run([*curl, *arguments])

    def status(self, *arguments: str) -> str:
        return self.curl("--output", "/dev/null", "--write-out", "%{http_code}", *arguments)


def tls_passes_everything(stack: Stack) -> str:
    with _proxy(stack) as proxy:
        stack.compose("up --detach generator-api", PROXIES=PROXIES, S3_PUBLIC_URL=proxy.storage)
        stack.wait_until_healthy()
        try:
            return _passes(stack, proxy)
        finally:
            stack.compose("up --detach generator-api")
            stack.wait_until_healthy()


def _passes(stack: Stack, proxy: Proxy) -> str:
    as_json = ["--header", "Content-Type: application/json"]
    job = json.loads(
        proxy.curl(*as_json, "--data", json.dumps(JOB | LONG | {"planner": "parser"}), f"{proxy.api}/jobs")
    )
    expect(job["events_url"].startswith(f"{proxy.api}/"), f"a link is {job['events_url']}")

    first, begin = 0.0, time.monotonic()
    events_of = [*TRUSTING, proxy.certificate, "--no-buffer", job["events_url"]]
    with subprocess.Popen(events_of, stdout=subprocess.PIPE, text=True) as stream:  # noqa: S603
        events = 0
        for line in stream.stdout or ():
            if line.startswith("event: job"):
                events += 1
                first = first or time.monotonic() - begin
    lasted = time.monotonic() - begin
    expect(events > 5 and first < lasted / 2, f"{events} events, the first after {first:.1f} of {lasted:.1f} s")

    large = stack.log.parent / "large.json"
    large.write_text(json.dumps({"prompt": "a car", "metadata": {"blanks": " " * LARGE}}))
    refused = proxy.status(*as_json, "--data", f"@{large}", f"{proxy.api}/jobs")
    expect(refused == "422", f"a body of {LARGE} bytes, of which the API reads all, is answered with {refused}")

    video = stack.log.parent / "tls.mp4"
    url = proxy.curl("--output", "/dev/null", "--write-out", "%{redirect_url}", f"{proxy.api}/jobs/{job['id']}/content")
    expect(url.startswith(f"{proxy.storage}/"), f"the video is at {url}")
    run([*TRUSTING, proxy.certificate, "--fail", "--output", video, url])
    expect(video.read_bytes()[4:8] == b"ftyp", "what the signed URL gives is no MP4")

    answers = {
        "metrics": proxy.status(f"{proxy.api}/metrics"),
        "health": proxy.status(f"{proxy.api}/health"),
        "studio": proxy.status(f"{proxy.api}/"),
        "a write to the storage": proxy.status("--request", "PUT", f"{proxy.storage}/videos/x"),
    }
    wanted = dict(zip(answers, ("404", "200", "200", "405"), strict=True))
    expect(answers == wanted, f"answers through the proxy: {answers}")
    return (
        f"an event stream of {lasted:.0f} s ({events} events, the first after {first:.1f} s), a body of 1.9 MB, https "
        "links and the signed URL pass; /metrics and writes to the storage do not"
    )


@contextmanager
def _proxy(stack: Stack) -> Iterator[Proxy]:
    folder = stack.log.parent / "caddy"
    folder.mkdir(exist_ok=True)
    api, storage = free_ports(2)
    config = folder / "Caddyfile"
    config.write_text(f"{OPTIONS}import {stack.clone / 'deploy/tls/Caddyfile'}\n")
    told = {"API_HOST": f"{API}:{api}", "STORAGE_HOST": f"{STORAGE}:{storage}", "XDG_DATA_HOME": str(folder)}
    environment = os.environ | told | {name: stack.environment[name] for name in ("API_PORT", "S3_PORT")}
    command: list[str | Path] = ["caddy", "run", "--adapter", "caddyfile", "--config", config]
    certificate = folder / "caddy/pki/authorities/local/root.crt"
    with (
        (folder / "caddy.log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as caddy,  # noqa: S603
    ):
        try:
            proxy = Proxy(f"https://{API}:{api}", f"https://{STORAGE}:{storage}", certificate, stack.key)
            until("Caddy has its certificate", certificate.is_file, 30)
            until(
                "Caddy answers",
                lambda: proxy.status("--retry", "5", "--retry-all-errors", f"{proxy.api}/health") == "200",
                30,
            )
            yield proxy
        finally:
            caddy.terminate()
            caddy.wait(30)
