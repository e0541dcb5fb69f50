"""From a request to a job that cannot be lost: once for each Idempotency-Key, and within the limits."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import structlog
from fastapi import Header

from generator_service.api.wiring import Parts
from generator_service.jobs.admission import Quota
from generator_service.jobs.idempotency import Reservation
from generator_service.jobs.record import JobRecord
from generator_service.request import JobRequest
from shared.errors import Conflict, Gone, NotFound, ServiceError, Unavailable, Unreadable

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[ -~]+$",
        description="Of your own choice, such as a UUID: the same key and the same request (whatever the order and "
        "spelling of its JSON) make one job within 24 hours, however often they are sent, and are answered with that "
        "job as it is now; once that job is deleted, with 410: no other one is made.",
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]

HEADERS: Final[dict[str, Any]] = {
    "Location": {"description": "`/jobs/{id}`", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "`true` where this Idempotency-Key had made the job before.",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "What the submission rate still allows, as in draft-ietf-httpapi-ratelimit-headers.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": "The submission rate, likewise.", "schema": {"type": "string"}},
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Submitted:
    record: JobRecord
    position: int | None
    """In its queue; None where it does not wait in it."""
    headers: Mapping[str, str] = field(default_factory=dict)


def submitted(parts: Parts, record: JobRecord, request: JobRequest, key: str | None) -> Submitted:
    """The new job; or, where the owner has sent the same before with the same key, that job as it is now.

    Raises InvalidRequest for a webhook that cannot be, LimitReached, KeyReused, StillSubmitting, and Gone where the
    key's job is deleted.
    """
    if key is None:
        return _made(parts, record, request, _admitted(parts, record, request))
    reservation = parts.idempotency.reserve(record.owner, key, request, record.id)
    if reservation.made:
        return _replayed(parts, reservation)
    record = record.model_copy(update={"id": reservation.job_id})
    try:
        quota = _admitted(parts, record, request)
    except ServiceError:  # nothing is made; of a `create` that was not answered in time, nobody knows
        with suppress(Unavailable):  # else the lease ends by itself
            parts.idempotency.free(reservation)
        raise
    try:
        return _made(parts, record, request, quota, reservation.name)
    except Conflict:  # this holder was taken for dead, and another one has made the job
        return _replayed(parts, reservation)


def _admitted(parts: Parts, record: JobRecord, request: JobRequest) -> Quota:
    quota = parts.admission.admit(record)
    if request.webhook is not None:  # after the limits: it may look up a name, which may take seconds
        parts.webhooks.accept(request.webhook, record.owner)
    return quota


def _made(
    parts: Parts, record: JobRecord, request: JobRequest, quota: Quota, reservation: str | None = None
) -> Submitted:
    parts.store.create(record, request.plan, reservation)
    log.info("job_accepted", job_id=record.id, owner=record.owner)
    position = None
    try:
        position = parts.delivery.enqueue(record)
    except Unavailable:  # it is kept, and so it will be done: a watchdog puts it into its queue
        log.warning("job_not_enqueued", job_id=record.id)
    return Submitted(record, position, _rate_headers(quota))


def _replayed(parts: Parts, reservation: Reservation) -> Submitted:
    try:
        record = parts.store.get(reservation.job_id)
    except Unreadable as error:  # while a newer version is rolled out; the job goes on, and there is to be no other
        raise Unavailable(f"the job '{reservation.job_id}' of this Idempotency-Key cannot be read here") from error
    except NotFound:
        raise Gone(f"the job '{reservation.job_id}' of this Idempotency-Key is deleted; give another key") from None
    return Submitted(record, parts.delivery.position(record), {"Idempotency-Replayed": "true"})


def _rate_headers(quota: Quota) -> dict[str, str]:
    return {
        "RateLimit-Policy": f'"submissions";q={quota.limit};w={quota.seconds}',
        "RateLimit": f'"submissions";r={quota.left}',
    }
