"""From the record in Redis to what a client sees: place in the queue, time left, signed URLs."""

from datetime import UTC, datetime
from functools import cached_property

from anyio.to_thread import run_sync
from starlette.requests import Request

from generator_service.contract.job import JobStatus, JobView, ResultUrls
from generator_service.jobs.api_keys import Scope
from generator_service.jobs.reading import Look
from generator_service.jobs.record import JobRecord
from generator_service.storage import ObjectStore


class Viewer:
    """For the client of `request`, by whose address for the API its links begin."""

    def __init__(self, objects: ObjectStore, request: Request) -> None:
        self._objects = objects
        self._request = request

    async def view_of(self, job: Look) -> JobView:
        """In a thread where addresses are to be signed.  Raises Unavailable."""
        if job.record.results is None:
            return self.view_at(job.record, job.position)
        return await run_sync(self.view_at, job.record, job.position)

    def view_at(self, record: JobRecord, position: int | None) -> JobView:
        """position: in its queue; None where it does not wait.  Raises Unavailable."""
        path = f"/jobs/{record.id}"
        left = seconds_left(record, datetime.now(UTC))
        caller = self._request.state.caller
        if not caller.may(Scope.READ):
            return record.view(queue_position=position, seconds_left=left)
        ticket = caller.ticket(record.id)
        return record.view(
            queue_position=position,
            seconds_left=left,
            urls=self._urls(record, path, ticket),
            events_url=f"{self._base}{path}/events{ticket}",
        )

    @cached_property
    def _base(self) -> str:
        return str(self._request.base_url).rstrip("/")

    def _urls(self, record: JobRecord, path: str, ticket: str) -> ResultUrls | None:
        """Only for callers who may read: such a URL is all it takes to fetch the video."""
        if record.results is None:
            return None

        def url(key: str, part: str) -> str:
            """Signed where the storage can sign; else through the API."""
            return self._objects.sign(key) or f"{self._base}{path}/{part}{ticket}"

        results = record.results
        return ResultUrls(
            video=url(results.video, "content"),
            plan=None if results.plan is None else url(results.plan, "plan"),
            preview=url(results.preview, "preview"),
            manifest=url(results.manifest, "manifest"),
            report=url(results.report, "report"),
        )


def seconds_left(record: JobRecord, now: datetime) -> float | None:
    """The rest of a running job, as its worker expects; None where it cannot tell."""
    if record.status is not JobStatus.RUNNING or record.expected_at is None:
        return None
    return round(max(0.0, (record.expected_at - now).total_seconds()), 1)
