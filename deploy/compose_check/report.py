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
changes; in place of vLLM stands a server that knows one scene. The renders are the emoji world's, of 30 steps. Grafana
is in no registry of packages: its dashboard's queries are put to Prometheus instead.
"""


class Line(NamedTuple):
    check: str
    seen: str
    seconds: float

    @property
    def row(self) -> str:
        seen = " ".join(self.seen.split()).replace("|", r"\|")
        return f"| {self.check} | {seen} | {self.seconds:.0f} |"


def write_report(file: Path, lines: Sequence[Line], commit: str, versions: str) -> None:
    when = datetime.now(UTC).date().isoformat()
    cores = os.cpu_count()
    table = "\n".join(line.row for line in lines)
    file.write_text(
        f"{INTRODUCTION}\n{when}, commit {commit}, {versions}, {cores} cores that did much else:\n\n"
        f"| what | seen | s |\n| --- | --- | --: |\n{table}\n"
    )


def replace_lines(file: Path, lines: Sequence[Line], commit: str) -> None:
    """What was tried again, at another commit; the others stay as they are."""
    again = {line.check: line._replace(seen=f"{line.seen} (commit {commit})").row for line in lines}
    rows = file.read_text().splitlines()
    file.write_text("\n".join(again.get(row.split(" | ")[0].removeprefix("| "), row) for row in rows) + "\n")
