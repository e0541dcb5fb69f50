"""The job record: the truth about a job, kept in Redis by `store.py`."""

from datetime import datetime, timedelta
from typing import Any, Final

from pydantic_core import from_json, to_json

from generator_service.contract.job import JobBase, JobView, Links, ResultUrls
from shared.errors import NotFound, Unreadable
from shared.wire import WireModel


class Results(WireModel):
    """Keys in object storage; the API signs URLs for them at every GET."""

    video: str
    plan: str | None
    """None for a video rendered without a plan."""
    preview: str
    manifest: str
    report: str


class JobRecord(JobBase):
    traceparent: str | None = None
    """W3C trace context of the request that submitted it; None where nothing is traced."""
    results: Results | None = None

    def waited_for_missing(self, now: datetime) -> timedelta:
        """For what is missing, this try included."""
        before = timedelta(0) if self.waiting_for is None else timedelta(seconds=self.waiting_for.seconds)
        return before + (timedelta(0) if self.running_since is None else now - self.running_since)

    def view(
        self,
        *,
        queue_position: int | None = None,
        seconds_left: float | None = None,
        urls: ResultUrls | None = None,
        events_url: str | None = None,
    ) -> JobView:
        """The job as clients see it."""
        return JobView(
            **{name: getattr(self, name) for name in JobBase.model_fields},
            steps=self.settings.steps_in_all,
            queue_position=queue_position,
            seconds_left=seconds_left,
            urls=urls,
            links=Links.of(self.id),
            events_url=events_url,
        )


_FIELDS: Final = frozenset(JobRecord.model_fields)


def fields_of(values: dict[str, Any]) -> dict[Any, Any]:
    """Some of a record's fields as they are kept.  values: as by `model_dump(mode="json")`."""
    return {name: to_json(value).decode() for name, value in values.items()}


def record_of(job_id: str, fields: dict[str, str]) -> JobRecord:
    """Raises NotFound where there is nothing; Unreadable for what is no record.

    Fields that a newer version has added, at any depth, are passed over: while it is rolled out, both read the same.
    """
    if "id" not in fields:
        raise NotFound(f"there is no job '{job_id}'")
    try:
        known = {name: from_json(text) for name, text in fields.items() if name in _FIELDS}
        return JobRecord.model_validate(known, extra="ignore")
    except ValueError as error:  # no JSON, or not what belongs there
        raise Unreadable(f"the record of job '{job_id}' cannot be read") from error
