"""What is held against the stack while nothing happens to it.  Each check says what it saw, or raises CheckFailed."""

import json
import re
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from deploy.compose_check.shell import expect, run, until
from deploy.compose_check.stack import BUILD_SECONDS, JOB, LANGUAGE_MODEL, PROMETHEUS, SERVICES, Stack, readme_lines

PORTS: Final = {
    "vllm": 8000,
    "valkey": 6379,
    "planner": 8081,
    "generator-api": 8080,
    "plan-worker": 9100,
    "render-worker": 9100,
    "webhook-worker": 9100,
    "seaweedfs": 8333,
}
SEAWEEDFS_INNER: Final = (8080, 8888, 9333, 18080, 18888, 19333)
"""Volumes, filer and master, and the gRPC ports of each."""
SEAWEEDFS_GRPC: Final = 18333
"""Of its S3 server."""
STORAGE_HOLDERS: Final = {"generator-api", "render-worker", "seaweedfs"}
GOING_OUT: Final = {"vllm", "generator-api", "webhook-worker", "render-worker", "seaweedfs"}
"""Whose networks lead out of the machine."""
ASK_FOR_A_KEY: Final = Path(__file__).parent / "ask_for_a_key.py"
ASK: Final = """
import http.client, sys
method, address, path = sys.argv[1:]
connection = http.client.HTTPConnection(address, timeout=10)
connection.request(method, path, body="{}", headers={"Content-Type": "application/json"})
print(connection.getresponse().status)
"""


def the_lines_of_the_readme_start_it(stack: Stack) -> str:
    begin = time.monotonic()
    healthy = 0.0
    for line in readme_lines(stack.clone):
        if " keys create " in line:
            healthy = stack.wait_until_healthy()
            said = stack.compose(line.removeprefix("docker compose "))
            found = re.search(r"mfv_\w+", said)
            expect(found, f"{line}: no key in {said!r}")
            stack.key = found[0] if found else ""
        else:
            stack.line(line)
    return f"{time.monotonic() - begin:.0f} s, builds included; all healthy {healthy:.0f} s after `up`"


def one_job_by_curl(stack: Stack) -> str:
    curl = ["curl", "--silent", "--show-error", "--fail", "--header", f"Authorization: Bearer {stack.key}"]
    posted = ["--header", "Content-Type: application/json", "--data", json.dumps(JOB | LANGUAGE_MODEL)]
    begin = time.monotonic()
    job = json.loads(run([*curl, *posted, f"{stack.api}/jobs"]))["id"]
    stack.wait_for(job)
    seconds = time.monotonic() - begin
    file = stack.log.parent / "video.mp4"
    content = f"{stack.api}/jobs/{job}/content"
    url = run([*curl, "--output", "/dev/null", "--write-out", "%{redirect_url}", content])
    expect(url.startswith(stack.environment["S3_PUBLIC_URL"]), f"the video is at {url}")
    run([*curl, "--location", "--output", file, content])
    expect(file.read_bytes()[4:8] == b"ftyp", "what curl fetched is no MP4")
    unsigned = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", url.partition("?")[0]]
    expect((code := run(unsigned)) == "403", f"without its signature a video's URL is answered with {code}")
    return f"planned by the language model, done after {seconds:.0f} s; MP4 over the signed URL, 403 without signature"


def containers_are_locked_down(stack: Stack) -> str:
    for its in stack.containers():
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{its.pid}/status").read_text().splitlines() if ":\t" in line
        )
        name = its.service
        expect(its.is_healthy, f"{name} is not healthy")
        expect("0" not in status["Uid"].split("\t"), f"{name} runs as root")
        expect(int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, f"{name} has capabilities")
        expect(status["NoNewPrivs"].strip() == "1", f"{name} may get new privileges")
        expect(its.facts["HostConfig"]["ReadonlyRootfs"], f"the root of {name} can be written to")
        written = stack.inside(its, "for d in / /app /usr/bin /etc; do touch $d/x 2>/dev/null && echo $d; done; true")
        expect(not written, f"{name} can write to {written.split()}")
    return f"{len(SERVICES)} containers healthy; no root, no capabilities, no new privileges, a root that is read-only"


def images_are_slim(stack: Stack) -> str:
    def size(image: str) -> float:
        return int(stack.engine.docker("image", "inspect", "--format", "{{.Size}}", image)) / 1e9

    for service in ("generator-api", "plan-worker", "webhook-worker", "planner", "render-worker"):
        (container,) = stack.containers(service)
        has = stack.inside(
            container, "python -c 'import importlib.util as u; print(u.find_spec(\"torch\") is not None)'"
        )
        expect((has.strip() == "True") is (service == "render-worker"), f"torch in {service}: {has}")
        left = stack.inside(container, "ls -d /root/.cache/* /var/cache/apt/archives/*.deb 2>/dev/null; true")
        tools = stack.inside(container, "command -v gcc cc make npm node; true")
        expect(not (left + tools), f"{service} holds {left} {tools}")
        twice = stack.inside(
            container, "find / -xdev -type f -name 'lib*.so*' -size +50M -printf '%f\\n' 2>/dev/null | sort | uniq -d"
        )
        expect(not twice, f"{service} holds twice: {twice}")
    told = ", ".join(
        f"{name} {size(f'motion-factorized-video/{name}'):.2f}" for name in ("generator", "planner", "render-worker")
    )
    return f"{told} GB, {size('python:3.11-slim-bookworm'):.2f} of each the base; torch in the render worker's alone"


def health_checks_are_cheap(stack: Stack) -> str:
    (api,) = stack.containers("generator-api")
    loop = "TIMEFORMAT=%U+%S; time for i in {1..20}; do bash deploy/container/health.sh 8080 /health; done"
    user, system = stack.inside(api, f"{{ {loop}; }} 2>&1").split("+")
    each = (float(user) + float(system)) / 20
    expect(each < 0.02, f"a health check takes {each:.3f} s of a core")
    return f"{1000 * each:.0f} ms of a core each"


def secrets_are_secret(stack: Stack) -> str:
    folder = stack.clone / "secrets"
    values = {file.name: file.read_text() for file in folder.iterdir()}
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c"]
    readable = run([*nobody, f"cat {folder}/* 2>/dev/null | wc -c"])
    expect(int(readable) == 0, "another user of this machine reads the secrets")
    services = json.loads(stack.compose("--profile observability config --format json"))["services"]
    for its in stack.containers():
        wanted = {
            Path(entry.get("target") or entry["source"]).name for entry in services[its.service].get("secrets", ())
        }
        there = set(stack.inside(its, "ls /run/secrets 2>/dev/null; true").split())
        expect(there == wanted, f"{its.service} has the secrets {there}, not {wanted}")
        told = json.dumps(its.facts["Config"]) + json.dumps(its.facts["Args"])
        told += stack.compose(f"logs --no-color {its.service}")
        for name, value in values.items():
            expect(value not in told, f"{its.service} shows {name} in its variables, its command or its log")
    return f"{len(values)} files, each in the containers that need it and in no variable or log; other users read none"


def networks_are_closed(stack: Stack) -> str:
    """Who reaches whom, tried from inside each container."""
    (storage,) = stack.one("seaweedfs").facts["NetworkSettings"]["Networks"].values()
    targets = [*PORTS.items(), *(("seaweedfs", port) for port in (SEAWEEDFS_GRPC, *SEAWEEDFS_INNER))]
    targets.append((storage["IPAddress"], PORTS["seaweedfs"]))  # who has no name for it may guess its address
    tries = "".join(
        f"(timeout 3 bash -c 'exec 3<>/dev/tcp/{name}/{port}' 2>/dev/null && echo {name}:{port}) & "
        for name, port in targets
    )
    made = 0
    for its in stack.containers():
        reached = set(stack.inside(its, f"{tries} wait").split())
        known = (STORAGE_HOLDERS if its.service == "seaweedfs" else set(PORTS)) - {"seaweedfs"}
        allowed = {f"{name}:{port}" for name, port in PORTS.items() if name in known}
        if its.service in STORAGE_HOLDERS:
            allowed |= {"seaweedfs:8333", f"seaweedfs:{SEAWEEDFS_GRPC}", f"{storage['IPAddress']}:8333"}
        expect(reached == allowed, f"{its.service} reached {reached - allowed}, did not reach {allowed - reached}")
        made += len(reached)
        networks = its.facts["NetworkSettings"]["Networks"]
        out = {
            name for name in networks if not json.loads(stack.engine.docker("network", "inspect", name))[0]["Internal"]
        }
        expect(bool(out) == (its.service in GOING_OUT), f"{its.service} leads out of the machine by {out}")
    (api,) = stack.containers("generator-api")

    def status(*asked: str) -> int:
        return int(stack.engine.docker("exec", api.id, "python", "-c", ASK, *asked))

    answers = {
        "storage": status("GET", "seaweedfs:8333", "/videos"),
        "planner": status("POST", "planner:8081", "/plans"),
        "API": status("GET", "127.0.0.1:8080", "/jobs"),
    }
    expect(answers == {"storage": 403, "planner": 401, "API": 401}, f"without a key: {answers}")
    redis = stack.inside(
        api, "exec 3<>/dev/tcp/valkey/6379; printf 'KEYS *\\r\\n' >&3; read -rt 3 said <&3; echo $said"
    )
    expect("NOAUTH" in redis, f"Valkey without a password: {redis}")
    grpc = stack.engine.docker("exec", "--interactive", api.id, "python", "-", given=ASK_FOR_A_KEY.read_bytes())
    expect(grpc.strip() == "unauthenticated", f"the S3 server's gRPC port, asked to make a key: {grpc}")
    return (
        f"{made} of {len(targets) * len(SERVICES)} connections could be made, none that should not; without a key "
        "storage, planner, API and Valkey refuse, and so does the S3 server's gRPC port"
    )


def prometheus_sees_every_process(stack: Stack) -> str:
    stack.compose(f"--profile observability up --detach --build {PROMETHEUS}", seconds=BUILD_SECONDS)
    stack.wait_until_healthy(PROMETHEUS)
    (prometheus,) = stack.containers(PROMETHEUS)

    def ask(path: str) -> Any:
        url = f"http://127.0.0.1:9090/api/v1/{path}"
        return json.loads(stack.engine.docker("exec", prometheus.id, "wget", "-q", "-O", "-", url))["data"]

    def scraped() -> set[str]:
        return {its["labels"]["job"] for its in ask("targets")["activeTargets"] if its["health"] == "up"}

    def rules() -> list[dict[str, Any]]:
        return [rule for group in ask("rules")["groups"] for rule in group["rules"]]

    jobs = set(SERVICES) - {"valkey", "seaweedfs", "webhook-worker", "vllm"}  # the language model's stand-in has none
    until("Prometheus has scraped all", lambda: scraped() >= jobs)
    # Before its first scrape an alert for what is missing is pending.
    until("all alerts are evaluated, and none has a reason", lambda: all(_is_quiet(rule) for rule in rules()))
    board = json.loads((stack.clone / "deploy/observability/grafana/dashboards/service.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    asked = [query.replace("$__rate_interval", "1m").replace("$__range", "1h") for query in asked]
    with_data = sum(bool(ask(f"query?query={quote(query)}")["result"]) for query in asked)
    alerts = len(rules())
    stack.compose(f"--profile observability rm --force --stop {PROMETHEUS}")
    return (
        f"{len(jobs)} kinds of processes scraped; {alerts} alerts evaluated, none fires; the dashboard's {len(asked)} "
        f"queries are answered, {with_data} with data"
    )


def _is_quiet(rule: dict[str, Any]) -> bool:
    return (rule["health"], rule["state"]) == ("ok", "inactive")


def down_v_leaves_nothing(stack: Stack) -> str:
    stack.compose("--profile observability down --volumes")
    label = "label=com.docker.compose.project=motion-factorized-video"
    left = [
        *stack.engine.docker("ps", "--all", "--quiet", "--filter", label).split(),
        *stack.engine.docker("volume", "ls", "--quiet", "--filter", label).split(),
        *stack.engine.docker("network", "ls", "--quiet", "--filter", label).split(),
    ]
    expect(not left, f"left: {left}")
    changed = run(["git", "status", "--porcelain"], folder=stack.clone)
    expect(not changed, f"files that git does not ignore: {changed}")
    return "no container, volume or network"
