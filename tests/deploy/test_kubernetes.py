"""The Kubernetes manifests: valid by the published schemas, complete, locked down, and true of the code."""

import copy
import re
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from fastapi import FastAPI
from pydantic import HttpUrl

from deploy.manifests import Manifest, built, complaints, overlays, pod_templates
from generator_service import __main__ as generator_cli
from generator_service.api.app import create_app as create_generator
from generator_service.api.server import GRACE_SECONDS
from generator_service.cli.services import require_keys_off_loopback
from generator_service.contract.answers import QueueLoad
from generator_service.settings import Settings as GeneratorSettings
from generator_service.settings import StorageSettings, WebhookSettings, WorkerSettings
from generator_service.webhooks.sending import DEADLINE_SECONDS
from generator_service.webhooks.targets import Address, TargetPolicy, TargetRefused
from generator_service.workers.loop import STOP_SECONDS
from planner_service import __main__ as planner_cli
from planner_service.api import create_app as create_planner
from planner_service.settings import Settings as PlannerSettings

OURS = {"generator-api", "planner", "plan-worker", "render-worker", "webhook-worker"}
CLIS = {"planner_service": planner_cli.app, "generator_service": generator_cli.app}
SECRETS = {
    "generator": {"valkey-password", "planner-token", "webhook-secret", "s3-access-key", "s3-secret-key"},
    "hugging-face": {"token"},
}
"""What the README says to create."""
FLOWS = {
    ("generator-api", "valkey", 6379),
    ("generator-api", "planner", 8081),
    ("plan-worker", "valkey", 6379),
    ("plan-worker", "planner", 8081),
    ("render-worker", "valkey", 6379),
    ("webhook-worker", "valkey", 6379),
    ("planner", "vllm", 8000),
}
"""Who talks to whom."""
NOT_PUBLIC = """
    10.0.0.5 172.31.0.9 192.168.1.1 100.64.0.1 0.0.0.1 127.0.0.1 169.254.169.254 168.63.129.16 192.0.0.192 192.88.99.1
    198.18.0.9 192.0.2.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1
    fd00::5 fe80::1 ::1 ::ffff:a00:5 64:ff9b::a00:5 2002:a00:5:: 2001:0:a00:5:: 2001:db8::1 3fff::1
"""
"""Pods, nodes, clouds' metadata, and what leads there in disguise; at least one of each range."""


@pytest.fixture(scope="module")
def every_overlay() -> dict[str, list[Manifest]]:
    return {overlay.name: built(overlay) for overlay in overlays()}


@pytest.fixture(scope="module", params=["base", "autoscaled", "large-language-model"])
def manifests(request: pytest.FixtureRequest, every_overlay: dict[str, list[Manifest]]) -> list[Manifest]:
    return every_overlay[request.param]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (its for its in manifests if (its["kind"], its["metadata"]["name"]) == (kind, name))
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What it is, and the pod's template."""
    for manifest in manifests:
        for pod in pod_templates(manifest):
            yield pod["metadata"]["labels"]["app.kubernetes.io/name"], pod


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods(manifests):
        for container in pod["spec"]["containers"]:
            yield name, container


def settings_of(container: dict[str, Any], manifests: list[Manifest]) -> dict[str, str | None]:
    """Its environment; None where a secret has the value."""
    found: dict[str, str | None] = {}
    for source in container.get("envFrom", ()):
        found |= named(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.get("env", ()):
        reference = variable.get("valueFrom", {}).get("configMapKeyRef")
        if reference is not None:
            found[variable["name"]] = named(manifests, "ConfigMap", reference["name"])["data"][reference["key"]]
        else:
            found[variable["name"]] = variable.get("value")
    return found


def test_every_overlay_is_looked_at(every_overlay: dict[str, list[Manifest]]) -> None:
    assert set(every_overlay) == {"base", "autoscaled", "large-language-model"}


def test_they_keep_the_published_schemas(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        assert list(complaints(manifest)) == [], manifest["metadata"]["name"]


def test_what_breaks_a_schema_is_found(every_overlay: dict[str, list[Manifest]]) -> None:
    manifests = every_overlay["large-language-model"]
    for kind, name in (("Deployment", "planner"), ("ScaledObject", "plan-worker"), ("LeaderWorkerSet", "vllm-on-ray")):
        broken = copy.deepcopy(named(manifests, kind, name))
        for part in (broken["spec"], *(pod["spec"] for pod in pod_templates(broken))):
            part["replicaz"] = 3
        assert any("replicaz" in complaint for complaint in complaints(broken)), kind


def test_everything_is_in_one_namespace_under_names_used_once(manifests: list[Manifest]) -> None:
    assert {manifest["metadata"]["namespace"] for manifest in manifests} == {"motion-factorized-video"}
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(set(names)) == len(names)


def test_what_is_referred_to_is_there(manifests: list[Manifest]) -> None:
    for _, pod in pods(manifests):
        for volume in pod["spec"].get("volumes", ()):
            if "persistentVolumeClaim" in volume:
                named(manifests, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
            if "configMap" in volume:
                named(manifests, "ConfigMap", volume["configMap"]["name"])
            if "secret" in volume:
                keys = {item["key"] for item in volume["secret"]["items"]}
                assert keys <= SECRETS[volume["secret"]["secretName"]]
    for name, container in containers(manifests):
        settings_of(container, manifests)  # finds all config maps
        for variable in container.get("env", ()):
            secret = variable.get("valueFrom", {}).get("secretKeyRef")
            assert secret is None or secret["key"] in SECRETS[secret["name"]], name
            assert not re.search(r"PASSWORD|SECRET|TOKEN", variable["name"]) or secret is not None, variable["name"]
    ports = {
        (name, port["name"]): port["containerPort"]
        for name, container in containers(manifests)
        for port in container.get("ports", ())
    }
    for service in (manifest for manifest in manifests if manifest["kind"] == "Service"):
        chosen = [
            pod
            for _, pod in pods(manifests)
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        assert len(chosen) == 1, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            assert ports[service["metadata"]["name"], port["targetPort"]] == port["port"]
    for budget in (manifest for manifest in manifests if manifest["kind"] == "PodDisruptionBudget"):
        selector = budget["spec"]["selector"]["matchLabels"]
        assert any(selector.items() <= pod["metadata"]["labels"].items() for _, pod in pods(manifests))
        assert budget["metadata"]["name"] in OURS
    assert {its["metadata"]["name"] for its in manifests if its["kind"] == "PodDisruptionBudget"} == OURS


def test_nothing_is_root_or_may_become_it(manifests: list[Manifest]) -> None:
    for name, pod in pods(manifests):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        for container in spec["containers"]:
            locked = container["securityContext"]
            assert locked["allowPrivilegeEscalation"] is False
            assert locked["capabilities"] == {"drop": ["ALL"]}
            assert locked.get("readOnlyRootFilesystem", False) is (name != "vllm"), name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]


def test_each_render_worker_has_a_gpu_to_itself(manifests: list[Manifest]) -> None:
    gpus = {
        name: container["resources"]["limits"].get("nvidia.com/gpu", 0) for name, container in containers(manifests)
    }
    assert gpus["render-worker"] == 1
    assert {name for name, number in gpus.items() if number} == {"render-worker", "vllm"}
    rolling = named(manifests, "Deployment", "render-worker")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": 1}


def test_the_language_model_is_spread_over_the_gpus_it_gets(every_overlay: dict[str, list[Manifest]]) -> None:
    single = named(every_overlay["base"], "Deployment", "vllm")["spec"]["template"]["spec"]["containers"][0]
    assert f"--tensor-parallel-size={single['resources']['limits']['nvidia.com/gpu']}" in single["args"]
    group = named(every_overlay["large-language-model"], "LeaderWorkerSet", "vllm-on-ray")
    leader, worker = pod_templates(group)
    for pod in (leader, worker):
        assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 8
    command = leader["spec"]["containers"][0]["args"][0]
    assert "--tensor-parallel-size=8" in command
    assert '--pipeline-parallel-size="$LWS_GROUP_SIZE"' in command
    assert group["spec"]["leaderWorkerTemplate"]["size"] == 2
    names = {(its["kind"], its["metadata"]["name"]) for its in every_overlay["large-language-model"]}
    assert ("Deployment", "vllm") not in names
    assert ("Service", group["metadata"]["name"]) not in names  # it makes one of its own name


def test_the_code_reads_what_it_is_told(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        f"{kind.model_config['env_prefix']}{field}".upper()
        for kind in (PlannerSettings, GeneratorSettings, StorageSettings, WorkerSettings, WebhookSettings)
        for field in kind.model_fields
    }
    for name, container in containers(manifests):
        if name not in OURS:
            continue
        settings = settings_of(container, manifests)
        url = settings.get("GENERATOR_REDIS_URL", "redis://service:$(VALKEY_PASSWORD)@valkey:6379/0")
        assert url == "redis://service:$(VALKEY_PASSWORD)@valkey:6379/0", name
        for variable, value in settings.items():
            assert variable in known | {"VALKEY_PASSWORD", "HF_TOKEN"}, variable
            monkeypatch.setenv(variable, value or "24-or-more-from-a-secret")
    planner, generator = PlannerSettings(), GeneratorSettings()
    assert generator.planner_url == "http://planner:8081"
    assert planner.language_model_url == "http://vllm:8000/v1"
    assert planner.language_model_name == named_model(manifests)
    require_keys_off_loopback(generator.host, generator.require_keys)
    assert planner.token == generator.planner_token is not None
    ports = {
        name: port["containerPort"]
        for name, container in containers(manifests)
        for port in container.get("ports", ())
        if name in OURS
    }
    assert ports == {
        "generator-api": generator.port,
        "planner": planner.port,
        "plan-worker": generator.metrics_port,
        "render-worker": generator.metrics_port,
        "webhook-worker": generator.metrics_port,
    }


def test_prometheus_is_told_where_the_metrics_are(manifests: list[Manifest]) -> None:
    for name, pod in pods(manifests):
        ports = {
            port["containerPort"] for container in pod["spec"]["containers"] for port in container.get("ports", ())
        }
        asked = pod["metadata"].get("annotations", {}).get("prometheus.io/port")
        assert (name in ("valkey", "webhook-worker") or not ports) if asked is None else int(asked) in ports, name


def named_model(manifests: list[Manifest]) -> str:
    (found,) = (its["data"]["LLM_MODEL"] for its in manifests if "LLM_MODEL" in its.get("data", {}))
    assert isinstance(found, str)
    return found


def test_commands_and_probes_exist(manifests: list[Manifest]) -> None:
    apps: dict[str, FastAPI] = {
        "generator-api": create_generator(GeneratorSettings()),
        "planner": create_planner({}, 1024),
    }
    for name, container in containers(manifests):
        if name not in OURS:
            continue
        _, _, module, command = container["command"]
        assert command in typer.main.get_command(CLIS[module]).commands  # type: ignore[attr-defined]
        probes = {
            kind: container[kind] for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in container
        }
        if name in apps:
            assert set(probes) == {"startupProbe", "livenessProbe", "readinessProbe"}
            for probe in probes.values():
                assert probe["httpGet"]["path"] in apps[name].openapi()["paths"]
                assert probe["httpGet"]["path"] == "/health"
        else:
            assert set(probes) == {"startupProbe", "readinessProbe"}
            for probe in probes.values():
                assert probe["httpGet"] == {"path": "/health", "port": "metrics"}
            assert name == command


def test_pods_get_the_time_that_their_work_takes_to_end(manifests: list[Manifest]) -> None:
    grace = {name: pod["spec"]["terminationGracePeriodSeconds"] for name, pod in pods(manifests)}
    for worker in ("plan-worker", "render-worker"):
        assert STOP_SECONDS + 3 < 10.5
        assert grace[worker] >= 2 * 10
    assert grace["webhook-worker"] >= 2 * DEADLINE_SECONDS
    (api,) = (container for name, container in containers(manifests) if name == "generator-api")
    assert grace["generator-api"] > api["lifecycle"]["preStop"]["sleep"]["seconds"] + GRACE_SECONDS


def test_pods_may_talk_to_whom_they_have_to_and_to_nobody_else(manifests: list[Manifest]) -> None:
    policies = {its["metadata"]["name"]: its["spec"] for its in manifests if its["kind"] == "NetworkPolicy"}
    assert set(policies) == {name for name, _ in pods(manifests)} | {"nothing-but-names"}
    assert policies["nothing-but-names"]["podSelector"] == {}
    assert policies["nothing-but-names"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policies["nothing-but-names"]

    def flows(direction: str, peers: str) -> set[tuple[str, str, int]]:
        found = set()
        for name, policy in policies.items():
            for rule in policy.get(direction, ()):
                for peer in rule.get(peers, ()):
                    other = peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name")
                    if other is None or other == name:
                        continue
                    pair = (name, other) if direction == "egress" else (other, name)
                    found |= {(*pair, port["port"]) for port in rule["ports"]}
        return found

    assert flows("egress", "to") == FLOWS
    assert flows("ingress", "from") == FLOWS


def test_webhooks_go_wherever_the_code_lets_them_and_nowhere_else(every_overlay: dict[str, list[Manifest]]) -> None:
    rules = named(every_overlay["base"], "NetworkPolicy", "webhook-worker")["spec"]["egress"]
    (internet,) = (rule for rule in rules if any("ipBlock" in peer for peer in rule["to"]))
    assert {port["port"] for port in internet["ports"]} == WebhookSettings().ports
    blocks = [
        (ip_network(peer["ipBlock"]["cidr"]), [ip_network(text) for text in peer["ipBlock"]["except"]])
        for peer in internet["to"]
    ]

    def passes(address: Address) -> bool:
        return any(address in block and not any(address in hole for hole in holes) for block, holes in blocks)

    def is_public(address: Address) -> bool:
        try:
            TargetPolicy(WebhookSettings(), lambda _: [str(address)]).target(HttpUrl("https://example.com"))
        except TargetRefused:
            return False
        return True

    for text in ("1.1.1.1", "172.15.255.255", "172.32.0.0", "2606:4700::1111"):
        assert passes(ip_address(text)), text
    for text in NOT_PUBLIC.split():
        assert not passes(ip_address(text)), text
    for hole in (hole for _, holes in blocks for hole in holes):
        for edge in (hole[0], hole[-1]):
            for near in (edge + step for step in (-1, 0, 1) if 0 <= int(edge) + step < 2**edge.max_prefixlen):
                assert passes(near) is is_public(near), near


def test_each_part_gets_the_secrets_it_uses_and_no_others(manifests: list[Manifest]) -> None:
    given: dict[str, set[str]] = {}
    for name, pod in pods(manifests):
        mounted = [volume["secret"]["items"] for volume in pod["spec"]["volumes"] if "secret" in volume]
        referred = [
            variable["valueFrom"]["secretKeyRef"]
            for container in pod["spec"]["containers"]
            for variable in container.get("env", ())
            if "secretKeyRef" in variable.get("valueFrom", {})
        ]
        given.setdefault(name, set()).update(item["key"] for item in sum(mounted, referred))
    assert given == {
        "generator-api": {"valkey-password", "planner-token", "s3-access-key", "s3-secret-key", "webhook-secret"},
        "planner": {"planner-token"},
        "plan-worker": {"valkey-password", "planner-token"},
        "render-worker": {"valkey-password", "s3-access-key", "s3-secret-key", "token"},
        "webhook-worker": {"valkey-password", "webhook-secret"},
        "valkey": {"valkey-password"},
        "vllm": {"token"},
    }


def test_valkey_runs_the_script_and_the_users_of_compose(manifests: list[Manifest], repository: Path) -> None:
    compose = yaml.safe_load((repository / "docker-compose.yml").read_text())
    theirs = compose["services"]["valkey"]
    spec = named(manifests, "StatefulSet", "valkey")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["command"] == theirs["entrypoint"]
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {places[volume["name"]]: volume for volume in spec["volumes"]}
    scripts = named(manifests, "ConfigMap", volumes["/etc/valkey"]["configMap"]["name"])["data"]
    assert scripts == {
        Path(entry["target"]).name: (repository / compose["configs"][entry["source"]]["file"]).read_text()
        for entry in theirs["configs"]
    }
    (password,) = volumes["/run/secrets"]["secret"]["items"]
    assert [password["path"]] == theirs["secrets"]
    assert "emptyDir" in volumes["/tmp"]  # noqa: S108
    (memory,) = container["env"]
    assert (memory["name"], container["resources"]["limits"]["memory"]) == ("VALKEY_MEMORY", "2Gi")
    assert memory["value"] == "1gb"  # half of it
    pings = [container[probe]["exec"]["command"][-1] for probe in ("startupProbe", "readinessProbe")]
    assert set(pings) == {theirs["healthcheck"]["test"][-1].replace("$$", "$")}


def test_keda_asks_for_numbers_that_the_api_answers(every_overlay: dict[str, list[Manifest]]) -> None:
    manifests = every_overlay["autoscaled"]
    backbone = next(its["data"] for its in manifests if its["metadata"]["name"].startswith("generator-settings"))
    asked = {}
    for scaled in (its for its in manifests if its["kind"] == "ScaledObject"):
        (trigger,) = scaled["spec"]["triggers"]
        target = scaled["spec"]["scaleTargetRef"]["name"]
        assert "replicas" not in named(manifests, "Deployment", target)["spec"]
        url = trigger["metadata"]["url"]
        assert url == "http://generator-api.motion-factorized-video.svc:8080/load"
        assert trigger["metricType"] == "AverageValue"
        asked[target] = trigger["metadata"]["valueLocation"].split(".")
    assert asked == {
        "plan-worker": ["plan", "any", "jobs"],
        "render-worker": ["render", backbone["GENERATOR_RENDER_BACKBONE"], "jobs"],
    }
    assert "jobs" in QueueLoad.model_fields
    assert "/load" in create_generator(GeneratorSettings()).openapi()["paths"]


def test_the_readme_creates_the_secrets(repository: Path) -> None:
    text = (repository / "deploy" / "kubernetes" / "README.md").read_text().replace("\\\n", "")
    created = {
        name: set(re.findall(r"--from-literal=([\w-]+)=", options))
        for name, options in re.findall(r"create secret generic ([\w-]+)([^\n]*)", text)
    }
    assert created == SECRETS


def test_the_readmes_commands_exist(repository: Path, every_overlay: dict[str, list[Manifest]]) -> None:
    text = (repository / "deploy" / "kubernetes" / "README.md").read_text()
    ((deployment, module, group, command),) = re.findall(r"exec deploy/(\S+) -- python -m (\w+) (\w+) (\w+)", text)
    named(every_overlay["base"], "Deployment", deployment)
    commands = typer.main.get_command(CLIS[module]).commands  # type: ignore[attr-defined]
    assert command in commands[group].commands
    for overlay in re.findall(r"kubectl apply -k (\S+)", text):
        assert (repository / overlay / "kustomization.yaml").exists()


def test_images_are_those_of_compose(repository: Path, every_overlay: dict[str, list[Manifest]]) -> None:
    compose = yaml.safe_load((repository / "docker-compose.yml").read_text())["services"]
    theirs = {compose[name]["image"] for name in ("vllm", "valkey")}
    ours = {compose[name]["image"] for name in OURS}
    for manifests in every_overlay.values():
        used = {container["image"] for _, container in containers(manifests)}
        assert theirs <= used
        assert {image.rpartition(":")[0] for image in used - theirs} == ours
