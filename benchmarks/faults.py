"""Kill processes at random over a stream of jobs, and count what became of the jobs: `make faults KILLS=100`.

The real servers, services and workers, the model that ships, and the default settings, but for three: no job is given
up here, so every one must succeed; checkpoints come often enough for these short videos; and the API has two processes.
The planner asks `one_scene.py`, which takes its time as a language model does: plan workers have their hands full.

Who is killed (kill -9) is a plan worker, a render worker, the API (the process that began the others, which must end
with it), one of the API's processes, or Valkey, each kind as likely as the others.  Half of the workers are killed with
a job in hand, everybody else at any moment, while jobs are submitted, planned and rendered.  Each has a successor at
once, but for Valkey, which is gone for up to `LONGEST_OUTAGE` seconds, and finds its append-only file.  A client that
gets no answer sends the same again, with the same Idempotency-Key.

A table of kills by kind comes before the last line, which is one JSON object:

    jobs                 acknowledged by the API
    kills                of all kinds
    lost                 jobs that are gone, or ended otherwise than in success
    duplicated           jobs with more than one video in the storage, and jobs beyond the first of one key
    stuck                jobs that have not ended `PATIENCE_SECONDS` after the last progress of any job
    notice_seconds_max   the longest from the kill of a worker until the job in its hands was reclaimed; null if none
                         had one
"""

import argparse
import json
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.whole_service import (
    API,
    POLL_SECONDS,
    PROMPT,
    START_SECONDS,
    Victims,
    command_of,
    until,
    whole_service,
)
from deploy.parts import started
from deploy.servers import answers
from deploy.stack import PLAN_WORKER, RENDER_WORKER, bypass_proxies
from generator_service.client import Client
from generator_service.contract.job import JobStatus
from generator_service.jobs.connection import connect
from generator_service.jobs.record import JobRecord
from generator_service.jobs.store import JobStore
from generator_service.jobs.workers import WorkerRegistry
from generator_service.settings import Settings
from generator_service.storage import JobKeys, ObjectStore
from shared.errors import NotFound, Unavailable

STEPS: Final = 25
THINKING_SECONDS: Final = 0.75
"""For each of a plan's two answers."""
API_PROCESS: Final = "API process"
VALKEY_SERVER: Final = "Valkey"
KINDS: Final = (PLAN_WORKER, RENDER_WORKER, API, API_PROCESS, VALKEY_SERVER)
WORKERS: Final = (PLAN_WORKER, RENDER_WORKER)
API_PROCESSES: Final = 2
MANY: Final = {PLAN_WORKER: 1, RENDER_WORKER: 2, API: 1, VALKEY_SERVER: 1}
"""Those that are started here; the API starts its processes itself."""
AT_ONCE: Final = 6
"""Jobs that have not ended: enough to keep every worker busy."""
LONGEST_PAUSE: Final = 4.0
"""Between two kills, in seconds."""
LONGEST_OUTAGE: Final = 3.0
"""Of Valkey, in seconds."""
PATIENCE_SECONDS: Final = 120.0


@dataclass
class Service:
    client: Client
    store: JobStore
    registry: WorkerRegistry
    objects: ObjectStore
    victims: Victims
    is_answering: dict[str, Callable[[], bool]]
    """Of the API and of Valkey."""

    def is_whole(self) -> bool:
        """Whether everybody is there again."""
        beating = [worker.name for worker in self.registry.alive()]
        workers = [process for kind in WORKERS for process in self.victims.processes[kind]]
        return (
            all(any(f"-{process.pid}-" in name for name in beating) for process in workers)
            and all(is_answering() for is_answering in self.is_answering.values())
            and len(self.victims.servers()) == API_PROCESSES
        )

    def held_by(self, pid: int) -> list[str]:
        """The jobs in the hands of this process; of a dead one, until they are reclaimed."""
        return [record.id for record in self.store.list_running() if f"-{pid}-" in str(record.worker)]

    def list_unended(self, jobs: Iterable[str]) -> list[str]:
        return [record.id for record in self.store.get_many(jobs) if not record.status.is_terminal]


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    """Storage and planner, which stay, and those to be killed, on their way."""
    whole = whole_service(folder, THINKING_SECONDS)
    environment = whole.environment | {
        "GENERATOR_PROCESSES": str(API_PROCESSES),
        "GENERATOR_MAXIMUM_ATTEMPTS": "1000000",
        "GENERATOR_RENDER_CHECKPOINT_SECONDS": "0.5",
    }
    os.environ |= environment
    commands = whole.generator | {VALKEY_SERVER: list(whole.redis.command)}
    is_answering = {VALKEY_SERVER: whole.redis.ready, API: lambda: answers(f"{whole.api}/health")}
    is_answering[API_PROCESS] = is_answering[API]
    settings = Settings()
    victims = Victims(commands, environment, folder / "logs")
    with ExitStack() as stack:
        stack.enter_context(started([whole.storage, whole.language_model, whole.planner], folder / "logs"))
        stack.callback(victims.kill_all)
        text = stack.enter_context(connect(settings.redis_url, decode=True))
        client = stack.enter_context(Client(whole.api))
        running = Service(
            client,
            JobStore(text),
            WorkerRegistry(text, settings.heartbeat_seconds),
            ObjectStore.open(settings.storage),
            victims,
            is_answering,
        )
        for kind in (VALKEY_SERVER, API, PLAN_WORKER, RENDER_WORKER):
            for _ in range(MANY[kind]):
                victims.start(kind)
            if kind is VALKEY_SERVER and not until(whole.redis.ready, START_SECONDS):
                raise TimeoutError("Valkey does not start")
        yield running


class Clients(threading.Thread):
    """Submit a job whenever fewer than `AT_ONCE` have not ended; the same again where the API does not answer."""

    def __init__(self, service: Service, seed: int) -> None:
        super().__init__(name="clients", daemon=True)
        self.acknowledged: list[str] = []
        self._service = service
        self._seeds = random.Random(seed)  # noqa: S311  (no secret)
        self._stopping = threading.Event()

    def run(self) -> None:
        seed = self._seeds.randrange(2**32)
        while not self._stopping.wait(POLL_SECONDS):
            with suppress(Unavailable):
                if len(self._service.list_unended(self.acknowledged)) < AT_ONCE:
                    wish = {"prompt": PROMPT, "planner": "language-model", "steps": STEPS, "seed": seed}
                    job = self._service.client.submit(idempotency_key=str(seed), **wish)
                    self.acknowledged.append(job.id)
                    seed = self._seeds.randrange(2**32)

    def stop(self) -> None:
        self._stopping.set()
        self.join()


@dataclass
class Kill:
    kind: str
    held: bool
    """It had a job in hand."""
    seconds: float | None
    """Until that job was reclaimed, or until the API or Valkey answered again."""


def kill_one(service: Service, chance: random.Random) -> Kill:
    kind = chance.choice(KINDS)
    if kind in WORKERS:
        return kill_worker(service, kind, chance)
    victims = service.victims
    begin = time.monotonic()
    if kind == API_PROCESS:
        chance.choice(victims.servers()).kill()
    else:
        left = victims.servers() if kind == API else []
        (process,) = victims.processes[kind]
        victims.kill(process)
        if not until(lambda: not any(map(command_of, left)), START_SECONDS):
            raise TimeoutError("the API's processes outlive the one that began them")
        time.sleep(chance.uniform(0.0, LONGEST_OUTAGE) if kind == VALKEY_SERVER else 0.0)
        victims.start(kind)
    until(service.is_answering[kind], START_SECONDS)
    return Kill(kind, held=False, seconds=time.monotonic() - begin)


def kill_worker(service: Service, kind: str, chance: random.Random) -> Kill:
    victims = service.victims
    process = chance.choice(victims.processes[kind])
    if chance.random() < 0.5:
        until(lambda: bool(service.held_by(process.pid)), PATIENCE_SECONDS)
        time.sleep(chance.uniform(0.0, THINKING_SECONDS))
    victims.kill(process)
    begin = time.monotonic()
    held = bool(service.held_by(process.pid))
    victims.start(kind)
    if not held:
        return Kill(kind, held, None)
    until(lambda: not service.held_by(process.pid), PATIENCE_SECONDS)
    return Kill(kind, held, time.monotonic() - begin)


def faults(service: Service, kills: int, chance: random.Random) -> dict[str, int | float | None]:
    """The table of the module's docstring."""
    clients = Clients(service, seed=chance.randrange(2**32))
    clients.start()
    done: list[Kill] = []
    while len(done) < kills:
        if not until(service.is_whole, START_SECONDS):
            raise TimeoutError("not everybody starts")
        time.sleep(chance.uniform(0.0, LONGEST_PAUSE))
        done.append(kill_one(service, chance))
        print(f"kill {len(done)} of {kills}: {describe(done[-1])}", flush=True)  # noqa: T201
    until(service.is_whole, START_SECONDS)
    clients.stop()

    def everybodys() -> list[JobRecord]:
        """The last one as well, which the API may not have acknowledged any more."""
        return list(service.store.list(limit=100_000).jobs)

    def progress() -> object:
        return [(record.id, record.status, record.stage, record.step, record.attempt) for record in everybodys()]

    seen, since = progress(), time.monotonic()
    while any(not record.status.is_terminal for record in everybodys()) and time.monotonic() - since < PATIENCE_SECONDS:
        time.sleep(POLL_SECONDS)
        if (now := progress()) != seen:
            seen, since = now, time.monotonic()
    until(lambda: not service.store.leftovers(), PATIENCE_SECONDS)

    jobs = clients.acknowledged
    stuck = [record.id for record in everybodys() if not record.status.is_terminal]
    lost = [job for job in jobs if job not in stuck and not succeeded(service, job)]
    for record in service.store.get_many([*stuck, *lost]):
        print(f"{record.id}: {record.status}, {record.stage}, {record.error}")  # noqa: T201
    of_one_key = Counter(record.settings.seed for record in everybodys())
    of_one_key.subtract(set(of_one_key))
    notices = [kill.seconds for kill in done if kill.held and kill.seconds is not None]
    print(by_kind(done))  # noqa: T201
    return {
        "jobs": len(jobs),
        "kills": kills,
        "lost": len(lost),
        "duplicated": sum(videos(service, record.id) > 1 for record in everybodys()) + sum(of_one_key.values()),
        "stuck": len(stuck),
        "notice_seconds_max": round(max(notices), 1) if notices else None,
    }


def describe(kill: Kill) -> str:
    if kill.kind not in WORKERS:
        return f"{kill.kind}, back after {kill.seconds:.1f} s"
    return f"{kill.kind}, {f'its job reclaimed after {kill.seconds:.1f} s' if kill.held else 'at no job'}"


def by_kind(kills: list[Kill]) -> str:
    lines = ["| kind | kills | at work | longest |", "| --- | --: | --: | --: |"]
    for kind in KINDS:
        its = [kill for kill in kills if kill.kind == kind]
        longest = max((kill.seconds for kill in its if kill.seconds is not None), default=None)
        cell = "" if longest is None else f"{longest:.1f} s"
        lines.append(f"| {kind} | {len(its)} | {sum(kill.held for kill in its)} | {cell} |")
    return "\n".join(lines)


def succeeded(service: Service, job: str) -> bool:
    """And its video is there."""
    try:
        record = service.store.get(job)
        return record.status is JobStatus.SUCCEEDED and bool(service.objects.get(getattr(record.results, "video", "")))
    except NotFound:
        return False


def videos(service: Service, job: str) -> int:
    return sum(key.endswith(".mp4") for key in service.objects.keys(JobKeys(job).prefix))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="who is killed, and when")
    arguments = parser.parse_args()
    bypass_proxies()
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as running:
        table = faults(running, arguments.kills, random.Random(arguments.seed))  # noqa: S311  (no secret)
    print(json.dumps(table))  # noqa: T201


if __name__ == "__main__":
    main()
