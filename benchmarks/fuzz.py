"""Send the services what nobody should, and see that they stand it: `make fuzz CASES=10000`.

The real servers and services, in two parts:

1. Schemathesis over the OpenAPI documents, with a key and without one, and over the planner's: every answer must be
   one that the document tells of, and none a 5xx; every request that the document forbids must be refused.  No worker
   runs: there are jobs in every state, and they stay there.
2. A fifth as many malformed requests, plans, messages and records (`malformed.py`), with the real workers at work:
   no 5xx, no dead worker, every accepted job ends, and for a documented reason.

Prints both tables; exits with 1 where anything went wrong, and says what.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import redis
from pydantic import SecretStr

from benchmarks.malformed import PLAN, Case, make_malformed
from deploy.parts import Part, Stack, started
from deploy.servers import LOOPBACK, answers, free_ports, redis_url, valkey
from deploy.stack import bypass_proxies
from generator_service.client import Client
from generator_service.contract.job import JobStatus, Stage
from generator_service.contract.report import Diagnostics
from generator_service.contract.request import JobRequest
from generator_service.jobs.api_keys import ApiKeys, Scope
from generator_service.jobs.connection import connect
from generator_service.jobs.keyspace import waiting_key
from generator_service.jobs.queues import PLAN_QUEUE, queue_of, render_queue
from generator_service.jobs.record import JobRecord, Results
from generator_service.jobs.store import JobStore
from generator_service.jobs.workers import WorkerRegistry
from generator_service.settings import StorageSettings
from generator_service.storage import JSON_TYPE, PREVIEW_TYPE, VIDEO_TYPE, JobKeys, ObjectStore
from shared.errors import PROBLEM_MEDIA_TYPE, InvalidRequest, PlanningFailed, RenderingFailed
from shared.plan import Plan

OWNER: Final = "fuzz"
START_SECONDS: Final = 180.0
PATIENCE_SECONDS: Final = 120.0
"""For the next job to end, while workers are at work."""
ANSWER_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
DOCUMENTED: Final = {error.code for error in (InvalidRequest, PlanningFailed, RenderingFailed)}
"""Why a job may fail while every part is up; "internal" is none of them."""
ENDS: Final = frozenset({"succeeded", *(f"failed: {code}" for code in DOCUMENTED)})

QUEUES: Final = (PLAN_QUEUE, render_queue("emoji-world"))
ENDED: Final = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)
JOBS: Final = 10
"""In each state, since DELETE takes some."""
MOST_EXAMPLES: Final = 50
"""Of each operation, in one run of schemathesis."""
NO_LIMIT: Final = "1000000"
THOROUGH: Final = 5_000
"""Cases from which on every border of every schema is tried too."""


@dataclass(frozen=True)
class Service:
    folder: Path
    api: str
    keyed_api: str
    planner: str
    stack: Stack
    redis: redis.Redis
    """Answers with bytes."""
    store: JobStore
    objects: ObjectStore
    key: str


@contextmanager
def service(folder: Path, workers: Sequence[str] = ()) -> Iterator[Service]:
    """Valkey, planner, two APIs over the same jobs, one of which asks for keys, and these workers; storage is files."""
    api_port, keyed_port, planner_port, redis_port = free_ports(4)
    api, keyed, planner = (f"http://{LOOPBACK}:{port}" for port in (api_port, keyed_port, planner_port))
    url = redis_url(redis_port)
    storage = StorageSettings(url=f"file://{folder / 'videos'}")
    environment = {
        "GENERATOR_REDIS_URL": url,
        "GENERATOR_PLANNER_URL": planner,
        "GENERATOR_STORAGE_URL": storage.url,
        # Without workers nobody beats, and nobody is to be missed.
        "GENERATOR_HEARTBEAT_SECONDS": "1" if workers else "3600",
        "GENERATOR_WEBHOOK_SECRET": "a secret of twenty-four letters",
        # Without workers nothing leaves a queue: at their usual limits it would be 429 that is tried, and no more.
        "GENERATOR_QUEUE_LIMIT": NO_LIMIT,
        "GENERATOR_OWNER_UNFINISHED": NO_LIMIT,
        "GENERATOR_OWNER_RATE": NO_LIMIT,
        "GENERATOR_OWNER_BURST": NO_LIMIT,
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": "1",
    }

    def server(name: str, module: str, address: str, **more: str) -> Part:
        command = [sys.executable, "-m", module, "serve", "--port", address.rpartition(":")[2]]
        return Part(
            name, command, lambda: answers(f"{address}/health"), environment | more, start_seconds=START_SECONDS
        )

    def worker(kind: str) -> Part:
        def beats() -> bool:
            with connect(SecretStr(url), decode=True) as client:
                return any(f"{its.kind}-worker" == kind for its in WorkerRegistry(client, 1.0).alive())

        command = [sys.executable, "-m", "generator_service", kind]
        return Part(kind, command, beats, environment, needs=("Valkey", "API"), start_seconds=START_SECONDS)

    parts = [
        valkey(folder / "valkey", redis_port),
        server("planner", "planner_service", planner),
        server("API", "generator_service", api),
        server("API with keys", "generator_service", keyed, GENERATOR_REQUIRE_KEYS="true"),
        *map(worker, workers),
    ]
    with (
        started(parts, folder / "logs") as stack,
        connect(SecretStr(url), decode=False) as raw,
        connect(SecretStr(url), decode=True) as text,
    ):
        key = ApiKeys(text).create(OWNER, list(Scope)).text
        yield Service(folder, api, keyed, planner, stack, raw, JobStore(text), ObjectStore.open(storage), key)


# 1. the OpenAPI documents


def job_in(service: Service, status: JobStatus) -> str:
    """The id of a new job that is in this state, and stays there."""
    now = datetime.now(UTC)
    plan = Plan.model_validate(PLAN)
    record = JobRecord(
        id=uuid4().hex,
        owner=OWNER,
        status=JobStatus.QUEUED,
        stage=Stage.SAMPLING,
        prompt=plan.prompt,
        planner=None,
        settings=JobRequest(plan=plan).settings(),
        metadata={},
        created_at=now,
        updated_at=now,
    )
    service.store.create(record, plan)
    if status in (JobStatus.FAILED, JobStatus.SUCCEEDED):  # of the job whose turn it is, this one or an earlier one
        record = service.store.start(queue_of(record), worker="w") or record
    match status:
        case JobStatus.CANCELED:
            service.store.cancel(record.id)
        case JobStatus.FAILED:
            service.store.fail(record.id, RenderingFailed("as an example"), worker="w")
        case JobStatus.SUCCEEDED:
            keys = JobKeys(record.id)
            service.objects.put(keys.video, b"\x00\x00\x00\x18ftypmp42", VIDEO_TYPE)
            service.objects.put(keys.preview, b"\x89PNG", PREVIEW_TYPE)
            for key in (keys.plan, keys.manifest, keys.report):
                service.objects.put(key, b"{}", JSON_TYPE)
            results = Results(**{name: getattr(keys, name) for name in Results.model_fields})
            service.store.succeed(record.id, worker="w", results=results, diagnostics=Diagnostics())
    return record.id


def configuration(ended: Sequence[str], others: Sequence[str]) -> str:
    """Schemathesis' file, TOML."""

    def ids(name: str, jobs: Sequence[str]) -> str:
        return f"[dictionaries.{name}]\nvalues = {json.dumps(jobs)}\n"

    return f"""
{ids("jobs", [*ended, *others])}
{ids("ended", ended)}
[parameters]
"path.job_id" = {{ dictionary = "jobs", probability = 0.6 }}

# Only the streams of jobs that have ended come to an end.
[[operations]]
include-path = "/jobs/{{job_id}}/events"
parameters = {{ "path.job_id" = {{ dictionary = "ended", probability = 0.6 }} }}

# What is valid JSON by the schema may make no sense: a plan's phases must have no gaps, a video must be one that its
# backbone can do, a prompt must have words in it, a webhook's host must have an address; which no schema can say.
[[operations]]
include-name = ["POST /jobs", "POST /v1/videos"]
checks.positive_data_acceptance.enabled = false

[[operations]]
include-name = "POST /plans"
checks.positive_data_acceptance.enabled = false

# 503 is what it answers, and should, as long as no worker is there.
[[operations]]
include-name = "GET /ready"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]
"""


Tally = dict[str, Counter[int]]
"""Operation -> how many answers of each status."""


def schemathesis(service: Service, url: str, examples: int, seed: int, *options: str) -> tuple[Tally, str]:
    """What it sent, and what it has to say against it ("" for nothing)."""
    report = service.folder / f"{uuid4().hex}.ndjson"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(service.folder / "schemathesis.toml")),
        *("run", f"{url}/openapi.json", "--seed", str(seed), "--max-examples", str(examples), "--continue-on-failure"),
        *("--generation-database", "none", "--no-color", "--report-ndjson-path", str(report), *options),
    ]
    ended = [job_in(service, status) for status in ENDED * JOBS]
    queued = [job_in(service, JobStatus.QUEUED) for _ in range(JOBS)]
    (service.folder / "schemathesis.toml").write_text(configuration(ended, queued))
    run = subprocess.run(command, cwd=service.folder, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
    tally: Tally = defaultdict(Counter)
    with report.open() as lines:
        for line in lines:
            for operation, status in _answers_in(json.loads(line)):
                tally[operation][status] += 1
    report.unlink()
    return tally, "" if run.returncode == 0 else run.stdout + run.stderr


def _answers_in(event: dict[str, Any]) -> Iterator[tuple[str, int]]:
    recorder = event.get("ScenarioFinished", {}).get("recorder", {})
    for case_id, interaction in recorder.get("interactions", {}).items():
        case = recorder["cases"][case_id]["value"]
        response = interaction.get("response")
        yield f"{case['method']} {case['path']}", 0 if response is None else response["status_code"]


def fuzz_documents(service: Service, cases: int, seed: int) -> list[str]:
    """At least so many; what went wrong."""
    authorized = ("--header", f"Authorization: Bearer {service.key}")
    streams, others = ("--include-path-regex", "/events$"), ("--exclude-path-regex", "/events$")
    runs: list[tuple[str, str, float, tuple[str, ...]]] = [
        ("streams", service.keyed_api, 0.02, (*authorized, *streams)),
        ("planner", service.planner, 0.1, ()),
        ("without keys", service.api, 0.4, others),
        ("with keys", service.keyed_api, 0.48, (*authorized, *others)),
    ]
    wrong = []
    total = 0
    for name, url, share, options in runs:
        tally: Tally = defaultdict(Counter)
        found: list[str] = []
        round_ = 0
        while not found and sum(map(Counter.total, tally.values())) < cases * share:
            examples = min(MOST_EXAMPLES, math.ceil(cases * share / 60))
            # The coverage phase is every border of every schema, the same each time.
            phases = "coverage" if round_ == 0 and cases >= THOROUGH else "examples,fuzzing,stateful"
            sent, fault = schemathesis(service, url, examples, seed + round_, "--phases", phases, *options)
            if not sent:
                fault = fault or "nothing was sent"
            for operation, statuses in sent.items():
                tally[operation].update(statuses)
            found += [fault] if fault else []
            round_ += 1
        total += sum(map(Counter.total, tally.values()))
        show(f"schemathesis, {name}", tally)
        wrong += [f"{name}: {fault}" for fault in found]
    print(f"{total} cases by schemathesis\n", flush=True)  # noqa: T201
    return wrong


def show(title: str, tally: Mapping[str, Counter[int]]) -> None:
    """A line for each operation; those that there are not share one."""
    rows: Tally = defaultdict(Counter)
    for name, counts in tally.items():
        rows["methods that there are not" if set(counts) == {405} else name].update(counts)
    tally = rows
    statuses = sorted({status for counts in tally.values() for status in counts})
    width = max(map(len, [title, *tally]))
    lines = [[title, "cases", *map(str, statuses)]]
    for name, counts in sorted(tally.items()):
        lines.append([name, str(counts.total()), *(str(counts[status] or "") for status in statuses)])
    for first, *numbers in lines:
        print(first.ljust(width), *(number.rjust(6) for number in numbers))  # noqa: T201
    print(flush=True)  # noqa: T201


# 2. malformed requests, plans, messages and records


def fuzz_workers(service: Service, cases: int, seed: int) -> list[str]:
    """What went wrong."""
    wrong: list[str] = []
    tally: Tally = defaultdict(Counter)
    accepted: list[str] = []
    # A server closes a connection in which something went wrong; the next request is not to suffer from it.
    each_its_own = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(timeout=ANSWER_SECONDS, trust_env=False, limits=each_its_own) as http:
        for number, case in enumerate(make_malformed(seed, cases)):
            name = f"{case.target}, {case.kind}"
            where = f"case {number} ({name})"
            try:
                given = _sent(service, http, case)
            except httpx.TransportError as error:
                wrong.append(f"{where}: not answered: {error!r}")
                continue
            for answer in given:
                tally[name][answer.status_code] += 1
                wrong += [f"{where}: {fault}" for fault in faults_of(answer)]
                if answer.status_code == 202:
                    accepted.append(answer.json()["id"])
            service.stack.advance()  # raises PartError where one has died
    show("malformed", tally)
    wrong += _wait_for_ends(service, accepted)
    with Client(service.api) as client:  # the workers are still there, and at work
        last = client.submit(prompt="a red car drives to the right", planner="parser", steps=1).id
        wrong += _wait_for_ends(service, [last], expected=frozenset({"succeeded"}))
    return wrong


def _sent(service: Service, http: httpx.Client, case: Case) -> list[httpx.Response]:
    """The answers to a case, or to those who look at what it has left.  Raises httpx.TransportError."""

    def look(*paths: str) -> list[httpx.Response]:
        return [http.get(f"{service.api}/{path}") for path in paths]

    def post(url: str) -> list[httpx.Response]:
        return [http.post(url, content=case.body, headers=httpx.Headers(case.headers, encoding="latin-1"))]

    match case.target:
        case "POST /jobs":
            return post(f"{service.api}/jobs")
        case "POST /plans":
            return post(f"{service.planner}/plans")
        case "message":
            _deliver(service, case.body, case.fields)
            return look("overview", "load")
        case "record":
            _record(service, job := case.body.decode(), dict(case.fields))
            seen = look(
                f"jobs/{job}", f"jobs/{job}/plan", f"jobs/{job}/deliveries", "jobs?limit=100", "overview", "load"
            )
            return [*seen, http.post(f"{service.api}/jobs/{job}/cancel"), http.delete(f"{service.api}/jobs/{job}")]


def _record(service: Service, job: str, fields: dict[str, bytes]) -> None:
    """In every list, and in both queues."""
    service.redis.set(f"job:{job}:plan", fields.pop("plan", json.dumps(PLAN).encode()))
    if fields:
        service.redis.hset(f"job:{job}", mapping=fields)  # type: ignore[arg-type]
    for index in ("jobs", "jobs:of:anyone", *(f"jobs:{status}" for status in JobStatus)):
        service.redis.zadd(index, {job: time.time() * 1e6})
    for queue in QUEUES:
        service.redis.zadd(waiting_key(queue), {job: 0})


def _deliver(service: Service, message: bytes, fields: dict[str, bytes]) -> None:
    """The last ticket of both queues, and among what RQ says was begun."""
    if fields:
        service.redis.hset(b"rq:job:" + message, mapping=fields)  # type: ignore[arg-type]
    for queue in QUEUES:
        service.redis.rpush(f"rq:queue:{queue}", message)
        service.redis.zadd(f"rq:wip:{queue}", {message + b":1": time.time() + 60})


def faults_of(answer: httpx.Response) -> list[str]:
    said = f"{answer.request.method} {answer.request.url} was answered with {answer.status_code}: {answer.text[:300]}"
    if answer.status_code >= 500:
        return [said]
    is_problem = answer.headers.get("content-type") == PROBLEM_MEDIA_TYPE
    return [said] if answer.status_code >= 400 and not is_problem else []


def _wait_for_ends(service: Service, jobs: Sequence[str], expected: frozenset[str] = ENDS) -> list[str]:
    """Wait for all jobs to end; what is wrong with their ends.  Raises PartError where a worker has died."""
    ends: Counter[str] = Counter()
    left = list(jobs)
    since = time.monotonic()
    while left and time.monotonic() - since < PATIENCE_SECONDS:
        service.stack.advance()
        records = {record.id: record for record in service.store.get_many(left)}
        done = [job for job in left if job not in records or records[job].status.is_terminal]
        for job in done:
            record = records.get(job)
            error = None if record is None else record.error
            ends["gone" if record is None else record.status if error is None else f"failed: {error.code}"] += 1
            left.remove(job)
        if done:
            since = time.monotonic()
        time.sleep(POLL_SECONDS)
    ends["never ended"] += len(left)
    print(f"{len(jobs)} jobs:", dict(+ends), flush=True)  # noqa: T201
    return [f"{count} jobs {end}" for end, count in (+ends).items() if end not in expected]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="by schemathesis, at least; 0 for none")
    parser.add_argument("--malformed", type=int, help="malformed requests; else a fifth of the cases")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same")
    arguments = parser.parse_args()
    bypass_proxies()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        if arguments.cases > 0:
            with service(Path(folder, "documents")) as running:
                wrong += fuzz_documents(running, arguments.cases, arguments.seed)
        count = arguments.cases // 5 if arguments.malformed is None else arguments.malformed
        if count > 0:
            with service(Path(folder, "workers"), workers=("plan-worker", "render-worker")) as running:
                wrong += fuzz_workers(running, count, arguments.seed)
    for fault in wrong:
        print(fault)  # noqa: T201
    print("nothing went wrong" if not wrong else f"{len(wrong)} things went wrong")  # noqa: T201
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
