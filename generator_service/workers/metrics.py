"""What Prometheus asks a worker for.  Each worker process counts what it did itself, and serves it on a port of its
own; over all processes everything is counted once.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from generator_service.contract.backbones import BACKBONES
from generator_service.contract.job import Stage
from generator_service.jobs.recovery import reclaimed_counter
from generator_service.settings import BadSettings
from generator_service.workers.attempt import Outcome

if TYPE_CHECKING:
    import torch

STAGE_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
STEP_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)


class WorkerMetrics:
    """`backbone`: the one a render worker holds; "" for a plan worker."""

    def __init__(self, stage: Stage, backbone: str = "") -> None:
        assert backbone in {"", *BACKBONES}  # noqa: S101  # labels come from tables, never from jobs
        self.registry = CollectorRegistry()
        kind = "plan" if stage is Stage.PLANNING else "render"
        labels = {"kind": kind, "backbone": backbone}
        self._attempts = Counter(
            "generator_attempts", "Attempts at jobs, by how they ended.", [*labels, "outcome"], registry=self.registry
        )
        self.reclaimed = reclaimed_counter(self.registry)
        for outcome in get_args(Outcome):
            self._attempts.labels(**labels, outcome=outcome)  # a rate needs a zero to begin with
        self._stages = Histogram(
            "generator_stage_seconds",
            "How long the stages of jobs took that were done.",
            ["backbone", "stage"],
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self._steps = Histogram(
            "generator_step_seconds",
            "Denoising steps, all but the first of each attempt.",
            ["backbone"],
            buckets=STEP_BUCKETS,
            registry=self.registry,
        )
        self._labels = labels
        self._backbone = backbone

    def attempt(self, outcome: Outcome) -> None:
        self._attempts.labels(**self._labels, outcome=outcome).inc()

    def stages(self, seconds: Mapping[str, float]) -> None:
        for stage, took in seconds.items():
            self._stages.labels(self._backbone, stage).observe(took)

    def step(self, seconds: float) -> None:
        self._steps.labels(self._backbone).observe(seconds)


class GpuMemory(Collector):
    def __init__(self, device: "torch.device") -> None:
        self._device = device

    def collect(self) -> Iterator[GaugeMetricFamily]:
        import torch  # the plan worker does without

        free, total = torch.cuda.mem_get_info(self._device)
        memory = GaugeMetricFamily("generator_gpu_memory_bytes", "Memory of this worker's GPU.", labels=["state"])
        memory.add_metric(["allocated"], torch.cuda.memory_allocated(self._device))
        memory.add_metric(["reserved"], torch.cuda.memory_reserved(self._device))
        memory.add_metric(["free"], free)
        memory.add_metric(["total"], total)
        yield memory


@contextmanager
def exposing(registry: CollectorRegistry, host: str, port: int | None) -> Iterator[None]:
    """Serve `/metrics` while the block runs; None: nowhere.  Raises BadSettings where the port cannot be had."""
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise BadSettings(f"Metrics cannot be served at {host}:{port}: {error.strerror}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
