"""Tells the ends of jobs to those who asked: many at once, each within a deadline, no target at another's expense."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio
import structlog
from anyio.to_thread import run_sync

from generator_service.contract.answers import DeliveryAttempt
from generator_service.jobs.outbox import Lease, Outbox
from generator_service.jobs.store import JobStore
from generator_service.webhooks.event import Signer, event_body, event_id
from generator_service.webhooks.sending import DEADLINE_SECONDS, Sender
from shared.errors import NotFound, Unavailable
from telemetry.tracing import span

LEASE_SECONDS: Final = 6 * DEADLINE_SECONDS
"""What a sender that died had in hand is sent by another after this time."""
AT_ONCE: Final = 64
AT_ONCE_PER_TARGET: Final = 4
AT_ONCE_PER_OWNER: Final = 16
POLL_SECONDS: Final = 0.5
PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=3),
    timedelta(hours=6),
    timedelta(hours=12),
)
"""After the first attempt, the second, …: nine attempts in about 22 hours."""
JITTER: Final = 0.2
"""Each pause varies by up to this share, so that retries do not come all at once."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Deliverer:
    """At least once: should this process die after a receiver has taken an event and before that is written down, or
    Redis fall silent there, the event is sent again, under the same id.
    """

    store: JobStore
    outbox: Outbox
    signer: Signer
    sender: Sender
    lease_seconds: float = LEASE_SECONDS
    at_once: int = AT_ONCE
    at_once_per_target: int = AT_ONCE_PER_TARGET
    at_once_per_owner: int = AT_ONCE_PER_OWNER
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def run(self, stopping: anyio.Event) -> None:
        """Until `stopping` is set and what is under way has come to its end."""
        under_way: set[Lease] = set()

        async def deliver(lease: Lease) -> None:
            try:
                with structlog.contextvars.bound_contextvars(job_id=lease.job_id):
                    await self._deliver(lease)
            finally:
                under_way.remove(lease)

        async with anyio.create_task_group() as tasks:
            while not stopping.is_set():
                leases = await run_sync(self._lease, frozenset(under_way))
                under_way.update(leases)
                for lease in leases:
                    tasks.start_soon(deliver, lease)
                if not leases:
                    with anyio.move_on_after(POLL_SECONDS):
                        await stopping.wait()

    def _lease(self, under_way: frozenset[Lease]) -> tuple[Lease, ...]:
        free = self.at_once - len(under_way)
        try:
            return self.outbox.lease(
                self.now(),
                self.lease_seconds,
                limit=free,
                per_target=self.at_once_per_target,
                per_owner=self.at_once_per_owner,
                under_way=under_way,
            )
        except Unavailable as outage:
            log.warning("webhooks_wait", reason=outage.detail)
            return ()

    async def _deliver(self, lease: Lease) -> None:
        try:
            attempt = await self._attempt(lease)
            settled = await run_sync(self.outbox.settle, lease, attempt)
        except NotFound:
            log.info("webhook_of_deleted_job")
        except Unavailable as outage:
            log.warning("webhook_not_settled", reason=outage.detail)
        except Exception:  # whatever it is, the other events are to go on
            log.exception("webhook_not_settled")
        else:
            again = attempt.next_attempt_at
            event = "webhook_delivered" if attempt.error is None else "webhook_not_delivered"
            log.info(
                event,
                status=attempt.status,
                error=attempt.error,
                seconds=attempt.seconds,
                next_attempt_at=None if again is None else again.isoformat(),
                settled=settled,
            )

    async def _attempt(self, lease: Lease) -> DeliveryAttempt:
        record = await run_sync(self.store.get, lease.job_id)
        structlog.contextvars.bind_contextvars(request_id=record.request_id)  # for this delivery's task alone
        before = len(await run_sync(self.outbox.attempts, record.id))
        body = event_body(record)
        assert record.webhook is not None  # noqa: S101  (it has a body)
        at, begin = await run_sync(self.now), time.monotonic()
        headers = self.signer.headers(record.owner, event_id(record.id), at, body)
        with span("webhook", parent=record.traceparent, job_id=record.id, request_id=record.request_id):
            outcome = await self.sender.post(record.webhook.url, headers, body)
        return DeliveryAttempt(
            at=at,
            seconds=round(time.monotonic() - begin, 3),
            status=outcome.status,
            error=outcome.error,
            next_attempt_at=None if outcome.is_final else next_attempt(before + 1, await run_sync(self.now)),
        )


def next_attempt(attempts: int, now: datetime, chance: Callable[[], float] = random.random) -> datetime | None:
    """After so many failed attempts; None where that was the last.  `chance`: uniform in [0, 1)."""
    if attempts > len(PAUSES):
        return None
    return now + PAUSES[attempts - 1] * (1 + JITTER * (2 * chance() - 1))
