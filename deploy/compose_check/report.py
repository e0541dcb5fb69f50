"""benchmarks/compose.md, written by the check itself from one run of all of it."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

INTRODUCTION = """# docker compose up

`make compose-check` takes a clean clone, starts a Docker engine of its own, and runs the README's lines for GPUs as
they stand there, with Docker Compose itself. Both Dockerfiles are built as they are. No registry of images is asked:
the base image is made by debootstrap, and Valkey, SeaweedFS and Prometheus come from wheels and from Debian, in images
of the names that `docker-compose.yml` has. `deploy/compose_check/override.yml` is all that a machine without GPUs
changes; in place of vLLM stands a server that knows one scene. The renders are the emoji world's, of 30 steps. Grafana
is in no registry of packages: its dashboard's queries are put to Prometheus instead.

Once, on 2026-11-30, by hand: a real vLLM 0.32.0, built for CPUs, in that server's place, with docker-compose.yml's
command, user and read-only root. It served Qwen2.5-Coder-1.5B on one busy core in 7.4 GB of memory and planned this
scene in 76 s; the job was done after 81.
"""


class Line(NamedTuple):
    check: str
    seen: str
    seconds: float

    @property
    def cell(self) -> str:
        return " ".join(self.seen.split()).replace("|", r"\|")


def report(lines: Sequence[Line], commit: str, versions: str) -> str:
    today = datetime.now(UTC).date().isoformat()
    minutes = sum(line.seconds for line in lines) / 60
    machine = f"{os.cpu_count()} cores, load average {os.getloadavg()[2]:.0f}"
    rows = "".join(f"| {its.check} | {its.cell} | {its.seconds:.0f} |\n" for its in lines)
    return (
        f"{INTRODUCTION}\n{today}, commit {commit}, {versions}, {machine}, {minutes:.0f} minutes:\n\n"
        f"| what | seen | s |\n| --- | --- | --: |\n{rows}"
    )
