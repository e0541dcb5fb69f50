"""Webhooks: what came of them, and the secret to check them with."""

from fastapi import APIRouter

from generator_service.api.auth import UseCaller, VisibleJob
from generator_service.api.parts import UseParts
from generator_service.api.problems import problem_responses
from generator_service.contract.answers import Deliveries, WebhookSecret
from generator_service.jobs.api_keys import Scope
from generator_service.jobs.outbox import wished_end
from generator_service.webhooks.event import event_id
from shared.errors import Forbidden, NotFound

router = APIRouter(tags=["webhooks"])


@router.get("/jobs/{job_id}/deliveries", summary="What came of a webhook", responses=problem_responses(NotFound))
def deliveries(job: VisibleJob, parts: UseParts) -> Deliveries:
    """Every attempt to tell the job's end, and when the next one follows.

    An event is `delivered` once an attempt is answered with 2xx, and `given_up` after the last attempt, or where one is
    answered with 410.
    """
    record, job_id = job.record, job.record.id
    if wished_end(record) is None:
        return Deliveries(webhook_id=None, state="none", attempts=(), next_attempt_at=None)
    attempts = parts.outbox.attempts(job_id)
    follows = attempts[-1].next_attempt_at if attempts else record.finished_at
    if follows is not None:
        return Deliveries(webhook_id=event_id(job_id), state="pending", attempts=attempts, next_attempt_at=follows)
    taken = attempts[-1].error is None
    return Deliveries(
        webhook_id=event_id(job_id),
        state="delivered" if taken else "given_up",
        attempts=attempts,
        next_attempt_at=None,
    )


@router.get("/webhooks/secret", summary="The secret of your webhooks", responses=problem_responses(NotFound))
def secret(parts: UseParts, caller: UseCaller) -> WebhookSecret:
    """Every event to you is signed with it, in the form of Standard Webhooks (`webhook-id`, `webhook-timestamp`,
    `webhook-signature`); nobody else has the same.  For keys that may read and submit.
    """
    if not caller.may(Scope.SUBMIT):
        raise Forbidden("the secret of webhooks is for keys of scope submit")
    return WebhookSecret(secret=parts.webhooks.secret_of(caller.owner))
