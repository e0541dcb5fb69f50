"""Checks a webhook's URL when the job is submitted."""

import math
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Self

from generator_service.contract.request import Webhook
from generator_service.settings import WebhookSettings
from generator_service.webhooks.event import Signer
from generator_service.webhooks.targets import Resolve, Target, TargetPolicy, TargetRefused, resolve_host
from shared.errors import InvalidRequest, LimitReached, NotFound, Unavailable, Violation

RESOLVE_SECONDS: Final = 3.0
"""A name that takes longer to resolve is refused: the API does not wait for a slow name server."""
RESOLVERS: Final = 64
"""Concurrent lookups; more wait, within the same time."""
RESOLVERS_OF_AN_OWNER: Final = 8
"""Of one owner: a dead name server must not use up the lookups of others."""

_PAUSE: Final = math.ceil(RESOLVE_SECONDS)


class WebhookAcceptance:
    """Thread-safe.  A context manager: its end stops the threads."""

    def __init__(self, settings: WebhookSettings, resolve: Resolve = resolve_host) -> None:
        self._signer = None if settings.secret is None else Signer(settings.secret)
        self._policy = TargetPolicy(settings, resolve)
        self._resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="webhook-resolver")
        self._under_way: Counter[str] = Counter()
        """By owner: running lookups, including those that timed out."""
        self._counting = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    def accept(self, webhook: Webhook, owner: str) -> None:
        """Raises InvalidRequest, which names the field; LimitReached where the owner has as many names looked up as it
        may, and Unavailable where all together have.
        """
        if self._signer is None:
            raise _refusal("webhook", "this service sends none: it has no secret to sign them with")
        look = self._look_up(webhook, owner)
        try:
            look.result(RESOLVE_SECONDS)
        except TargetRefused as refusal:
            raise _refusal("webhook.url", str(refusal)) from refusal
        except TimeoutError as error:
            if look.cancel():  # it has not begun
                raise Unavailable("too many webhooks' names are being looked up", retry_after=_PAUSE) from error
            raise _refusal("webhook.url", f"could not be resolved within {RESOLVE_SECONDS:g} s") from error

    def _look_up(self, webhook: Webhook, owner: str) -> Future[Target]:
        """A lookup cannot be interrupted: it may go on long after its timeout."""
        with self._counting:
            if self._under_way[owner] >= RESOLVERS_OF_AN_OWNER:
                reason = f"{RESOLVERS_OF_AN_OWNER} names of your webhooks are being looked up"
                raise LimitReached(reason, retry_after=_PAUSE)
            self._under_way[owner] += 1
        look = self._resolvers.submit(self._policy.target, webhook.url)
        look.add_done_callback(lambda _: self._note_end(owner))
        return look

    def _note_end(self, owner: str) -> None:
        with self._counting:
            self._under_way[owner] -= 1
            if not self._under_way[owner]:
                del self._under_way[owner]

    def secret_of(self, owner: str) -> str:
        """Raises NotFound where this service sends no webhooks."""
        if self._signer is None:
            raise NotFound("this service sends no webhooks: it has no secret to sign them with")
        return self._signer.secret_of(owner)


def _refusal(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", [Violation(field=field, message=message)])
