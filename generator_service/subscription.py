"""What a client may wish to be told of its job, and where: the part of a request that webhooks are about."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, HttpUrl, field_validator

from shared.wire import WireModel


class EventType(StrEnum):
    """The ends of a job; each job comes to one of them, once."""

    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"


class Webhook(WireModel):
    url: Annotated[
        HttpUrl,
        Field(description="https, without user or password.", examples=["https://example.com/hooks/videos"]),
    ]
    """Where to POST the event."""
    events: Annotated[
        tuple[EventType, ...],
        Field(min_length=1, max_length=len(EventType), description="The ends to be told of; all unless given."),
    ] = tuple(EventType)

    @field_validator("url")
    @classmethod
    def _without_credentials(cls, url: HttpUrl) -> HttpUrl:
        if url.username is not None or url.password is not None:
            raise ValueError("no user or password, please: every event is signed")
        return url
