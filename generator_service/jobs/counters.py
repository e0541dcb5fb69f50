"""What every process that watches over jobs counts for Prometheus: what it did itself; add up all processes."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

from generator_service.contract.job import JobStatus


def taken_back_counter(registry: CollectorRegistry) -> Callable[[JobStatus], None]:
    """Counts jobs that were taken from silent workers, by what became of them."""
    counter = Counter(
        "generator_jobs_taken_back",
        "Jobs that this process took from a silent worker, by what became of them.",
        ["status"],
        registry=registry,
    )
    for status in (JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELED):
        counter.labels(status.value)  # a rate needs a zero to begin with
    return lambda status: counter.labels(status.value).inc()
