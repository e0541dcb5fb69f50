"""From the record of a job to the job as clients see it."""

from generator_service.contract.job import JobView, Links, ResultUrls
from generator_service.jobs.record import JobRecord

_TAKEN_OVER = JobRecord.model_fields.keys() & JobView.model_fields.keys()


def view(
    record: JobRecord,
    *,
    queue_position: int | None,
    seconds_left: float | None,
    urls: ResultUrls | None,
    events_url: str | None = None,
) -> JobView:
    return JobView(
        **{name: getattr(record, name) for name in _TAKEN_OVER},
        steps=record.settings.steps_in_all,
        queue_position=queue_position,
        seconds_left=seconds_left,
        urls=urls,
        links=Links.of(record.id),
        events_url=events_url,
    )
