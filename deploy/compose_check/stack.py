"""The stack under Compose, as an operator and a client see it."""

import hashlib
import json
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from deploy.compose_check.engine import Engine
from deploy.compose_check.shell import CheckFailed, expect, run, until
from deploy.servers import free_ports

SERVICES: Final = (
    "vllm", "valkey", "seaweedfs", "planner", "generator-api", "plan-worker", "webhook-worker", "render-worker",
)  # fmt: skip
PROMETHEUS: Final = "prometheus"
JOB: Final = {"prompt": "a red car drives to the right while a tree stands still", "seed": 7}
LANGUAGE_MODEL: Final = {"planner": "language-model"}
LONG: Final = {"steps": 30}
"""Some ten seconds of sampling on two cores."""
ENDED: Final = ("succeeded", "failed", "canceled")
JOB_SECONDS: Final = 240.0
HEALTHY_SECONDS: Final = 300.0
BUILD_SECONDS: Final = 3600.0

Job = dict[str, Any]


@dataclass(frozen=True)
class Container:
    id: str
    service: str
    facts: dict[str, Any]
    """What `docker inspect` tells."""

    @property
    def pid(self) -> int:
        return int(self.facts["State"]["Pid"])

    @property
    def restarts(self) -> int:
        return int(self.facts["RestartCount"])

    @property
    def is_healthy(self) -> bool:
        state = self.facts["State"]
        return bool(state["Running"]) and state.get("Health", {}).get("Status") == "healthy"


@dataclass
class Stack:
    engine: Engine
    clone: Path
    log: Path
    """Gets what the README's commands write."""
    environment: dict[str, str]
    key: str = ""

    # what operators do

    def line(self, command: str) -> None:
        """A line of the README, as it stands there."""
        run(
            ["bash", "-c", command],
            environment=self.environment,
            folder=self.clone,
            seconds=BUILD_SECONDS,
            log=self.log,
        )

    def compose(self, arguments: str, seconds: float = 300.0, **variables: str) -> str:
        command = ["docker", "compose", *shlex.split(arguments)]
        return run(command, environment=self.environment | variables, folder=self.clone, seconds=seconds)

    def containers(self, *services: str, stopped: bool = False) -> list[Container]:
        ids = self.compose(f"ps --quiet {'--all' if stopped else ''} {' '.join(services)}").split()
        facts = json.loads(self.engine.docker("inspect", *ids)) if ids else []
        return [Container(its["Id"], its["Config"]["Labels"]["com.docker.compose.service"], its) for its in facts]

    def one(self, service: str) -> Container:
        (container,) = self.containers(service, stopped=True)
        return container

    def wait_until_healthy(self, *services: str, count: int | None = None) -> float:
        """All that the README's lines start, unless others are named."""
        wanted = services or SERVICES

        def healthy() -> bool:
            found = self.containers(*wanted)
            return len(found) == (count or len(wanted)) and all(its.is_healthy for its in found)

        return until(f"healthy: {', '.join(wanted)}", healthy, HEALTHY_SECONDS)

    def inside(self, container: Container, script: str) -> str:
        """What a bash script writes that runs in the container, as its user."""
        return self.engine.docker("exec", container.id, "bash", "-c", script)

    # what clients do

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.environment['API_PORT']}"

    def get(self, path: str) -> Any:
        return self._asked("GET", path)

    def submit(self, **more: Any) -> str:
        return str(self._asked("POST", "/jobs", json={**JOB, **more})["id"])

    def job(self, job_id: str) -> Job:
        """Raises CheckFailed where the API gives no answer."""
        found = self._asked("GET", f"/jobs/{job_id}")
        assert isinstance(found, dict)  # noqa: S101
        return found

    def wait_until_in_hand(self, job_id: str, stage: str) -> None:
        """Until a worker is well into this stage of it."""

        def in_hand() -> bool:
            job = self.job(job_id)
            expect(job["status"] not in ENDED, f"the job {job['status']} before anything was done to it")
            begun = job["step"] >= 3 if stage == "sampling" else True
            return job["status"] == "running" and job["stage"] == stage and begun

        until(f"a job in the stage {stage}", in_hand, JOB_SECONDS)

    def wait_for(self, job_id: str) -> Job:
        """The job as it ended: it must succeed, whatever the API does meanwhile."""

        def ended() -> bool:
            with suppress(CheckFailed):
                return self.job(job_id)["status"] in ENDED
            return False

        until(f"the job {job_id} ends", ended, JOB_SECONDS)
        job = self.job(job_id)
        expect(job["status"] == "succeeded", f"the job {job_id} {job['status']}: {json.dumps(job.get('error'))}")
        return job

    def video_hash(self, job_id: str) -> str:
        answer = httpx.get(
            f"{self.api}/jobs/{job_id}/content", headers=self._headers, follow_redirects=True, timeout=30
        )
        if not answer.is_success or answer.content[4:8] != b"ftyp":
            raise CheckFailed(f"the video of {job_id}: {answer.status_code}, {len(answer.content)} bytes")
        return hashlib.sha256(answer.content).hexdigest()

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def _asked(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = httpx.request(method, self.api + path, headers=self._headers, timeout=20, trust_env=False, **more)
        except httpx.TransportError as error:
            raise CheckFailed(f"{method} {path}: {error}") from error
        if not answer.is_success:
            raise CheckFailed(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()


def cloned(engine: Engine, repository: Path, folder: Path) -> Stack:
    """Nothing runs yet.  Raises CheckFailed."""
    run(["git", "clone", "--quiet", "--no-hardlinks", repository, folder])
    log = folder.parent / "readme.log"
    log.unlink(missing_ok=True)
    api, s3, grafana = free_ports(3)
    # What deploy/env.example leaves to the operator; the shell's variables come before .env's.
    sizes = {
        "API_PORT": api, "S3_PORT": s3, "GRAFANA_PORT": grafana, "S3_PUBLIC_URL": f"http://127.0.0.1:{s3}",
        "RENDER_BACKBONE": "emoji-world", "RENDER_GPUS": "0,1", "RENDER_WORKERS": 1, "PLAN_WORKERS": 1,
    }  # fmt: skip
    environment = engine.environment | {name: str(value) for name, value in sizes.items()}
    environment |= {"COMPOSE_FILE": "docker-compose.yml:deploy/compose_check/override.yml", "COMPOSE_ANSI": "never"}
    return Stack(engine, folder, log, environment)


def readme_lines(clone: Path) -> list[str]:
    """The commands of the README's section "On GPUs"."""
    section = (clone / "README.md").read_text().partition("\n## On GPUs\n")[2]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    if block is None:
        raise CheckFailed("the README's section 'On GPUs' has no commands")
    return [line for line in block[1].splitlines() if line]
