"""Hold the Kubernetes manifests against the published schemas: `python -m deploy.manifests`.  No cluster is needed.

Built by the kustomize that kubectl brings; Kubernetes' own objects are checked strictly, KEDA's by models made of its
definitions.  Of a LeaderWorkerSet, whose definition no registry has, the pods are checked; what is around them is not.
"""

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from pydantic import ValidationError

FOLDER: Final = Path(__file__).parent / "kubernetes"
KUBERNETES: Final = "1.37"

Manifest = dict[str, Any]


def overlays() -> list[Path]:
    """Whatever somebody may apply."""
    return [FOLDER / "base", *sorted((FOLDER / "overlays").iterdir())]


def built(overlay: Path) -> list[Manifest]:
    """Raises CalledProcessError where kustomize cannot build it."""
    kubectl = Path(sysconfig.get_path("scripts")) / "kubectl"
    done = subprocess.run([kubectl, "kustomize", overlay], capture_output=True, text=True, check=True)  # noqa: S603
    return list(yaml.safe_load_all(done.stdout))


def complaints(manifest: Manifest) -> Iterator[str]:
    match manifest["apiVersion"], manifest["kind"]:
        case "keda.sh/v1alpha1", "ScaledObject":
            try:
                ScaledObject.model_validate(manifest, extra="forbid")
            except ValidationError as error:
                yield from (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        case "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet":
            for pod in pod_templates(manifest):
                yield from complaints({"apiVersion": "v1", "kind": "Pod", **pod})
        case _:
            try:
                kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{'.'.join(map(str, error.path))}: {error.message}"


def pod_templates(manifest: Manifest) -> Iterator[Manifest]:
    """The pods that an object makes."""
    spec = manifest.get("spec", {})
    if "template" in spec:
        yield spec["template"]
    group = spec.get("leaderWorkerTemplate", {})
    yield from (group[name] for name in ("leaderTemplate", "workerTemplate") if name in group)


if __name__ == "__main__":
    found = 0
    for overlay in overlays():
        manifests = built(overlay)
        for manifest in manifests:
            for complaint in complaints(manifest):
                found += 1
                sys.stderr.write(f"{overlay.name}: {manifest['kind']} {manifest['metadata']['name']}: {complaint}\n")
        sys.stdout.write(f"{overlay.name}: {len(manifests)} objects\n")
    sys.exit(1 if found else 0)
