"""Whether a wish for a webhook can be granted, said when the job is submitted."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

from generator_service.settings import WebhookSettings
from generator_service.subscription import Webhook
from generator_service.webhooks.signing import Signer
from generator_service.webhooks.targets import Resolve, TargetPolicy, TargetRefused, resolved
from shared.errors import InvalidRequest, NotFound, Violation

RESOLVE_SECONDS: Final = 3.0
"""A name that takes longer is refused: an answer of the API does not wait for a slow name server."""
RESOLVERS: Final = 8
"""Names looked up at once; more wait, within the same time."""


class WebhookAcceptance:
    """Thread-safe.  Lets go of its threads at the end of `with`."""

    def __init__(self, settings: WebhookSettings, resolve: Resolve = resolved) -> None:
        self._signer = None if settings.secret is None else Signer(settings.secret)
        self._policy = TargetPolicy(settings, resolve)
        self._resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="webhook-resolver")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    def accept(self, webhook: Webhook) -> None:
        """Raises InvalidRequest, which names the field."""
        if self._signer is None:
            raise _refusal("webhook", "this service sends none: it has no secret to sign them with")
        look = self._resolvers.submit(self._policy.target, webhook.url)
        try:
            look.result(RESOLVE_SECONDS)
        except TargetRefused as refusal:
            raise _refusal("webhook.url", str(refusal)) from refusal
        except TimeoutError as error:
            look.cancel()
            raise _refusal("webhook.url", f"is a name that is not found within {RESOLVE_SECONDS:g} s") from error

    def secret_of(self, owner: str) -> str:
        """Raises NotFound where this service sends no webhooks."""
        if self._signer is None:
            raise NotFound("this service sends no webhooks: it has no secret to sign them with")
        return self._signer.secret_of(owner)


def _refusal(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {message}", [Violation(field=field, message=message)])
