"""The body of a webhook: the job as it ended."""

from generator_service.contract.answers import WebhookEvent
from generator_service.jobs.outbox import wished_end
from generator_service.jobs.record import JobRecord


def event_id(job_id: str) -> str:
    """A job ends once, so its id identifies the event across retries."""
    return f"end_{job_id}"


def event_body(record: JobRecord) -> bytes:
    """The same bytes in every attempt, since the record of an ended job is final.

    Without URLs of the files: presigned URLs are credentials, would end up in the receiver's logs, and may have expired
    in a late attempt.  A GET of the job signs new ones.
    """
    end = wished_end(record)
    if end is None or record.finished_at is None:
        raise ValueError(f"Got job {record.id}, which is {record.status}, but expected an end that is wished for")
    event = WebhookEvent(id=event_id(record.id), type=end, timestamp=record.finished_at, data=record.view())
    return event.model_dump_json(exclude={"data": {"urls"}}).encode()
