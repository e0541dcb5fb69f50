"""A stand-in for `python:3.11-slim-bookworm`, which no registry has to give: Debian 12, made by debootstrap.

The builds are to find what pip finds on this machine: its certificates and its indexes go along.  Indexes in folders
are served on loopback, which builds reach by the network `host`.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from deploy.compose_check.engine import Engine
from deploy.compose_check.shell import CheckFailed, run, say

IMAGE: Final = "python:3.11-slim-bookworm"
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
INDEX_PORT: Final = 8999
"""Always the same: it is written into the image, whose layers would be built anew with another one."""


@contextmanager
def base_image(engine: Engine) -> Iterator[None]:
    """It is there, and so are pip's indexes while the block runs.  Raises CheckFailed."""
    indexes = _indexes()
    folders = [Path(unquote(urlsplit(url).path)) for url in indexes if url.startswith("file:")]
    root = Path(os.path.commonpath([folder.parent for folder in folders])) if folders else Path("/nowhere")
    reached = [
        f"http://127.0.0.1:{INDEX_PORT}/{Path(unquote(urlsplit(url).path)).relative_to(root)}"
        if url.startswith("file:")
        else url
        for url in indexes
    ]
    if not engine.has_image(IMAGE):
        say(f"{IMAGE}: some minutes, the first time")
        _make(engine, reached)
    try:
        server = ThreadingHTTPServer(("127.0.0.1", INDEX_PORT), partial(_Quiet, directory=str(root)))
    except OSError as error:
        raise CheckFailed(f"port {INDEX_PORT}, for pip's indexes: {error.strerror}") from error
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *_: object) -> None:
        pass


def _indexes() -> list[str]:
    """pip's indexes beside PyPI itself."""
    settings = run([sys.executable, "-m", "pip", "config", "list"])
    values = [line.partition("=")[2].strip("'\"") for line in settings.splitlines() if "extra-index-url" in line]
    return " ".join(values).split()


def _make(engine: Engine, indexes: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run(
            [
                "debootstrap",
                "--variant=minbase",
                "--include=ca-certificates,python3,python3-pip,python3-venv",
                "bookworm",
                root,
            ],
            seconds=1800,
        )
        shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
        (root / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink()
        for name, target in {"python": "python3", "pip": "pip3"}.items():
            (root / "usr/local/bin" / name).symlink_to(f"/usr/bin/{target}")
        for package in (root / "var/cache/apt/archives").glob("*.deb"):
            package.unlink()
        (root / "etc/pip.conf").write_text(
            f"[global]\ncert = {CERTIFICATES}\ndefault-timeout = 180\nextra-index-url = {' '.join(indexes)}\n"
        )
        changes = [f"ENV {name}={CERTIFICATES}" for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")]
        changes.append(f"CMD {json.dumps(['python3'])}")
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:  # noqa: S603, S607
            options = [word for change in changes for word in ("--change", change)]
            subprocess.run(  # noqa: S603
                ["docker", "import", *options, "-", IMAGE],  # noqa: S607
                stdin=tar.stdout,
                env=engine.environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
