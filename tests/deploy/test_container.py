"""What containers run beside the services: the claim of a GPU, health checks."""

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.container import claim_gpu
from deploy.container.claim_gpu import NoneFree, claim
from deploy.servers import free_ports

HEALTH = Path(claim_gpu.__file__).parent / "health.sh"
GPUS = ("4", "GPU-8932f937/5", "6")


def test_each_claims_another_gpu(tmp_path: Path) -> None:
    claims = [claim(GPUS, tmp_path).popitem() for _ in GPUS]
    assert tuple(device for device, _ in claims) == GPUS
    with pytest.raises(NoneFree, match="of the 3 GPUs of RENDER_GPUS 0 have no worker"):
        claim(GPUS, tmp_path)
    os.close(claims[1][1])
    again = claim(GPUS, tmp_path)
    assert list(again) == [GPUS[1]]
    for descriptor in (claims[0][1], again[GPUS[1]], claims[2][1]):
        os.close(descriptor)


def test_a_worker_of_several_claims_all_or_none(tmp_path: Path) -> None:
    first = claim(GPUS, tmp_path, 2)
    assert tuple(first) == GPUS[:2]
    with pytest.raises(NoneFree, match="1 have no worker, and one takes 2"):
        claim(GPUS, tmp_path, 2)
    for descriptor in (*first.values(), *claim(GPUS, tmp_path).values()):  # the one that did not do is free again
        os.close(descriptor)


def test_the_command_keeps_the_claim_until_it_ends(tmp_path: Path) -> None:
    launcher = f"""
import pathlib, sys
from deploy.container import claim_gpu
claim_gpu.CLAIMS = pathlib.Path({str(tmp_path)!r})
claim_gpu.main(sys.argv[1:])
"""
    told = "import os, sys; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", launcher, sys.executable, "-c", told]
    environment = os.environ | {"RENDER_GPUS": "4, 5"}

    def worker() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def device(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    with worker() as first, worker() as second:
        assert {device(first), device(second)} == {"4", "5"}
        with worker() as third:
            _, complaint = third.communicate()
        assert third.returncode == 1
        assert "RENDER_WORKERS should not be more" in complaint
        second.kill()
        second.wait()
        with worker() as successor:
            assert device(successor) in {"4", "5"}
            successor.communicate()
        first.communicate()


@pytest.fixture
def url(served: Any) -> Iterator[str]:
    """A server whose only page is /health."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as url:
        yield url


def test_a_container_is_healthy_if_its_server_answers_so(url: str) -> None:
    def complaint(port: int, path: str) -> str | None:
        done = subprocess.run(["bash", HEALTH, str(port), path], capture_output=True, text=True)
        return (done.stdout + done.stderr) if done.returncode else None

    port = urlsplit(url).port or 0
    assert complaint(port, "/health") is None
    assert complaint(port, "/ready") == "/ready: 503\n"
    assert "refused" in (complaint(free_ports(1)[0], "/health") or "")
