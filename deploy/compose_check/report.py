"""benchmarks/compose.md, written by the check itself."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

INTRODUCTION = """# docker compose up

`make compose-check` takes a clean clone, starts a Docker engine of its own, and runs the README's lines for GPUs as
they stand there, with Docker Compose itself. Both Dockerfiles are built as they are. No registry of images is asked:
the base image is made by debootstrap, and Valkey, SeaweedFS and Prometheus come from wheels and from Debian, in images
of the names that `docker-compose.yml` has. `deploy/compose_check/override.yml` is all that a machine without GPUs
changes; in place of vLLM stands a server that knows one scene. The renders are the emoji world's, of 50 steps. Grafana
is in no registry of packages: its dashboard's queries are put to Prometheus instead.
"""


class Line(NamedTuple):
    check: str
    seen: str
    seconds: float


def write_report(file: Path, lines: Sequence[Line], commit: str, versions: str) -> None:
    when = datetime.now(UTC).date().isoformat()
    table = "\n".join(f"| {line.check} | {line.seen} | {line.seconds:.0f} |" for line in lines)
    file.write_text(
        f"{INTRODUCTION}\n{when}, commit {commit}, {versions}, {os.cpu_count()} cores that did much else:\n\n"
        f"| what | seen | s |\n| --- | --- | --: |\n{table}\n"
    )
