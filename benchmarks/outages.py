"""Take each part away in the middle of a job, for a while, and see what becomes of the job: `make outages SECONDS=30`.

The real servers, services and workers, with their default settings, and the model that ships; for a language model,
`one_scene.py`, which thinks for a second about each answer.  One part after another is killed (kill -9) while a worker
has a job in hand that needs it: a plan worker, where the part is the planner or its language model, else a render
worker.  It is started again after so many seconds.  A table comes before the last line, which is one JSON object: for
each part

    ready               what `GET /ready` names as missing at the end of that time
    got                 the status of `GET` of the job meanwhile
    posted              the status of the `POST` of another job meanwhile, which asks for the rule-based parser
    job                 how the job ended, ...
    attempts, videos    ... in which attempt, and with how many videos in the storage
    waited_for          what its record named meanwhile as gone
    seconds_after       from the part's return until the job had ended
    other               how the other job ended; null where it was not accepted
    other_seconds       from its submission until it had ended
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx

from benchmarks.whole_service import GENERATOR, PROMPT, START_SECONDS, Victims, until, whole_service
from deploy.servers import answers
from deploy.stack import bypass_proxies
from generator_service.contract.job import JobStatus, Stage
from generator_service.jobs.connection import connect
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.settings import Settings
from generator_service.storage import JobKeys, ObjectStore

REDIS, STORAGE, PLANNER, LANGUAGE_MODEL = PARTS = ("Redis", "storage", "planner", "language model")
THINKING_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 180.0


@dataclass
class Service:
    http: httpx.Client
    store: JobStore
    objects: ObjectStore
    processes: Victims
    is_there: dict[str, Callable[[], bool]]
    """For each part."""

    def start(self, part: str) -> None:
        self.processes.start(part)
        if not until(self.is_there[part], START_SECONDS):
            raise TimeoutError(f"{part} does not start")

    def submit(self, planner: str) -> httpx.Response:
        return self.http.post("/jobs", json={"prompt": PROMPT, "planner": planner, "seed": 7})


@dataclass(frozen=True)
class Seen:
    """The module's docstring has the meanings."""

    ready: tuple[str, ...]
    got: int
    posted: int
    job: JobStatus
    attempts: int
    videos: int
    waited_for: str | None
    seconds_after: float
    other: JobStatus | None
    other_seconds: float | None


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    whole = whole_service(folder, THINKING_SECONDS)
    parts = dict(zip(PARTS, (whole.redis, whole.storage, whole.planner, whole.language_model), strict=True))
    environment = whole.environment | whole.storage.environment
    os.environ |= environment
    commands = whole.generator | {name: list(part.command) for name, part in parts.items()}
    is_there = {name: part.ready for name, part in parts.items()}
    settings = Settings()
    (folder / "logs").mkdir()
    processes = Victims(commands, environment, folder / "logs", folders={STORAGE: folder / "seaweedfs"})
    with ExitStack() as stack:
        for socket in whole.storage.leaves:
            stack.callback(socket.unlink, missing_ok=True)
        stack.callback(processes.kill_all)
        text = stack.enter_context(connect(settings.redis_url, decode=True))
        http = stack.enter_context(httpx.Client(base_url=whole.api, timeout=60, trust_env=False))
        running = Service(http, JobStore(text), ObjectStore.open(settings.storage), processes, is_there)
        for part in PARTS:
            running.start(part)
        for kind in GENERATOR:
            processes.start(kind)
        if not until(lambda: answers(f"{whole.api}/ready"), START_SECONDS):
            raise TimeoutError("not everybody starts")
        yield running


def outage(service: Service, part: str, seconds: float) -> Seen:
    store, planning = service.store, part in (PLANNER, LANGUAGE_MODEL)
    job = service.submit("language-model").json()["id"]

    def in_hand(record: JobRecord) -> bool:
        busy = record.stage is Stage.PLANNING if planning else record.step > 0
        return record.status is JobStatus.RUNNING and busy

    if not until(lambda: in_hand(store.get(job)), PATIENCE_SECONDS):
        raise TimeoutError(f"nobody begins: {store.get(job)}")
    (victim,) = service.processes.processes[part]
    service.processes.kill(victim)
    begin = time.monotonic()
    got, posted = service.http.get(f"/jobs/{job}"), service.submit("parser")
    posted_at = time.monotonic()
    other = posted.json()["id"] if posted.is_success else None
    named: set[str] = set()
    ends: dict[str, float] = {}

    def look() -> bool:
        """Whether both have ended."""
        records = store.get_many(filter(None, (job, other)))
        for record in records:
            if record.id == job and record.waiting_for is not None:
                named.add(record.waiting_for.code)
            if record.status.is_terminal:
                ends.setdefault(record.id, time.monotonic())
        return len(ends) == len(records)

    until(lambda: look() and time.monotonic() - begin >= seconds, seconds - (time.monotonic() - begin))
    ready = service.http.get("/ready")
    service.start(part)
    back_at = time.monotonic()
    until(look, PATIENCE_SECONDS)
    record = store.get(job)
    videos = sum(key.endswith(".mp4") for key in service.objects.keys(JobKeys(job).prefix))
    return Seen(
        ready=tuple(violation["field"] for violation in ready.json().get("violations", ())),
        got=got.status_code,
        posted=posted.status_code,
        job=record.status,
        attempts=record.attempt,
        videos=videos,
        waited_for=", ".join(sorted(named)) or None,
        seconds_after=round(ends.get(job, float("inf")) - back_at, 1),
        other=None if other is None else store.get(other).status,
        other_seconds=None if other is None else round(ends.get(other, float("inf")) - posted_at, 1),
    )


def table(seen: dict[str, Seen]) -> str:
    head = ("gone", *(name.replace("_", " ") for name in Seen.__annotations__))
    rows = [head, ("---",) * len(head)]
    for part, its in seen.items():
        cells = (", ".join(value) if isinstance(value, tuple) else value for value in asdict(its).values())
        rows.append((part, *("–" if cell in (None, "") else str(cell) for cell in cells)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="each part is gone for so long")
    arguments = parser.parse_args()
    bypass_proxies()
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as running:
        seen = {part: outage(running, part, arguments.seconds) for part in PARTS}
    print(table(seen))  # noqa: T201
    print(json.dumps({part: asdict(its) for part, its in seen.items()}))  # noqa: T201


if __name__ == "__main__":
    main()
