"""What Prometheus and health checks ask a worker for.  Each worker process counts what it did itself, and serves it on
a port of its own; over all processes everything is counted once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from generator_service.contract.backbones import BACKBONES
from generator_service.contract.job import Stage
from generator_service.jobs.recovery import reclaimed_counter
from generator_service.settings import BadSettings
from generator_service.workers.attempt import Outcome

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


@contextmanager
def exposing(registry: CollectorRegistry, is_heard: Callable[[], bool], host: str, port: int | None) -> Iterator[None]:
    """Serve `/metrics`, and `/health`, 200 while this worker `is_heard` and else 503, while the block runs.

    `port` None: nowhere.  Raises BadSettings where the port cannot be had.
    """
    if port is None:
        yield
        return
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise BadSettings(f"Metrics cannot be served at {host}:{port}: {error.strerror}") from error
    metrics = cast(Callable[..., Iterable[bytes]], server.get_app())

    def answer(request: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if request["PATH_INFO"] != "/health":
            return metrics(request, start_response)
        start_response("200 OK" if is_heard() else "503 Service Unavailable", [("Content-Length", "0")])
        return ()

    server.set_app(answer)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
